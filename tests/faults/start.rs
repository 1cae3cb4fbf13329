//! One system call fails while a server starts for the first time, and makes its database.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    SETTINGS, database,
    program::{PASSWORD, PATIENCE, SECRET_KEY, Server, command, eventually, free_port},
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
        0 => [1, 2, 9, 150].into_iter().filter(|n| *n <= most).collect(),
        long => (1..=most.min(long)).collect(),
    }
}

/// The loader's own, before there is a program that could say anything.
const LOADER: i32 = 127;

fn form() -> Value {
    json!({"username": "john", "password": PASSWORD})
}

/// A start in this folder, until it has ended or answered.
struct Start<'a> {
    folder: &'a Path,
    port: u16,
    injection: &'a str,
}

impl Start<'_> {
    fn settings(&self, command: &mut Command) {
        command.env("SECRET_KEY", SECRET_KEY).env("PORT", self.port.to_string()).env("RATE_LIMITS", "off");
        command.envs(SETTINGS);
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// None: it was refused. Else, whether the account was made.
    async fn run(&self) -> Option<bool> {
        let mut command = Command::new("strace");
        command.args(strace::words(&[self.injection.to_owned()]));
        // The server is the child, and strace its child.
        command.args(["-D", "--seccomp-bpf", "-o", "trace", env!("CARGO_BIN_EXE_hallpass"), "serve"]);
        command.current_dir(self.folder).env_clear().env("PATH", std::env::var("PATH").unwrap());
        self.settings(&mut command);
        let mut child =
            command.stderr(File::create(self.folder.join("log")).unwrap()).spawn().expect("strace is missing");
        let url = format!("http://127.0.0.1:{}/register", self.port);
        let begun = Instant::now();
        let came = loop {
            if let Some(status) = child.try_wait().unwrap() {
                let by_loader = !self.injection.starts_with("pwrite64") && status.code() == Some(LOADER);
                let why = format!("{}: {status}: {}", self.injection, self.said());
                assert!(by_loader || status.code() == Some(1) && why.contains("hallpass: "), "{why}");
                break None;
            }
            if let Ok(answer) = reqwest::Client::new().post(&url).json(&form()).send().await {
                let status = answer.status().as_u16();
                assert!([201, 503].contains(&status), "{}: {status}", self.injection);
                child.kill().unwrap();
                child.wait().unwrap();
                break Some(status == 201);
            }
            assert!(begun.elapsed() < PATIENCE, "{}: {}", self.injection, self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(!self.said().contains("panicked") && !self.said().contains("internal_error"), "{}", self.said());
        came
    }

    /// What strace wrote, once it has written all.
    async fn injected(&self) -> usize {
        let trace = || fs::read_to_string(self.folder.join("trace")).unwrap();
        let ends = ["+++ exited with", "+++ killed by"];
        eventually("strace has ended", async || {
            trace().lines().last().is_some_and(|l| ends.iter().any(|e| l.contains(e)))
        })
        .await;
        strace::injected(&trace())
    }
}

#[tokio::test]
#[ignore = "needs strace; make faults runs it"]
async fn a_first_start_that_fails_says_so_and_the_next_one_succeeds() {
    for (injection, most) in ROWS {
        let [mut refused, mut started, mut failed] = [0; 3];
        for n in places(*most) {
            let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
            let injection = injection.replace("{n}", &n.to_string());
            let start = Start { folder: folder.path(), port, injection: &injection };
            let came = start.run().await;
            failed += start.injected().await;
            (refused, started) = (refused + usize::from(came.is_none()), started + usize::from(came.is_some()));

            let mut command = command(folder.path(), &["serve"]);
            start.settings(&mut command);
            let server = Server::spawn(command, folder, port);
            if came != Some(true) {
                let (status, body) = server.post("/register", &form()).await;
                // It was refused, or killed.
                assert!([201, 409].contains(&status), "{injection}: {body}");
            }
            assert_eq!(server.login("john", PASSWORD).await.0, 200, "{injection}");
            assert_eq!(database::integrity(server.folder.path()).await, "ok");
        }
        assert!(failed > 0, "{injection}: the call is not made");
        eprintln!("{injection}: {failed} calls failed, {refused} starts refused, {started} started");
    }
}
