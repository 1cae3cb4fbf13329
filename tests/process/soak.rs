//! A mixed load for long, and what the process has grown by.
//!
//! `HALLPASS_MINUTES` says how long (half a minute unless set); `make soak` takes two hours.

use std::{
    env, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::program::{PASSWORD, Server, free_port};

/// People, each of whom does one thing after another.
const PEOPLE: usize = 40;

/// What the clients count.
#[derive(Default)]
struct Counts {
    answers: [AtomicU64; 6],
    is_over: AtomicBool,
}

impl Counts {
    fn of(&self, class: usize) -> u64 {
        self.answers[class].load(Ordering::Relaxed)
    }
}

/// One of them, at an address of its own.
struct Person {
    client: Client,
    counts: Arc<Counts>,
    base: String,
    name: String,
    address: String,
}

impl Person {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header("X-Forwarded-For", &self.address)
    }

    /// Status and body, null if it is none of JSON.
    async fn send(&self, request: RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        self.counts.answers[usize::from(status / 100)].fetch_add(1, Ordering::Relaxed);
        (status, answer.json().await.unwrap_or_default())
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> (u16, Value) {
        self.send(self.request(Method::POST, path).bearer_auth(token).json(&body)).await
    }

    async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.send(self.request(Method::GET, path).bearer_auth(token)).await
    }

    /// What a person does with a session: enters, looks, comes back, errs, leaves.
    async fn visit(&self, round: u64) {
        let text = |tokens: &Value, name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
        let (status, tokens) = self.post("/login", "", json!({"username": self.name, "password": PASSWORD})).await;
        assert_eq!(status, 200, "{tokens}");
        let used = text(&tokens, "refresh_token");
        let (mut access, mut refresh) = (text(&tokens, "access_token"), used.clone());
        for _ in 0..3 {
            for path in ["/me", "/protected", "/sessions", "/openapi.json", "/.well-known/revocations"] {
                self.get(path, &access).await;
            }
            let (status, tokens) = self.post("/refresh", "", json!({"refresh_token": refresh})).await;
            assert_eq!(status, 200, "{tokens}");
            (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
            sleep(Duration::from_millis(20)).await;
        }
        match round % 8 {
            // Ended by its own hand: the used token comes back.
            0 => drop(self.post("/refresh", "", json!({"refresh_token": used})).await),
            1 => drop(self.post("/login", "", json!({"username": self.name, "password": "not the one"})).await),
            2 => drop(self.post("/password/forgot", "", json!({"email": format!("{}@example.com", self.name)})).await),
            3 => drop(self.send(self.request(Method::GET, "/me").bearer_auth(&access[1..])).await),
            4 => {
                let passwords = json!({"current_password": PASSWORD, "new_password": PASSWORD});
                self.post("/password/change", &access, passwords).await;
            }
            5 => drop(self.send(self.request(Method::POST, "/login").body("x".repeat(20_000))).await),
            _ => drop(self.send(self.request(Method::DELETE, "/sessions?except=current").bearer_auth(&access)).await),
        }
        self.post("/logout", &access, json!({})).await;
    }
}

/// Has each connection to the database read as much as it keeps: as long as the database is smaller than SQLite's caches,
/// they grow with it.
async fn fill(server: &Server) {
    let hash = "$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let line = |number: u32| json!({"username": format!("nobody{number}"), "password_hash": hash}).to_string();
    let lines: Vec<_> = (0..20_000).map(line).collect();
    assert!(server.run(&["user", "import", "-"], &lines.join("\n")).status.success());
    assert!(server.run(&["user", "add", "root-admin", "--role", "admin"], PASSWORD).status.success());
    let (status, tokens) = server.login("root-admin", PASSWORD).await;
    assert_eq!(status, 200, "{tokens}");
    let token = tokens["access_token"].as_str().unwrap();
    let look = async || {
        let mut next = String::new();
        loop {
            let (status, page) = server.get(&format!("/admin/users?limit=100{next}"), token).await;
            assert_eq!(status, 200, "{page}");
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("&cursor={cursor}");
        }
    };
    // More than there are connections, so that all are in use at once.
    join_all((0..40).map(|_| look())).await;
}

struct Sample {
    at: Duration,
    /// In MiB.
    memory: f64,
    /// In KiB.
    log: u32,
    files: u32,
}

/// How many files it has open beside its clients' connections, which come and go. It tells so itself: nobody else may
/// look (`it_leaves_no_core`).
async fn open_files(metrics: &str) -> u32 {
    let page = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await.unwrap();
    let count = |name| -> u32 { page.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap() };
    count("process_open_fds ").saturating_sub(count("hallpass_http_connections "))
}

async fn sample(server: &Server, metrics: &str, begun: Instant) -> Sample {
    let log = fs::metadata(server.folder.path().join("hallpass.db-wal")).map_or(0, |log| log.len());
    let log = u32::try_from(log / 1024).unwrap();
    Sample {
        at: begun.elapsed(),
        memory: f64::from(server.memory_in_use()) / 1024.0,
        log,
        files: open_files(metrics).await,
    }
}

/// MiB an hour, by least squares.
fn slope(samples: &[Sample]) -> f64 {
    let count = f64::from(u32::try_from(samples.len()).unwrap());
    let hours = |sample: &Sample| sample.at.as_secs_f64() / 3_600.0;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (hour, memory) = (mean(&hours), mean(&|sample| sample.memory));
    let above: f64 = samples.iter().map(|sample| (hours(sample) - hour) * (sample.memory - memory)).sum();
    let below: f64 = samples.iter().map(|sample| (hours(sample) - hour).powi(2)).sum();
    above / below
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute; make interop runs it, make soak takes two hours"]
async fn what_goes_on_for_long_does_not_grow() {
    let minutes: f64 = env::var("HALLPASS_MINUTES").map_or(0.5, |minutes| minutes.parse().unwrap());
    let length = Duration::from_secs_f64(60.0 * minutes);
    // Until then caches fill, SQLite's and the allocator's, and the first sessions of each person end.
    let (early, warm) = (length / 12, length / 2);
    let cheap = [("ARGON2_MEMORY_KIB", "7168"), ("ARGON2_ITERATIONS", "5")];
    // All of them may come at once. What is remembered of tokens goes when they expire, which is soon.
    let limits = [
        ("HASH_QUEUE", "100"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "5"),
        ("RATE_LIMITS", "on"),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
        ("REFRESH_REUSE_SECONDS", "1"),
    ];
    let metrics = format!("127.0.0.1:{}", free_port());
    let server = Server::start(&[&cheap[..], &limits, &[("LOG", "error"), ("METRICS_ADDR", &metrics)]].concat());
    fill(&server).await;
    let counts = Arc::new(Counts::default());
    let mut people = JoinSet::new();
    for number in 0..PEOPLE {
        let name = format!("person{number}");
        let person = Person {
            // As docs/OPERATIONS.md asks of proxies: what waits for longer, the server may close at any moment.
            client: Client::builder().pool_idle_timeout(Duration::from_secs(5)).build().unwrap(),
            counts: counts.clone(),
            base: server.url(""),
            address: format!("198.51.100.{number}"),
            name,
        };
        let account = json!({"username": person.name, "password": PASSWORD});
        assert_eq!(person.post("/register", "", account).await.0, 201);
        people.spawn(async move {
            let mut round = u64::try_from(number).unwrap();
            while !person.counts.is_over.load(Ordering::Relaxed) {
                person.visit(round).await;
                round += 1;
                // Ten logins and changes of a password a minute are allowed.
                sleep(Duration::from_secs(8)).await;
            }
        });
    }

    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < length {
        sleep((length / 400).max(Duration::from_millis(250))).await;
        let now = sample(&server, &metrics, begun).await;
        assert!(now.log < 64 << 10, "the log has {} KiB", now.log);
        if now.at > early {
            samples.push(now);
        }
    }
    counts.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = people.join_next().await {
        ended.unwrap();
    }
    let of = |class| counts.of(class);
    assert_eq!(of(5), 0, "answers of 5xx");
    assert!(of(2) > 100 && of(4) > 0, "{} of 2xx, {} of 4xx", of(2), of(4));
    let files = samples.iter().map(|sample| sample.files);
    let (fewest, most) = (files.clone().min().unwrap(), files.max().unwrap());
    // A connection may come or go between the two counts.
    assert!(most <= fewest + 10, "from {fewest} to {most} files");
    let [soon, grown] = [early, warm].map(|from| {
        let late = samples.partition_point(|sample| sample.at < from);
        slope(&samples[late..])
    });
    println!(
        "{minutes} min: {} of 2xx, {} of 4xx, {} of 5xx; files {fewest} to {most}; log at most {} KiB; memory {:.1} \
         MiB at the end, {soon:+.2} MiB an hour after {early:?}, {grown:+.2} after {warm:?}",
        of(2),
        of(4),
        of(5),
        samples.iter().map(|sample| sample.log).max().unwrap_or(0),
        samples.last().unwrap().memory,
    );
    // A slope needs its time: in a short run, one page is more.
    assert!(minutes < 120.0 || grown < 1.0, "{grown:.2} MiB an hour");
}
