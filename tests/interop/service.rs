//! The examples, running.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    in_repository,
    program::{PATIENCE, free_port},
    python,
};

#[derive(Clone, Copy)]
pub enum Example {
    FastApi,
    Express,
    Axum,
}

impl Example {
    fn command(self, port: u16) -> Command {
        let mut command = match self {
            Self::FastApi => {
                let mut python = Command::new(python());
                python.args(["-m", "uvicorn", "main:app", "--log-level", "error", "--port", &port.to_string()]);
                python.current_dir(in_repository("examples/fastapi"));
                python
            }
            Self::Express => {
                let mut node = Command::new("node");
                node.arg("server.mjs").current_dir(in_repository("examples/express"));
                node
            }
            Self::Axum => {
                let built = Path::new(env!("CARGO_BIN_EXE_hallpass")).with_file_name("examples").join("axum");
                assert!(built.exists(), "cargo build --example axum makes {}", built.display());
                Command::new(built)
            }
        };
        command.env("PORT", port.to_string()).env_remove("SECRET_KEY").env_remove("AUDIENCE");
        command
    }
}

/// Somebody else's service. Killed when dropped.
pub struct Service(Child, u16);

impl Service {
    /// One that trusts this issuer. Waits until it listens.
    pub fn start(example: Example, issuer: &str, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = example.command(port);
        command.env("ISSUER", issuer).envs(settings.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut service = Self(child, port);
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(service.0.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE, "does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        service
    }

    pub async fn hello(&self, token: &str) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}/hello", self.1);
        let answer = reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Asks until the status is no more the one that it may be meanwhile, and answers with what it then says.
    pub async fn hello_after(&self, meanwhile: u16, token: &str) -> (u16, Value) {
        let begun = Instant::now();
        loop {
            let answer = self.hello(token).await;
            if answer.0 != meanwhile {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "still {meanwhile}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
