//! Requests that two servers on the way would read as two different ones (RFC 9112, section 11.2).

use serde_json::json;

use super::program::{PASSWORD, Server};

/// What an attacker would have answered to somebody else.
const HIDDEN: &str = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";

/// The statuses of all answers, in order.
fn statuses(answers: &str) -> Vec<u16> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

#[tokio::test]
async fn what_could_be_read_as_two_requests_is_refused_and_ends_the_connection() {
    let server = Server::start(&[]);
    let post = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let length = HIDDEN.len();
    let heads = [
        // Codings that are not one `chunked`.
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: gzip, chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: \"chunked\"\r\n".to_owned(),
        "Transfer-Encoding: \x0bchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked;q=1\r\n".to_owned(),
        // Names and lines that only some take for what they are.
        "Transfer-Encoding : chunked\r\n".to_owned(),
        " Transfer-Encoding: chunked\r\n".to_owned(),
        "X: y\r\n\tTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding\r\n: chunked\r\n".to_owned(),
        "Transfer\0-Encoding: chunked\r\n".to_owned(),
        "X: y\rTransfer-Encoding: chunked\r\n".to_owned(),
        // Lengths that are not one number.
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}, 0\r\n"),
        format!("Content-Length: +{length}\r\n"),
        "Content-Length: -1\r\n".to_owned(),
        format!("Content-Length: 0x{length:x}\r\n"),
        format!("Content-Length: {length} 0\r\n"),
        format!("Content-Length: {length}.0\r\n"),
        "Content-Length: 18446744073709551616\r\n".to_owned(),
        "Content-Length:\r\n".to_owned(),
        format!("Content-Length : {length}\r\n"),
    ];
    for head in &heads {
        let answers = server.exchange(format!("{post}{head}\r\n0\r\n\r\n{HIDDEN}").as_bytes());
        assert_eq!(statuses(&answers), [400], "{head:?}: {answers}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_counts_for_nothing_and_ends_the_connection() {
    let server = Server::start(&[]);
    server.register("johndoe").await;
    let login = json!({"username": "johndoe", "password": PASSWORD}).to_string();
    let chunks = format!("{:x}\r\n{login}\r\n0\r\n\r\n", login.len());
    let post = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for length in [0, login.len(), chunks.len(), chunks.len() + HIDDEN.len()] {
        for head in [
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            format!("transfer-encoding: CHUNKED\r\nContent-Length: {length}\r\n"),
        ] {
            let answers = server.exchange(format!("{post}{head}\r\n{chunks}{HIDDEN}").as_bytes());
            assert_eq!(statuses(&answers), [200], "{head:?}: {answers}");
        }
    }
}

#[tokio::test]
async fn chunks_that_are_not_written_as_they_must_be_end_the_connection() {
    let server = Server::start(&[]);
    let post =
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "0x2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        " 2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{} \r\n0\r\n\r\n",
        "2;a\nb\r\n{}\r\n0\r\n\r\n",
        "2\r{}\r\n0\r\n\r\n",
        "\r\n2\r\n{}\r\n0\r\n\r\n",
        "10000000000000002\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\nX\0: y\r\n\r\n",
    ] {
        let answers = server.exchange(format!("{post}{body}{HIDDEN}").as_bytes());
        let found = statuses(&answers);
        // The body is what cannot be read; the head was fine.
        assert!(found.len() == 1 && (400..500).contains(&found[0]), "{body:?}: {answers}");
    }
}

#[tokio::test]
async fn what_follows_a_whole_request_is_the_next_one() {
    let server = Server::start(&[]);
    let close = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for (first, statuses_of_both) in [
        // A body where none is usual is read all the same, and is no request.
        (format!("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()), [200, 200]),
        (
            "POST /logout HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n".to_owned(),
            [401, 200],
        ),
        ("HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), [200, 200]),
        ("DELETE /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello".to_owned(), [404, 200]),
    ] {
        let answers = server.exchange(format!("{first}{close}").as_bytes());
        assert_eq!(statuses(&answers), statuses_of_both, "{first:?}: {answers}");
    }
}
