//! One system call of a command fails: it says so, or what it said is so.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use super::{
    SETTINGS, database,
    program::{SECRET_KEY, finish, run, text},
    rounds, strace,
};

const ROWS: &[&str] = &[
    "pwrite64:error=EIO:when={n}",
    "pwrite64:error=ENOSPC:when={n}",
    "fsync,fdatasync:error=EIO:when={n}",
    "openat:error=EIO:when={n}",
    "rename,renameat2,link,linkat:error=EIO:when={n}",
];

/// `{n}` is another each time.
const COMMANDS: &[&[&str]] = &[
    &["user", "disable", "user{n}"],
    &["keys", "rotate"],
    &["user", "import", "new{n}.jsonl"],
    &["user", "export", "--output", "export{n}"],
    &["backup", "backup{n}"],
];

/// Accounts that were there, so that there is one for each try.
const ACCOUNTS: usize = 2_000;

/// What a command has done by the database, or by the file that it made.
async fn is_done(folder: &Path, arguments: &[String], said: &str) -> bool {
    let count = async |condition: String| {
        let query = format!("SELECT CAST(COUNT(*) AS TEXT) FROM {condition}");
        database::column(folder, &query).await[0].parse::<usize>().unwrap()
    };
    let last = folder.join(arguments.last().unwrap());
    match arguments[1].as_str() {
        "disable" => count(format!("users WHERE username = '{}' AND disabled_at IS NOT NULL", arguments[2])).await == 1,
        "rotate" => {
            let kid = said.split(' ').next().unwrap();
            !kid.is_empty() && count(format!("signing_keys WHERE kid = '{kid}'")).await == 1
        }
        "import" => {
            let name = arguments[2].strip_suffix(".jsonl").unwrap();
            count(format!("users WHERE username = '{name}'")).await == 1
        }
        "export" => {
            let lines = fs::read_to_string(&last).unwrap_or_default().lines().count();
            lines == count("users".to_owned()).await
        }
        _ => {
            let restored = tempfile::tempdir().unwrap();
            if fs::copy(&last, restored.path().join("hallpass.db")).is_err() {
                return false;
            }
            assert_eq!(database::integrity(restored.path()).await, "ok", "{arguments:?}: half a backup");
            assert!(database::dump(restored.path()).await == database::dump(folder).await, "{arguments:?}");
            true
        }
    }
}

#[tokio::test]
#[ignore = "needs strace; make faults runs it"]
async fn a_command_that_fails_says_so_and_what_it_said_is_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let lines: Vec<String> = (0..ACCOUNTS).map(|n| json!({"username": format!("user{n}")}).to_string()).collect();
    fs::write(folder.join("all.jsonl"), lines.join("\n")).unwrap();
    assert!(run(folder, &["user", "import", "all.jsonl"], &SETTINGS, "").status.success());
    let (mut number, most) = (0, rounds(0) / 2);
    for injection in ROWS {
        let [mut failed, mut refused, mut done] = [0; 3];
        for command in COMMANDS {
            let places: Vec<usize> = if most == 0 { vec![1, 8] } else { (1..=most).collect() };
            for n in places {
                number += 1;
                let arguments: Vec<String> = command.iter().map(|w| w.replace("{n}", &number.to_string())).collect();
                let what = format!("{arguments:?} with {injection}, n = {n}");
                fs::write(folder.join(format!("new{number}.jsonl")), format!("{{\"username\": \"new{number}\"}}"))
                    .unwrap();
                let mut traced = Command::new("strace");
                traced.args(strace::words(&[injection.replace("{n}", &n.to_string())]));
                traced.args(["--seccomp-bpf", "-o", "trace", env!("CARGO_BIN_EXE_hallpass")]).args(&arguments);
                traced.current_dir(folder).env_clear().env("PATH", std::env::var("PATH").unwrap());
                let output = finish(traced.env("SECRET_KEY", SECRET_KEY).envs(SETTINGS), "");
                let (said, complained) = (text(&output.stdout), text(&output.stderr));
                assert!(!complained.contains("panicked"), "{what}: {complained}");
                let injected = strace::injected(&fs::read_to_string(folder.join("trace")).unwrap());
                if output.status.success() {
                    assert!(is_done(folder, &arguments, &said).await, "{what}: {complained}");
                    done += 1;
                } else {
                    let by_loader = output.status.code() == Some(127) && injection.starts_with("openat");
                    assert!(output.status.code() == Some(1) || by_loader, "{what}: {} {complained}", output.status);
                    assert!(complained.contains("hallpass: ") || by_loader, "{what}: {complained}");
                    refused += 1;
                    // Half a file never has the name.
                    if arguments[0] == "backup" {
                        is_done(folder, &arguments, &said).await;
                    }
                }
                failed += injected;
                if injected == 0 {
                    break;
                }
            }
        }
        assert_eq!(database::integrity(folder).await, "ok");
        assert!(failed > 0, "{injection}: the call is not made");
        eprintln!("{injection}: {failed} calls failed; {refused} commands refused, {done} done");
    }
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_known = |name: &String| {
        let name = name.trim_end_matches(char::is_numeric);
        ["backup", "export", "trace"].contains(&name) || name.starts_with("hallpass.db") || name.contains(".json")
    };
    assert_eq!(names.filter(|name| !is_known(name)).collect::<Vec<_>>(), Vec::<String>::new(), "left behind");
}
