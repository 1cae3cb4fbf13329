//! One system call of the running server fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    SETTINGS,
    client::{self, Admin, Client},
    database,
    program::{PASSWORD, Server},
    rounds,
    strace::Failing,
};

const CLIENTS: usize = 3;

/// How long it is waited until the call is made. Some are never made so often.
const LONG: Duration = Duration::from_secs(20);

/// After the call has failed others follow, for so long.
const AFTER: Duration = Duration::from_millis(20);

/// After so many the server is killed, and started anew: what was acknowledged must be there then, too.
const KILL: usize = 20;

/// What fails: `{n}` is at which call of a thread.
struct Row {
    injections: &'static [&'static str],
    /// Up to which.
    most: usize,
    /// Whether what only reads goes on.
    goes_on: bool,
}

const fn writes(injections: &'static [&'static str]) -> Row {
    Row { injections, most: 500, goes_on: true }
}

const fn opens(injections: &'static [&'static str]) -> Row {
    // A connection that failed is opened anew: of its files the log alone, for SQLite has kept the other one open.
    Row { injections, most: 1, goes_on: false }
}

fn places(most: usize) -> Vec<usize> {
    match rounds(0) / 2 {
        0 => [1, 2, 7, 40].into_iter().filter(|n| *n <= most).collect(),
        long => (1..=most.min(long)).collect(),
    }
}

/// Reads on, until it is enough. How often, and how often that was refused.
async fn read(server: &Server, token: &str, enough: &AtomicBool) -> [usize; 2] {
    let (http, mut counts) = (client::http(), [0; 2]);
    while !enough.load(Ordering::Relaxed) {
        for path in ["/me", "/protected", "/.well-known/jwks.json", "/livez"] {
            let answer = http.get(server.url(path)).bearer_auth(token).send().await.unwrap();
            let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
            let is_refused = status == 503 && body["code"] == "storage_unavailable";
            assert!(status == 200 || is_refused && path != "/livez", "{path}: {status} {body}");
            counts[usize::from(is_refused)] += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    counts
}

/// Writes on: each wrong code is a transaction, and needs no hash. The clients alone would take a quarter of a minute
/// until the last of the calls.
async fn write(server: &Server, enough: &AtomicBool) {
    let (http, code) = (client::http(), json!({"email": "nobody@example.org", "code": "12345678"}));
    while !enough.load(Ordering::Relaxed) {
        let answer = http.post(server.url("/email/verify")).json(&code).send().await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        let code = body["code"].as_str().unwrap();
        assert!([(400, "invalid_code"), (503, "storage_unavailable")].contains(&(status, code)), "{status} {body}");
    }
}

/// Completes when something has failed, or nothing will.
async fn until_it_fails(failing: &Failing) -> bool {
    let begun = Instant::now();
    while failing.injected() == 0 && begun.elapsed() < LONG {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(AFTER).await;
    failing.injected() > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace; make faults runs it"]
async fn a_write_that_fails_is_503_for_who_waited_and_nothing_to_the_others() {
    for row in [
        writes(&["pwrite64:error=EIO:when={n}"]),
        writes(&["pwrite64:error=ENOSPC:when={n}"]),
        writes(&["pwrite64:error=EINTR:when={n}"]),
    ] {
        put_through(row).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace; make faults runs it"]
async fn so_is_a_sync_with_an_error_of_the_disk() {
    put_through(writes(&["fsync,fdatasync:error=EIO:when={n}"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace; make faults runs it"]
async fn so_is_a_sync_of_a_full_disk() {
    put_through(writes(&["fsync,fdatasync:error=ENOSPC:when={n}"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace; make faults runs it"]
async fn so_is_a_sync_that_is_interrupted() {
    put_through(writes(&["fsync,fdatasync:error=EINTR:when={n}"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace; make faults runs it"]
async fn so_is_a_read_and_the_opening_of_a_file() {
    for row in [
        opens(&["fsync,fdatasync:error=EIO:when=1", "openat:error=EIO:when={n}"]),
        opens(&["fsync,fdatasync:error=EIO:when=1", "openat:error=EMFILE:when={n}"]),
        opens(&["fsync,fdatasync:error=EIO:when=1", "openat:error=EINTR:when={n}"]),
        Row { injections: &["pread64:error=EIO:when={n}"], most: 3, goes_on: false },
    ] {
        put_through(row).await;
    }
}

/// Has it fail at one place after the other. What was acknowledged is there at the end, and nothing that ended.
async fn put_through(Row { injections, most, goes_on }: Row) {
    let mut server = Server::start(&SETTINGS);
    let admin = Admin::new(&server).await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::new(&server, &admin, number).await);
    }
    server.register("reader").await;
    let token = server.login("reader", PASSWORD).await.1["access_token"].as_str().unwrap().to_owned();
    let (mut failed, mut places_reached, mut reads) = (0, 0, [0; 2]);
    for (place, n) in places(most).into_iter().enumerate() {
        let injections: Vec<String> = injections.iter().map(|one| one.replace("{n}", &n.to_string())).collect();
        let enough = Arc::new(AtomicBool::new(false));
        let failing = Failing::of(server.id(), &injections);
        let watch = async {
            let has_failed = until_it_fails(&failing).await;
            enough.store(true, Ordering::Relaxed);
            has_failed
        };
        let work = join_all(clients.iter_mut().map(|client| client.work(enough.clone())));
        let (has_failed, _, [read, refused], ()) =
            tokio::join!(watch, work, read(&server, &token, &enough), write(&server, &enough));
        failed += failing.injected();
        drop(failing);
        places_reached += usize::from(has_failed);
        assert!(has_failed || n > 1, "{injections:?}: the call is not made");
        reads = [reads[0] + read, reads[1] + refused];
        assert!(server.is_running(), "{}", server.log());
        // It goes on as if nothing had been.
        client::settle(&mut clients).await;
        if (place + 1) % KILL == 0 {
            server.signal("KILL");
            server.wait();
            server.begin(&SETTINGS);
            assert_eq!(database::integrity(server.folder.path()).await, "ok");
            client::settle(&mut clients).await;
        }
    }
    let [reads, not_read] = reads;
    let counts = client::counts(&clients);
    let unanswered: u64 = counts.values().map(|count| count.unanswered).sum();
    let unavailable: u64 = clients.iter().map(|client| client.unavailable).sum();
    eprintln!(
        "{injections:?}: n = 1 to {most}, {places_reached} reached, {failed} calls failed; {unavailable} requests \
         refused; {reads} reads, {not_read} refused"
    );
    client::tell(&counts);
    assert!(!goes_on || not_read == 0, "what only reads was refused");
    assert_eq!(unanswered, unavailable, "a request without an answer");
    for client in &mut clients {
        client.check_all().await;
    }
}
