//! `hallpass user import` and `export`.

use std::{
    fmt::Write as _,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::program::{SECRET_KEY, Server, command, run, text};

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
