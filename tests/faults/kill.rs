//! SIGKILL, at any moment, in the middle of whatever is done.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    SETTINGS,
    client::{self, Admin, Client},
    database,
    dice::Dice,
    program::{SECRET_KEY, Server, command, text},
    rounds,
};

const CLIENTS: usize = 4;

/// How long they work until the kill, at the most, in milliseconds: a step takes 2 to 60. And beside a command, which
/// takes 500.
const SPAN: usize = 150;
const COMMAND: usize = 450;

/// Lines of a file to be imported: two transactions.
const LINES: usize = 300;
const BATCH: usize = 256;

/// A command beside the server, which is killed with it.
struct Beside {
    what: What,
    child: Child,
    out: PathBuf,
}

enum What {
    Rotation,
    /// Accounts whose names begin so.
    Import(String),
}

impl Beside {
    fn begin(server: &Server, what: What) -> Self {
        let folder = server.folder.path();
        let out = folder.join("beside");
        let mut command = match &what {
            What::Rotation => command(folder, &["keys", "rotate", "--in", "2"]),
            What::Import(name) => {
                let lines = (0..LINES).map(|n| json!({"username": format!("{name}-{n}")}).to_string());
                fs::write(folder.join("import.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
                command(folder, &["user", "import", "import.jsonl"])
            }
        };
        command.env("SECRET_KEY", SECRET_KEY).env("PORT", server.port.to_string()).envs(SETTINGS);
        let child = command.stdout(File::create(&out).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        Self { what, child, out }
    }

    /// Kills it, unless it has ended. Whether it had, and what it had said.
    fn kill(&mut self) -> (bool, String) {
        let _ = self.child.kill();
        let ended = self.child.wait().unwrap().success();
        (ended, fs::read_to_string(&self.out).unwrap())
    }
}

/// What commands were told.
#[derive(Default)]
struct Told {
    kids: BTreeSet<String>,
    rotations: [u32; 2],
    imported: BTreeSet<String>,
    imports: [u32; 2],
}

impl Told {
    async fn note(&mut self, server: &Server, what: &What, (ended, said): (bool, String)) {
        match what {
            What::Rotation => {
                self.rotations[usize::from(ended)] += 1;
                let kid = said.split_once(' ').map(|(kid, _)| kid.to_owned());
                assert!(!ended || kid.is_some(), "{said}");
                self.kids.extend(kid);
            }
            What::Import(name) => {
                self.imports[usize::from(ended)] += 1;
                let made = names(server.folder.path(), name).await;
                assert!([0, BATCH, LINES].contains(&made.len()), "part of a transaction: {}", made.len());
                // A line that is half printed was acknowledged to nobody.
                let lines = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                let added: BTreeSet<String> =
                    lines.map(|line| line.trim_end().rsplit('\t').next().unwrap().to_owned()).collect();
                assert!(added.is_subset(&made), "a line that was acknowledged is gone");
                assert!(!ended || made.len() == LINES);
                let again = server.run(&["user", "import", "import.jsonl"], "");
                let said = text(&again.stderr);
                let wanted = format!("{} added, {} existed, 0 invalid", LINES - made.len(), made.len());
                assert!(again.status.success() && said.contains(&wanted), "{said}");
                self.imported.extend(names(server.folder.path(), name).await);
            }
        }
    }
}

/// The accounts whose names begin so.
async fn names(folder: &Path, start: &str) -> BTreeSet<String> {
    let query = format!("SELECT username FROM users WHERE username LIKE '{start}-%'");
    database::column(folder, &query).await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a while; make faults runs it"]
async fn a_kill_at_any_moment_loses_nothing_acknowledged_and_brings_nothing_back() {
    let rounds = rounds(25);
    let mut server = Server::start(&SETTINGS);
    let admin = Admin::new(&server).await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::new(&server, &admin, number).await);
    }
    let (mut dice, mut told, mut ready) = (Dice::new(99), Told::default(), Vec::new());
    for round in 0..rounds {
        let mut beside = match round % 10 {
            3 => Some(Beside::begin(&server, What::Rotation)),
            7 => Some(Beside::begin(&server, What::Import(format!("import{round}")))),
            _ => None,
        };
        let span = dice.below(if beside.is_some() { COMMAND } else { SPAN });
        let kill = async {
            tokio::time::sleep(Duration::from_millis(u64::try_from(span).unwrap())).await;
            let said = beside.as_mut().map(Beside::kill);
            server.signal("KILL");
            server.wait();
            said
        };
        let work = clients.iter_mut().map(|client| client.work(Arc::new(AtomicBool::new(false))));
        let (said, _) = tokio::join!(kill, futures_util::future::join_all(work));

        let begun = Instant::now();
        server.begin(&SETTINGS);
        assert_eq!(server.get("/readyz", "").await.0, 200);
        ready.push(begun.elapsed());
        let folder = server.folder.path();
        assert_eq!(database::integrity(folder).await, "ok");
        assert!(database::column(folder, "SELECT \"table\" FROM pragma_foreign_key_check").await.is_empty());
        client::settle(&mut clients).await;
        if let Some((beside, said)) = beside.zip(said) {
            told.note(&server, &beside.what, said).await;
        }
        let published: BTreeSet<String> = kids(&server).await;
        assert!(told.kids.is_subset(&published), "a key that was acknowledged is gone");
    }
    let (mut sessions, mut passwords) = (0, 0);
    let users: BTreeSet<String> =
        database::column(server.folder.path(), "SELECT username FROM users").await.into_iter().collect();
    for client in &mut clients {
        let (ended, before) = client.check_all().await;
        (sessions, passwords) = (sessions + ended, passwords + before);
        assert!(client.registered.iter().all(|name| users.contains(name)), "an account is gone");
        assert_eq!(client.unavailable, 0, "nobody is refused for a kill");
    }
    assert!(told.imported.is_subset(&users), "an imported account is gone");

    ready.sort();
    eprintln!(
        "{rounds} kills; {} accounts, {sessions} ended sessions and {passwords} old passwords looked at",
        users.len()
    );
    client::tell(&client::counts(&clients));
    eprintln!(
        "rotations: {} killed, {} ended; imports: {} killed, {} ended; {} keys",
        told.rotations[0],
        told.rotations[1],
        told.imports[0],
        told.imports[1],
        told.kids.len()
    );
    eprintln!("ready again: p50 {:?}, max {:?}", ready[ready.len() / 2], ready[ready.len() - 1]);
}

async fn kids(server: &Server) -> BTreeSet<String> {
    let (_, set) = server.get("/.well-known/jwks.json", "").await;
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}
