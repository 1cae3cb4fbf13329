//! One system call fails while a server starts for the first time, and makes its database.

use std::{
    fs::File,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    SETTINGS, database,
    program::{PASSWORD, PATIENCE, SECRET_KEY, Server, free_port},
    rounds, strace,
};

/// What fails: `{n}` is at which call of a thread. A start makes about so many.
const ROWS: &[(&str, usize)] = &[
    ("pwrite64:error=EIO:when={n}", 300),
    ("pwrite64:error=ENOSPC:when={n}", 300),
    ("fsync,fdatasync:error=EIO:when={n}", 40),
    ("openat:error=EIO:when={n}", 20),
    ("openat:error=EMFILE:when={n}", 20),
    ("ftruncate:error=EIO:when={n}", 2),
    ("pread64:error=EIO:when={n}", 50),
];

fn places(most: usize) -> Vec<usize> {
    match rounds(0) / 2 {
        0 => [2, 9, 150].into_iter().filter(|n| *n <= most).collect(),
        long => (1..=most.min(long)).collect(),
    }
}

/// The loader's own, before there is a program that could say anything.
const LOADER: i32 = 127;

#[tokio::test]
#[ignore = "needs strace; make faults runs it"]
async fn a_first_start_that_fails_says_so_and_the_next_one_succeeds() {
    for (injection, most) in ROWS {
        let [mut refused, mut started, mut failed] = [0; 3];
        for n in places(*most) {
            let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
            let injection = injection.replace("{n}", &n.to_string());
            let trace = folder.path().join("trace");
            let mut command = Command::new("strace");
            // The server is the child, and strace its child.
            command
                .args(strace::words(std::slice::from_ref(&injection)))
                .args(["-D", "--seccomp-bpf", "-o"])
                .arg(&trace);
            command.args([env!("CARGO_BIN_EXE_hallpass"), "serve"]).current_dir(folder.path()).env_clear();
            command
                .env("SECRET_KEY", SECRET_KEY)
                .env("PORT", port.to_string())
                .env("RATE_LIMITS", "off")
                .envs(SETTINGS);
            let path = std::env::var("PATH").unwrap();
            command.env("PATH", path).stderr(File::create(folder.path().join("log")).unwrap());
            let mut child = command.spawn().expect("strace is not installed");
            let url = format!("http://127.0.0.1:{port}");
            let form = json!({"username": "john", "password": PASSWORD});
            let mut was_made = false;
            let begun = Instant::now();
            let said = || std::fs::read_to_string(folder.path().join("log")).unwrap();
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    let by_loader = !injection.starts_with("pwrite64") && status.code() == Some(LOADER);
                    assert!(status.code() == Some(1) || by_loader, "{injection}: {status}: {}", said());
                    assert!(said().contains("hallpass: ") || by_loader, "{injection}: {}", said());
                    refused += 1;
                    break;
                }
                if let Ok(answer) = reqwest::Client::new().post(format!("{url}/register")).json(&form).send().await {
                    let status = answer.status().as_u16();
                    assert!([201, 503].contains(&status), "{injection}: {status}");
                    was_made = status == 201;
                    started += 1;
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{injection}: {}", said());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(!said().contains("panicked") && !said().contains("internal_error"), "{injection}: {}", said());
            failed += strace::injected(&std::fs::read_to_string(&trace).unwrap());

            let mut command = super::program::command(folder.path(), &["serve"]);
            command
                .env("SECRET_KEY", SECRET_KEY)
                .env("PORT", port.to_string())
                .env("RATE_LIMITS", "off")
                .envs(SETTINGS);
            let server = Server::spawn(command, folder, port);
            if !was_made {
                let (status, body) = server.post("/register", &form).await;
                assert!([201, 409].contains(&status), "{injection}: {body}");
            }
            assert_eq!(server.login("john", PASSWORD).await.0, 200, "{injection}");
            assert_eq!(database::integrity(server.folder.path()).await, "ok");
        }
        eprintln!("{injection}: {failed} calls failed, {refused} starts refused, {started} started");
    }
}
