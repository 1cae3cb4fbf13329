//! `hallpass user import` and `export`.

use std::{
    fmt::Write as _,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    database::execute,
    program::{PASSWORD, SECRET_KEY, Server, command, finish, run, text},
};

/// Of `correct horse é`, by Python's bcrypt 5.0.0.
const BCRYPT: &str = "$2b$04$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS";

fn hallpass(folder: &Path, arguments: &[&str], input: &str) -> Output {
    run(folder, arguments, &[("LOG", "error")], input)
}

fn file(folder: &Path, lines: &[Value]) -> String {
    let path = folder.join("users.jsonl");
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    std::fs::write(&path, text.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// How many accounts there are.
fn count(folder: &Path) -> usize {
    // Through a file: a pipe that nobody reads holds no more than some.
    let _ = std::fs::remove_file(folder.join("count.jsonl"));
    let exported = hallpass(folder, &["user", "export", "--output", "count.jsonl"], "");
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    std::fs::read_to_string(folder.join("count.jsonl")).unwrap().lines().count()
}

#[test]
fn a_file_is_rehearsed_imported_and_imported_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let path = file(folder, &[json!({"username": "anna", "password_hash": BCRYPT}), json!({"username": "b@d"})]);
    let dry = ["user", "import", &path, "--dry-run"];
    let said = text(&hallpass(folder, &dry, "").stderr);
    assert!(said.contains("there is no database"), "{said}");
    assert!(!folder.join("hallpass.db").exists(), "a rehearsal makes none");

    let invalid = "2\tinvalid\t-\tusername has a character that a user name cannot have\n";
    for (arguments, printed, counted, there) in [
        (&["user", "import", "-"][..], "", "0 added, 0 existed, 0 invalid", 0),
        (&dry[..], "1\twould_add\tanna\n", "1 would be added, 0 existed, 1 invalid", 0),
        (&["user", "import", &path][..], "1\tadded\tanna\n", "1 added, 0 existed, 1 invalid", 1),
        (&["user", "import", &path][..], "1\texists\tanna\n", "0 added, 1 existed, 1 invalid", 1),
        (&dry[..], "1\texists\tanna\n", "0 added, 1 existed, 1 invalid", 1),
    ] {
        let output = hallpass(folder, arguments, "");
        let is_empty = printed.is_empty();
        assert_eq!(output.status.code(), Some(i32::from(!is_empty)), "{arguments:?}");
        assert_eq!(text(&output.stdout), if is_empty { String::new() } else { format!("{printed}{invalid}") });
        let said = text(&output.stderr);
        assert!(said.contains(counted), "{said}");
        assert_eq!(count(folder), there, "{arguments:?}");
    }
}

#[test]
fn standard_input_is_read_line_by_line_and_told_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(20_000);
    let input = format!("{{\"username\": \"anna\"}}\n\n{{\"username\": \"{long}\"}}\n{{\"username\": \"bert\"}}");
    let output = hallpass(folder.path(), &["user", "import", "-", "--json"], &input);
    assert_eq!(output.status.code(), Some(1));
    let rows: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        rows,
        [
            json!({"line": 1, "username": "anna", "status": "added", "errors": []}),
            json!({"line": 3, "status": "invalid", "errors": [{"pointer": "", "detail": "is longer than 16 KiB"}]}),
            json!({"line": 4, "username": "bert", "status": "added", "errors": []}),
        ]
    );
    let missing = hallpass(folder.path(), &["user", "import", "nowhere.jsonl"], "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("cannot read nowhere.jsonl"));
}

