//! Tokens of Hallpass in the hands of others, and of others in the hands of Hallpass: `PyJWT` and npm `jose`,
//! through the examples that the README shows.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may")]

#[path = "../process/program.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod program;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use program::{PASSWORD, PATIENCE, SECRET_KEY, Server, free_port};
use serde_json::{Value, json};

/// Where `make tools` puts Python and its packages.
fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python")
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Somebody else's service. Killed when dropped.
struct Service(Child, u16);

impl Service {
    fn start(mut command: Command, issuer: &str, port: u16) -> Self {
        command.env("SECRET_KEY", SECRET_KEY).env("ISSUER", issuer).env("PORT", port.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut service = Self(child, port);
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(service.0.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE, "does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        service
    }

    async fn hello(&self, token: &str) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}/hello", self.1);
        let answer = reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The service takes our token, and no other.
async fn accepts_ours(service: &Service, server: &Server) {
    let user = server.register("Jane").await;
    let (_, tokens) = server.login("jane", PASSWORD).await;
    let token = tokens["access_token"].as_str().unwrap();
    let expected = json!({"message": "Hello Jane", "sub": user["id"], "roles": ["user"]});
    assert_eq!(service.hello(token).await, (200, expected));
    let (head, tail) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", tail.chars().rev().collect::<String>());
    assert_eq!(service.hello(&forged).await.0, 401);
    let other = Server::start(&[]);
    other.register("Jane").await;
    let (_, tokens) = other.login("jane", PASSWORD).await;
    assert_eq!(service.hello(tokens["access_token"].as_str().unwrap()).await.0, 401, "another issuer, the same key");
}

#[tokio::test]
#[ignore = "needs Python with FastAPI and PyJWT; make interop installs and runs it"]
async fn a_fastapi_service_accepts_our_tokens() {
    let server = Server::start(&[]);
    let port = free_port();
    let mut command = Command::new(python());
    command.args(["-m", "uvicorn", "main:app", "--log-level", "warning", "--port", &port.to_string()]);
    command.current_dir(in_repository("examples/fastapi"));
    accepts_ours(&Service::start(command, &server.url(""), port), &server).await;
}

#[tokio::test]
#[ignore = "needs Node.js with express and jose; make interop installs and runs it"]
async fn an_express_service_accepts_our_tokens() {
    let server = Server::start(&[]);
    let mut command = Command::new("node");
    command.arg("server.mjs").current_dir(in_repository("examples/express"));
    accepts_ours(&Service::start(command, &server.url(""), free_port()), &server).await;
}

#[tokio::test]
#[ignore = "needs Python with PyJWT; make interop installs and runs it"]
async fn a_token_that_pyjwt_signs_is_judged_like_ours() {
    let server = Server::start(&[]);
    let user = server.register("jane").await;
    let (_, tokens) = server.login("jane", PASSWORD).await;
    let part = |n: usize| -> Value {
        let part = tokens["access_token"].as_str().unwrap().split('.').nth(n).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    let now = claims["iat"].as_i64().unwrap();
    for (change, code) in [
        (json!({}), Value::Null),
        (json!({"exp": now - 1}), json!("token_expired")),
        (json!({"aud": "other"}), json!("invalid_token")),
        (json!({"sub": "nobody"}), json!("user_not_found")),
        (json!({"iat": now + 3_600}), json!("invalid_token")),
    ] {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, body) = server.get("/me", &mint(&header, &claims)).await;
        assert_eq!(body["code"], code, "{change} {status}");
        assert!(status == 401 || body["id"] == user["id"]);
    }
}

fn mint(header: &Value, claims: &Value) -> String {
    let mut child = Command::new(python())
        .arg(in_repository("tests/interop/mint.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let wanted = json!({"key": SECRET_KEY, "header": header, "claims": claims}).to_string();
    child.stdin.take().unwrap().write_all(wanted.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
