//! Requests with bytes changed at random, as they stand on the wire: those that the router never sees, too.

use std::{io::Write, net::Shutdown};

use serde_json::json;

use super::program::{PASSWORD, Server, read_all};

#[path = "../api/mutations/random.rs"]
mod random;

use random::{Random, rounds, seed};

#[tokio::test]
async fn whatever_is_sent_is_answered_or_the_connection_closed() {
    let server = Server::start(&[]);
    server.register("johndoe").await;
    let tokens = server.tokens("johndoe").await;
    let login = json!({"username": "johndoe", "password": PASSWORD}).to_string();
    let post = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let whole: Vec<Vec<u8>> = [
        format!("{post}Content-Length: {}\r\n\r\n{login}", login.len()),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{login}\r\n0\r\nX: y\r\n\r\n", login.len()),
        format!("{post}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{login}", login.len()),
        format!("GET /me?x=%20 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", tokens.access),
        "HEAD http://x:80/docs HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n"
            .to_owned(),
        "GET /livez HTTP/1.0\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close, x\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: x\r\nOrigin: https://x.example\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"
            .to_owned(),
    ]
    .map(String::into_bytes)
    .into();
    let (mut random, mut answered) = (Random::new(seed()), 0);
    let count = rounds() / 10;
    for round in 0..count {
        let mut bytes = random.of(&whole).clone();
        random.mutate(&mut bytes, &whole);
        // One after the other, on a connection that goes on.
        if random.below(4) == 0 {
            bytes.extend(random.of(&whole));
        }
        let mut stream = server.connect();
        // Whoever was refused in the middle may be hung up on.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let answers = read_all(&mut stream);
        let sent = || format!("seed {} round {round}: {:?}: {answers}", seed(), String::from_utf8_lossy(&bytes));
        assert!(answers.is_empty() || answers.starts_with("HTTP/1."), "{}", sent());
        assert!(!answers.contains("HTTP/1.1 5") && !answers.contains("HTTP/1.0 5"), "{}", sent());
        answered += u64::from(!answers.is_empty());
    }
    assert!(answered > count / 4, "{answered} of {count} were answered");
    assert_eq!(server.me(&tokens.access).await.0, 200);
    let log = server.whole_log();
    assert!(!log.contains("panic") && !log.contains("internal_error"), "{log}");
}