#[test]
fn no_hash_is_ever_said() {
    let folder = tempfile::tempdir().unwrap();
    let canary = "c4n4ryc4n4ry";
    let lines = [
        format!(r#"{{"username": "a", "password_hash": "$2b$04${canary}"}}"#),
        format!(r#"{{"username": "b", "password_hash": {{"x": "{canary}"}}}}"#),
        format!(r#"{{"username": "c", "hash": "{canary}"}}"#),
        format!(r#"{{"username": "d", "password_hash": "{canary}"#),
        format!(
            r#"{{"username": "e", "password_hash": "pbkdf2_sha256$1${canary}$HpSbrkBrDWDAB9HrNXHZggikF+GO3Q6ksWrO0IeZG4M="}}"#
        ),
    ];
    for arguments in
        [&["user", "import", "-"][..], &["user", "import", "-", "--json"], &["user", "import", "-", "--dry-run"]]
    {
        let output = run(folder.path(), arguments, &[("LOG", "trace")], &lines.join("\n"));
        for said in [text(&output.stdout), text(&output.stderr)] {
            assert!(!said.contains(canary), "{said}");
        }
        assert!(text(&output.stdout).contains('e'));
    }
}

#[test]
fn an_export_goes_where_it_is_told_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let path = file(folder, &[json!({"username": "anna", "password_hash": BCRYPT}), json!({"username": "bert"})]);
    assert!(hallpass(folder, &["user", "import", &path], "").status.success());
    let printed = hallpass(folder, &["user", "export"], "");
    assert!(text(&printed.stdout).contains(BCRYPT));
    let export = ["user", "export", "--output", "out.jsonl"];
    let output = hallpass(folder, &export, "");
    assert!(output.status.success() && output.stdout.is_empty());
    let out = folder.join("out.jsonl");
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(&out).unwrap(), printed.stdout);
    // Never over another file.
    std::fs::write(&out, "mine").unwrap();
    let refused = hallpass(folder, &export, "");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine");

    let other = tempfile::tempdir().unwrap();
    let input = text(&printed.stdout);
    assert!(hallpass(other.path(), &["user", "import", "-"], &input).status.success());
    assert_eq!(hallpass(other.path(), &["user", "export"], "").stdout, printed.stdout);
    let help = text(&hallpass(folder, &["user", "export", "--help"], "").stdout);
    assert!(help.contains("PASSWORD HASH"), "{help}");
}

/// Whoever is asked for a line at a time takes away what he reads.
#[test]
fn who_closes_the_output_does_not_end_the_import() {
    let folder = tempfile::tempdir().unwrap();
    let mut input = String::new();
    for n in 0..3_000 {
        writeln!(input, "{{\"username\": \"user{n}\"}}").unwrap();
    }
    std::fs::write(folder.path().join("users.jsonl"), input).unwrap();
    let script = format!("'{}' user import users.jsonl | head -n 1", env!("CARGO_BIN_EXE_hallpass"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder.path()).env("SECRET_KEY", SECRET_KEY).env("LOG", "error");
    assert_eq!(text(&shell.output().unwrap().stdout), "1\tadded\tuser0\n");
    assert_eq!(count(folder.path()), 3_000);
}

fn shell(folder: &Path, script: &str) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_hallpass")]).current_dir(folder);
    shell.env("SECRET_KEY", SECRET_KEY).env("LOG", "error").output().unwrap()
}

#[test]
fn an_export_that_is_broken_off_fails_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut input = String::new();
    for n in 0..5_000 {
        writeln!(input, "{{\"username\": \"user{n}\", \"password_hash\": \"{BCRYPT}\"}}").unwrap();
    }
    std::fs::write(folder.join("users.jsonl"), input).unwrap();
    assert!(shell(folder, "\"$0\" user import users.jsonl > /dev/null").status.success());
    let left = || {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("out")).collect::<Vec<_>>()
    };
    for (script, why) in [
        // Far more than a pipe holds.
        ("\"$0\" user export | head -n 1; exit ${PIPESTATUS[0]}", "closed before the end"),
        ("\"$0\" user export > /dev/full", "No space left"),
        ("ulimit -S -f 100; \"$0\" user export --output out.jsonl", "cannot make out.jsonl: File too large"),
        ("\"$0\" user export --output nowhere/out.jsonl", "cannot make nowhere/out.jsonl"),
    ] {
        let output = shell(folder, script);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{script}: {said}");
        assert!(said.contains(why), "{script}: {said}");
        assert_eq!(left(), Vec::<String>::new(), "{script}");
    }
    // Ended while it waits for somebody who keeps the database locked: nothing is left either.
    let kill = "\"$0\" user export --output out.jsonl & pid=$!
                until ls out.jsonl* >/dev/null 2>&1 || ! kill -0 $pid 2>/dev/null; do :; done
                kill -TERM $pid; wait $pid";
    let output = shell(folder, kill);
    let is_whole = left() == ["out.jsonl"] && output.status.success();
    assert!(is_whole || (left().is_empty() && output.status.code() == Some(1)), "{:?} {output:?}", left());
    // A list is another thing: `head` takes what it wants of it.
    let listed = shell(folder, "\"$0\" user list | head -n 1; exit ${PIPESTATUS[0]}");
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    // What a kill left is cleared away by the next.
    std::fs::write(folder.join("out2.jsonl.draft-1-0"), "half").unwrap();
    assert!(hallpass(folder, &["user", "export", "--output", "out2.jsonl"], "").status.success());
    assert!(!folder.join("out2.jsonl.draft-1-0").exists());
    assert_eq!(std::fs::read_to_string(folder.join("out2.jsonl")).unwrap().lines().count(), 5_000);
}

