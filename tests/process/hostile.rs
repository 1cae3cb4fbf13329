//! Connections of somebody who means harm, and of somebody whose network is bad.

use std::{
    io::Write,
    net::{IpAddr, TcpStream},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::program::{PATIENCE, Server, count, eventually, free_port, limited, read_all};

const HEAD: &str = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

/// Who is not served within so long waits for a place.
const SHORT: Duration = Duration::from_millis(500);

/// The status of an answer, and its code if it is a problem.
fn verdict(answer: &str) -> (u16, String) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let code = answer.split(r#""code":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    (status, code.to_owned())
}

#[tokio::test]
async fn heads_that_are_not_http_are_refused_before_they_are_requests() {
    let server = Server::start(&[]);
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(500));
    let in_chunks =
        |body: &str| format!("{HEAD}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}\r\n0\r\n\r\n");
    for (request, statuses) in [
        ("nonsense\r\n\r\n", &[400][..]),
        ("GET /livez HTTP/3.0\r\n\r\n", &[400]),
        ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", &[400]),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", &[400]),
        ("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", &[400]),
        ("POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400]),
        ("GET /livez HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n", &[400]),
        ("GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", &[400]),
        ("GET /livez HTTP/1.1\r\nHost: x\0\r\n\r\n", &[400]),
        ("GET /livez HTTP/1.1\r\n\r\n", &[400]),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", &[400]),
        ("POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &[400]),
        (
            "POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        (&long, &[431]),
        (&many, &[431]),
        (&in_chunks("10000000000000000\r\n{}"), &[400]),
        (&in_chunks("-2\r\n{}"), &[400]),
        (&in_chunks("2\n{}"), &[400]),
        (&in_chunks("2;\n{}"), &[400]),
        ("GET /livez HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", &[400]),
        ("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello", &[400]),
        ("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", &[400]),
        // As a control: these chunks are read, and what is in them is not what a login takes.
        (&in_chunks("2\r\n{}"), &[422]),
        // HTTP/2 is not spoken.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 0]),
    ] {
        let answer = server.exchange(request.as_bytes());
        let (status, _) = verdict(&answer);
        assert!(statuses.contains(&status), "{request:.60}: {answer}");
    }
    assert_eq!(verdict(&server.exchange(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).0, 200);
}

#[tokio::test]
async fn targets_that_are_no_path_are_answered_like_any_other() {
    let server = Server::start(&[]);
    let long = format!("/{}", "x".repeat(10_000));
    for (target, statuses) in [
        ("CONNECT example.com:80", &[404, 405][..]),
        ("OPTIONS *", &[404, 405]),
        ("GET http://example.com/livez", &[200]),
        ("GET http://example.com", &[307]),
        ("GET //livez", &[404]),
        ("GET /livez?", &[200]),
        ("GET /livez?%ff&=&&a=%", &[200]),
        ("GET /%ff%00", &[422]),
        ("GET /livez%00", &[404, 422]),
        ("GET /liv%65z", &[200, 404]),
        ("GET /livez/../me", &[404]),
        ("GET /caf\u{e9}?\u{e9}", &[404, 400]),
        ("HEAD /livez", &[200]),
        (&format!("GET {long}"), &[404]),
    ] {
        let answer = server.exchange(format!("{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(statuses.contains(&verdict(&answer).0), "{target:.60}: {answer}");
    }
    let raw = [&b"GET /\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"[..]].concat();
    assert!(matches!(verdict(&server.exchange(&raw)).0, 400 | 404));
    let token =
        [&b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"[..]].concat();
    assert_eq!(verdict(&server.exchange(&token)), (401, "invalid_token".to_owned()));
}

#[tokio::test]
async fn a_length_beside_chunks_does_not_smuggle_a_request() {
    let server = Server::start(&[]);
    let request = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\
                   Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = server.exchange(request.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(!server.whole_log().contains("not_found"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_while_it_is_read() {
    let server = Server::start(&[]);
    let before = server.peak_memory();
    let announced = format!("{HEAD}Content-Length: 1048576\r\n\r\n");
    assert_eq!(verdict(&server.exchange(announced.as_bytes())), (413, "payload_too_large".to_owned()));

    let mut stream = server.connect();
    let mut sent = 0;
    stream.write_all(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    // 64 MiB, or until the server has had enough.
    while sent < 1_000 && stream.write_all(chunk.as_bytes()).is_ok() {
        sent += 1;
    }
    assert!(sent < 1_000, "it was read to the end");
    let mut answered = server.connect();
    let one = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4400\r\n{}\r\n", "x".repeat(0x4400));
    answered.write_all(one.as_bytes()).unwrap();
    assert_eq!(verdict(&read_all(&mut answered)), (413, "payload_too_large".to_owned()));
    assert_eq!(server.get("/livez", "").await.0, 200);
    assert!(
        server.peak_memory() < before + 8 * 1024,
        "{} KiB before, {} KiB at the peak",
        before,
        server.peak_memory()
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_and_holds_nobody_up() {
    let server = Server::start(&[]);
    let slow = server.connect();
    (&slow).write_all(format!("{HEAD}Content-Length: 50\r\n\r\n{{\"user").as_bytes()).unwrap();
    let drip = slow.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        // A byte a second keeps a deadline by the byte away, not one for the whole.
        while (&drip).write_all(b" ").is_ok() {
            thread::sleep(Duration::from_secs(1));
        }
    });
    assert_eq!(server.get("/livez", "").await.0, 200);
    let answer = tokio::task::spawn_blocking(move || read_all(&mut { slow })).await.unwrap();
    assert_eq!(verdict(&answer), (408, "request_timeout".to_owned()));
    dripping.join().unwrap();
}

#[tokio::test]
async fn heads_that_never_end_are_cut_off_and_do_not_hold_up_the_end() {
    let mut server = Server::start(&[]);
    let half: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(server.get("/livez", "").await.0, 200);
    let late: Vec<TcpStream> = {
        let mut half = half;
        // The deadline of a head closes the connection.
        let answer = read_all(&mut half[0]);
        assert!(matches!(verdict(&answer).0, 408 | 0), "{answer}");
        half.drain(1..).collect()
    };
    let fresh = (0..50).map(|_| {
        let mut stream = server.connect();
        stream.write_all(b"POST /login HTTP/1.1\r\n").unwrap();
        stream
    });
    let fresh: Vec<TcpStream> = fresh.collect();
    server.signal("TERM");
    let begun = std::time::Instant::now();
    assert!(server.wait().success());
    // A bound that the server promises, not a measurement.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop((late, fresh));
}

#[tokio::test]
async fn clients_that_hang_up_are_noted_and_not_hashed_for() {
    let slow =
        [("HASH_THREADS", "1"), ("HASH_QUEUE", "100"), ("ARGON2_MEMORY_KIB", "131072"), ("ARGON2_ITERATIONS", "4")];
    let server = Server::start(&slow);
    let body = r#"{"username":"nobody","password":"x"}"#;
    let waiting: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut stream = server.connect();
            write!(stream, "{HEAD}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            stream
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(waiting);
    let begun = std::time::Instant::now();
    let count = |what: &str| server.log().matches(what).count();
    while count(r#""status":499"#) < 25 {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.login("nobody", "x").await.0, 401, "whoever comes after them is served");
    // Those whose hash had begun, and the one who waited.
    server.whole_log();
    assert!(count("login_failed") <= 6, "{}", server.log());
}

#[tokio::test]
async fn readers_that_do_not_read_do_not_fill_the_memory() {
    let server = Server::start(&[]);
    let page = reqwest::get(server.url("/docs")).await.unwrap().bytes().await.unwrap().len() as u64 / 1024;
    let before = server.peak_memory();
    let many = "GET /docs HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
    let readers: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(many.as_bytes()).unwrap();
            stream
        })
        .collect();
    eventually("all are answered", async || server.log().matches(r#""route":"/docs""#).count() >= 51).await;
    let grown = server.peak_memory() - before;
    assert!(grown < 10 * page, "{grown} KiB more for 50 readers of a page of {page} KiB");
    drop(readers);
}

#[tokio::test]
async fn without_files_for_connections_it_waits_and_recovers() {
    let server = Server::start(&[]);
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let may_open = |current| prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let before = may_open(Some(4)).current;
    let held = server.connect();
    let begun = std::time::Instant::now();
    while !server.log().contains("accept_failed") {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    may_open(before);
    drop(held);
    assert_eq!(server.get("/livez", "").await.0, 200);
    assert_eq!(server.login("nobody", "x").await.0, 401);
}

#[tokio::test]
async fn clients_leave_the_database_the_files_that_it_needs() {
    let server = limited("ulimit -n 96", &[]);
    let early = reqwest::Client::new();
    assert_eq!(early.get(server.url("/livez")).send().await.unwrap().status(), 200);
    let held: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    // What needs the database, one after the other on the connection that was there before.
    let logins = (0..20).map(|_| {
        let nobody = serde_json::json!({"username": "nobody", "password": "x"});
        early.post(server.url("/login")).json(&nobody).send()
    });
    for login in logins {
        assert_eq!(login.await.unwrap().status(), 401);
    }
    assert!(!server.log().contains("accept_failed"), "{}", server.log());
    drop(held);
    assert_eq!(server.get("/livez", "").await.0, 200);
}

#[tokio::test]
async fn one_address_does_not_take_the_places_of_all() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let of_a_neighbour = || reqwest::Client::builder().local_address(IpAddr::from([127, 0, 0, 2])).build().unwrap();
    for (settings, share) in [
        (&[("RATE_LIMITS", "on")][..], 8),
        // Who comes by a proxy is one of many.
        (&[("RATE_LIMITS", "on"), ("TRUSTED_PROXIES", "127.0.0.1/32")], 32),
        (&[("RATE_LIMITS", "off")], 32),
    ] {
        // 32 places, beside the files for itself.
        let server = limited("ulimit -n 96", &[settings, &[("METRICS_ADDR", &metrics)]].concat());
        let is_served = async || of_a_neighbour().get(server.url("/livez")).timeout(SHORT).send().await.is_ok();
        eventually("it serves", is_served).await;
        let mut held: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
        eventually("all are taken", async || count(&metrics, "hallpass_http_connections").await == share).await;
        if share < 32 {
            eventually("others find a place", is_served).await;
            assert_eq!(read_all(&mut held[39]), "", "who is refused is not kept waiting");
            eventually("they are told of", async || {
                count(&metrics, "hallpass_http_connections_refused_total").await == 40 - share
            })
            .await;
        } else {
            assert!(!is_served().await, "{settings:?}: there is a place left");
        }
        held.clear();
        eventually("all have left", async || count(&metrics, "hallpass_http_connections").await == 0).await;
        let told = server.whole_log().matches("connections_refused").count();
        assert_eq!(told, usize::from(share < 32), "once a minute");
    }
}

#[tokio::test]
async fn it_takes_as_many_files_as_it_may() {
    let server = limited("ulimit -Sn 64", &[]);
    let held: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    assert_eq!(server.get("/livez", "").await.0, 200);
    assert!(!server.log().contains("accept_failed"), "{}", server.log());
    drop(held);
}
