//! SIGKILL while the ring or an account changes.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    database,
    program::{SECRET_KEY, Server, command},
    secrets::OTHER,
    token::kid,
};

fn rounds() -> u32 {
    std::env::var("HALLPASS_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap())
}

/// Kills it after a part of `span`, which is half as long again as it takes here when it is left alone. The parts are spread evenly, in an order that is the same each time.
fn kill(mut command: Command, round: u32, span: Duration) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(span * (round * 37 % 100) / 100);
    let _ = child.kill();
    child.wait().unwrap();
}

async fn count(folder: &Path, query: &str) -> u32 {
    database::column(folder, &format!("SELECT CAST(({query}) AS TEXT)")).await[0].parse().unwrap()
}

#[tokio::test]
async fn a_kill_at_any_moment_of_a_rotation_leaves_a_usable_ring() {
    let settings = [("ALGORITHM", "EdDSA"), ("LOG", "error")];
    let mut server = Server::start(&settings);
    server.register("john").await;
    let first = server.tokens("john").await;
    let query = "SELECT COUNT(*) FROM signing_keys";
    let mut rotated = 0;
    let begun = Instant::now();
    server.prints(&["keys", "rotate", "--in", "2"]);
    let span = begun.elapsed() * 3 / 2;
    for round in 0..rounds() {
        server.stop();
        let mut rotation = command(server.folder.path(), &["keys", "rotate", "--in", "2"]);
        rotation.env("SECRET_KEY", SECRET_KEY).envs(settings);
        let before = count(server.folder.path(), query).await;
        kill(rotation, round, span);
        assert_eq!(database::integrity(server.folder.path()).await, "ok");
        let after = count(server.folder.path(), query).await;
        assert!(after == before || after == before + 1);
        rotated += after - before;
        // A key that is broken would stop the start.
        server.begin(&settings);
        assert_eq!(u32::try_from(server.kids().await.len()).unwrap(), after);
        let fresh = server.tokens("john").await.access;
        for token in [&first.access, &fresh] {
            assert_eq!(server.me(token).await, (200, String::new()), "{round}");
        }
        // An account has so many sessions, and no more.
        assert_eq!(server.logout(&fresh).await, 204);
    }
    eprintln!("rotations that were killed: {}; of these {rotated} had made a key", rounds());
}

#[tokio::test]
async fn a_kill_at_any_moment_of_a_replacement_of_the_secret_leaves_a_usable_ring() {
    let of = |current, previous| {
        [("ALGORITHM", "EdDSA"), ("LOG", "error"), ("SECRET_KEY", current), ("SECRET_KEY_PREVIOUS", previous)]
    };
    let (mut current, mut next) = (SECRET_KEY, OTHER);
    let mut server = Server::start(&[("ALGORITHM", "EdDSA"), ("LOG", "error")]);
    server.register("john").await;
    server.prints(&["keys", "rotate"]);
    let mut pair = server.tokens("john").await;
    let first = pair.access.clone();
    let query = "SELECT MAX(rowid) FROM secrets WHERE replaced_at IS NULL";
    let mut replaced = 0;
    let begun = Instant::now();
    server.restart(&[("ALGORITHM", "EdDSA"), ("LOG", "error")]);
    let span = begun.elapsed() * 3 / 2;
    let kids = server.kids().await;
    assert_eq!(kids.len(), 2);
    for round in 0..rounds() {
        server.stop();
        let before = count(server.folder.path(), query).await;
        kill(server.serve(&of(next, current)), round, span);
        assert_eq!(database::integrity(server.folder.path()).await, "ok");
        replaced += u32::from(count(server.folder.path(), query).await != before);
        server.begin(&of(next, current));
        assert_eq!(server.kids().await, kids);
        let fresh = server.tokens("john").await.access;
        for token in [&first, &pair.access, &fresh] {
            assert_eq!((server.me(token).await, kid(token)), ((200, String::new()), kids[0].clone()), "{round}");
        }
        assert_eq!(server.logout(&fresh).await, 204);
        pair = server.renew(&pair.refresh).await;
        (current, next) = (next, current);
    }
    eprintln!("replacements that were killed: {}; of these {replaced} were done", rounds());
}

/// A change and its row in the audit log are there, or neither is.
#[tokio::test]
async fn a_kill_at_any_moment_of_a_change_leaves_it_written_in_the_audit_log_or_not_made() {
    let settings = [("LOG", "error")];
    let mut server = Server::start(&settings);
    server.register("john").await;
    let begun = Instant::now();
    server.prints(&["user", "disable", "john"]);
    let span = begun.elapsed() * 3 / 2;
    server.stop();
    let changes = "SELECT COUNT(*) FROM audit WHERE event IN ('user_disabled', 'user_enabled')";
    let mut made = 1;
    for round in 0..rounds() {
        let is_disabled = made % 2 == 1;
        let verb = if is_disabled { "enable" } else { "disable" };
        let mut change = command(server.folder.path(), &["user", verb, "john"]);
        change.env("SECRET_KEY", SECRET_KEY).envs(settings);
        kill(change, round, span);
        assert_eq!(database::integrity(server.folder.path()).await, "ok");
        let after = count(server.folder.path(), changes).await;
        assert!(after == made || after == made + 1);
        made = after;
        let disabled = count(server.folder.path(), "SELECT COUNT(*) FROM users WHERE disabled_at IS NOT NULL").await;
        assert_eq!(disabled, made % 2, "round {round}");
    }
    eprintln!("changes that were killed: {}; of these {} were made", rounds(), made - 1);
}