#[test]
#[ignore = "needs script, which gives a terminal; make interop runs it"]
fn on_a_terminal_a_bar_shows_how_far_an_import_is_and_is_gone_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut input = String::new();
    for n in 0..5_000 {
        writeln!(input, "{{\"username\": \"user{n}\"}}").unwrap();
    }
    std::fs::write(folder.path().join("users.jsonl"), input).unwrap();
    let drawn = |words: &str| {
        let line = format!("stty cols 100; '{}' {words} > rows", env!("CARGO_BIN_EXE_hallpass"));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(folder.path());
        script.env("SECRET_KEY", SECRET_KEY).env("LOG", "error").env("TERM", "xterm");
        let output = finish(&mut script, "");
        assert!(output.status.success(), "{}", text(&output.stdout));
        text(&output.stdout)
    };
    let said = drawn("user import users.jsonl");
    assert!(
        said.contains('%') && said.contains(" lines, ") && said.contains("/s") && said.contains(" left"),
        "{said:?}"
    );
    assert!(said.contains('\u{2588}'), "a bar: {said:?}");
    let lines = |at: &str| at.rsplit_once(' ').map(|(_, count)| count.parse::<u32>().unwrap_or_default());
    let counts: Vec<u32> = said.split(" lines, ").filter_map(lines).filter(|count| *count > 0).collect();
    assert!(counts.is_sorted() && counts.last().is_some_and(|count| *count > 1_000), "{counts:?}");
    // Its line is cleared, and the sum stands there.
    let (_, end) = said.rsplit_once("\u{1b}[2K").unwrap();
    assert!(end.contains("5000 added, 0 existed, 0 invalid") && !end.contains('%'), "{end:?}");
    // Not in what was printed, nor where there is no terminal.
    let rows = std::fs::read_to_string(folder.path().join("rows")).unwrap();
    assert!(rows.lines().count() == 5_000 && !rows.contains('\u{1b}') && !rows.contains('%'));
    let quiet = shell(folder.path(), "\"$0\" user import users.jsonl > /dev/null");
    assert_eq!(text(&quiet.stderr), "hallpass: 0 added, 5000 existed, 0 invalid\n");
}

#[tokio::test]
async fn hashes_above_the_ceilings_are_refused_and_never_computed() {
    let (salt, tag) = ("c2FsdHNhbHRzYWx0c2FsdA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let bcrypt = &BCRYPT["$2b$04$".len()..];
    let dear = [
        format!("$argon2id$v=19$m=262145,t=1,p=1${salt}${tag}"),
        format!("$argon2id$v=19$m=64,t=17,p=1${salt}${tag}"),
        format!("argon2$argon2i$v=19$m=4194304,t=1,p=1${salt}${tag}"),
        format!("$2b$16${bcrypt}"),
        format!("bcrypt$$2b$31${bcrypt}"),
        format!("$scrypt$ln=19,r=8,p=1${salt}${tag}"),
        format!("scrypt$524288$salt$8$1${tag}"),
        format!("pbkdf2_sha256$4000001$salt${tag}"),
        format!("$pbkdf2-sha512$2000001${salt}${tag}{tag}"),
        format!("$fbscrypt$v=1,n=19,r=8,p=1,ss=Bw==,sk={tag}${salt}${tag}"),
    ];
    let server = Server::start(&[("HASH_THREADS", "1")]);
    server.register("john").await;
    let lines: Vec<Value> =
        dear.iter().enumerate().map(|(n, hash)| json!({"username": format!("u{n}"), "password_hash": hash})).collect();
    let path = file(server.folder.path(), &lines);
    let output = server.run(&["user", "import", &path], "");
    assert_eq!(output.status.code(), Some(1));
    for (row, hash) in text(&output.stdout).lines().zip(&dear) {
        assert!(row.contains("\tinvalid\t") && row.contains("costs more than is allowed"), "{hash}: {row}");
    }
    assert_eq!(text(&output.stdout).lines().count(), dear.len());
    // Past the import, straight into the table: a login is refused, and does not take the memory.
    let before = server.peak_memory();
    let own = server.folder.path().to_owned();
    for hash in &dear {
        execute(&own, &format!("UPDATE users SET password_hash = '{hash}'"), 1).await;
        let (status, body) = server.login("john", PASSWORD).await;
        assert_eq!((status, &body["code"]), (401, &json!("invalid_credentials")), "{hash}");
    }
    assert!(server.peak_memory() < before + 64 * 1_024, "{before} {}", server.peak_memory());
    assert_eq!(server.whole_log().matches("password_hash_unusable").count(), dear.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_goes_on_writing_beside_an_import() {
    let server = Server::start(&[("LOG", "warn")]);
    let mut lines = String::new();
    for n in 0..6_000 {
        writeln!(lines, "{{\"username\": \"user{n}\", \"password_hash\": \"{BCRYPT}\"}}").unwrap();
    }
    let path = server.folder.path().join("users.jsonl");
    std::fs::write(&path, lines).unwrap();
    server.register("first").await;
    let importing = std::thread::scope(|scope| {
        let mut import = command(server.folder.path(), &["user", "import", path.to_str().unwrap()]);
        import.env("SECRET_KEY", SECRET_KEY).env("LOG", "error");
        let import = scope.spawn(move || import.output().unwrap());
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            handle.block_on(async {
                let (mut slowest, mut count) = (Duration::ZERO, 0);
                while !import.is_finished() {
                    let begun = Instant::now();
                    // A write in each.
                    let pair = server.tokens("first").await;
                    slowest = slowest.max(begun.elapsed());
                    assert_eq!(server.logout(&pair.access).await, 204);
                    count += 1;
                }
                assert!(count > 2, "{count} logins beside it");
                assert!(slowest < Duration::from_secs(3), "{slowest:?}");
            });
        });
        import.join().unwrap()
    });
    assert!(importing.status.success(), "{}", text(&importing.stderr));
    assert_eq!(text(&importing.stdout).lines().filter(|line| line.contains("\tadded\t")).count(), 6_000);
    let (status, _) = server.login("user5999", "correct horse \u{e9}").await;
    assert_eq!(status, 200);
}
