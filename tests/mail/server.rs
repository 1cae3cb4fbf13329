//! A mail server that misbehaves as it is told: `server.py`, in a process of its own.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::Value;
use tempfile::TempDir;

use super::program::{PATIENCE, free_port};

/// Killed when dropped.
pub struct MailServer {
    pub folder: TempDir,
    pub port: u16,
    child: Child,
}

impl MailServer {
    /// One without TLS, or with this certificate.
    pub fn start(certificate: Option<&str>) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(root.join("target/tools/venv/bin/python"));
        command.arg(root.join("tests/mail/server.py")).arg(port.to_string()).arg(folder.path()).args(certificate);
        let log = fs::File::create(folder.path().join("stderr")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut server = Self { folder, port, child };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let has_ended = server.child.try_wait().unwrap().is_some();
            assert!(!has_ended && begun.elapsed() < PATIENCE, "does not listen: {}", server.complaints());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        server
    }

    /// For the connections to come, one line each.
    pub fn plan(&self, lines: &[&str]) {
        fs::write(self.folder.path().join("new"), lines.join("\n")).unwrap();
        fs::rename(self.folder.path().join("new"), self.folder.path().join("plan")).unwrap();
    }

    /// All that was said to it.
    pub fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        // The last line may be half written.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    /// The mails that it took.
    pub fn taken(&self) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["stage"] == "TAKEN").collect()
    }

    /// How often each address was mailed to.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for mail in self.taken() {
            *counts.entry(mail["to"][0].as_str().unwrap().to_owned()).or_default() += 1;
        }
        counts
    }

    pub fn complaints(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
