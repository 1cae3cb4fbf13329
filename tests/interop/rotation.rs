//! Clients that cache the public keys, while the keys rotate.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    in_repository,
    program::{PASSWORD, PATIENCE, Server, run, text},
    python,
};

const EDDSA: &[(&str, &str)] = &[("ALGORITHM", "EdDSA")];

/// From a key's first appearance to its first token, in seconds: one for the part of a second that times leave out, less
/// than one until the server has read the key, and one for which the clients cache.
const LEAD: &str = "3";

/// A client that refreshes and verifies all the time. Killed when dropped.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    fn start(mut command: Command, script: &str, server: &Server, seconds: usize) -> Self {
        command.arg(in_repository(script)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let given = json!({
            "issuer": server.url(""), "username": "jane", "password": PASSWORD, "loops": 3, "seconds": seconds,
        });
        writeln!(stdin, "{given}").unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, stdin: Some(stdin), lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until it has verified a token of this key.
    fn sees(&self, kid: &str) {
        while self.line() != kid {}
    }

    /// Ends it. Answers what it counted.
    fn finish(mut self) -> Value {
        drop(self.stdin.take());
        let figures = loop {
            let line = self.line();
            if line.starts_with('{') {
                break line;
            }
        };
        println!("{figures}");
        serde_json::from_str(&figures).unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next key's id.
fn rotate(server: &Server) -> String {
    let output = run(server.folder.path(), &["keys", "rotate", "--in", LEAD], EDDSA, "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).split_whitespace().next().unwrap().to_owned()
}

/// Waits until the next second has begun. Of two keys that take over in the same one, the first never signs.
#[expect(clippy::disallowed_methods, reason = "keys take over by the system's clock")]
async fn next_second() {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_millis();
    tokio::time::sleep(Duration::from_millis(u64::from(1_200 - passed))).await;
}

/// `HALLPASS_ROTATIONS` says how many rotations there are.
#[tokio::test]
#[ignore = "needs Python with PyJWT and Node.js with jose; make interop installs and runs it"]
async fn clients_that_cache_the_keys_verify_every_token_through_many_rotations() {
    let rotations: u32 = std::env::var("HALLPASS_ROTATIONS").map_or(8, |text| text.parse().unwrap());
    let server = Server::start(EDDSA);
    server.register("jane").await;
    let seconds = 120 + 4 * rotations as usize;
    let clients = [
        Client::start(Command::new(python()), "tests/interop/rotations.py", &server, seconds),
        Client::start(Command::new("node"), "tests/interop/rotations.mjs", &server, seconds),
    ];
    let set: Value = server.get("/.well-known/jwks.json", "").await.1;
    for client in &clients {
        client.sees(set["keys"][0]["kid"].as_str().unwrap());
    }
    let mut last = String::new();
    for _ in 0..rotations {
        next_second().await;
        last = rotate(&server);
    }
    for client in &clients {
        client.sees(&last);
    }
    for figures in clients.map(Client::finish) {
        assert_eq!((&figures["failed"], &figures["kids"]), (&json!(0), &json!(rotations + 1)), "{figures}");
    }
}
