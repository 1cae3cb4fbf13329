//! What the server costs: logins against the argon2 that is in them, and small requests against the bare
//! framework. `cargo bench --bench throughput`; docs/PERFORMANCE.md says how to read it.
//!
//! One core serves, another makes the load. What is compared runs in turns, so that what else the machine does
//! falls on both; the ratios are the result, the rates belong to the machine.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program to be run by hand")]
#![allow(clippy::unused_async, reason = "poem-openapi takes no other operations")]

use std::{
    fs::{self, File},
    future::pending,
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use core_affinity::CoreId;
use hallpass::{
    api,
    app::App,
    clock::Clock,
    config::{Config, Values},
    model::Cost,
};
use poem::{EndpointExt, Route};
use poem_openapi::{Object, OpenApi, OpenApiService, payload::Json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tracing_subscriber::{filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

const LOGIN_ROUNDS: usize = 7;
const LOGIN_ROUND: Duration = Duration::from_secs(4);
/// Enough to keep the hash thread busy, and fewer than its queue takes.
const LOGIN_CONNECTIONS: usize = 8;
const REQUEST_ROUNDS: usize = 15;
const REQUEST_ROUND: Duration = Duration::from_secs(1);
const REQUEST_CONNECTIONS: usize = 16;
const ACCOUNT: &str = r#"{"username":"johndoe","password":"seven green lanterns"}"#;

fn main() {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (serving, loading) = (cores.first().copied(), cores.get(1).or(cores.first()).copied());
    if cores.len() < 2 {
        println!("One core: the load takes its time from what it measures. These figures compare with no others.");
    }
    // On a disk if the sources are: a login waits for its commit to be on it.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = config(folder.path());
    let cost = config.argon2;
    let (hallpass, bare) = start(serving, config);
    pin(loading);
    let client = runtime();

    client.block_on(once(hallpass, &post("/register", ACCOUNT)));

    let load = |address, request: String, connections, length| {
        let (client, request) = (&client, Arc::new(request));
        move || client.block_on(load(address, &request, connections, length))
    };
    let login = load(hallpass, post("/login", ACCOUNT), LOGIN_CONNECTIONS, LOGIN_ROUND);

    let Cost { memory_kib, iterations, parallelism } = cost;
    println!("\nLogins, one hash thread, argon2id m={memory_kib} t={iterations} p={parallelism}");
    compare(LOGIN_ROUNDS, &[("argon2 alone", &|| hash(serving, cost)), ("POST /login", &login)]);

    // Now: an account has at most 50 sessions, and the oldest ends.
    let answer = client.block_on(once(hallpass, &post("/login", ACCOUNT)));
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let token = format!("Authorization: Bearer {}\r\n", body.get("access_token").unwrap().as_str().unwrap());
    let get = |address, request| load(address, request, REQUEST_CONNECTIONS, REQUEST_ROUND);
    let requests: Subjects = &[
        ("bare poem-openapi route", &get(bare, request("GET", "/", "", ""))),
        ("GET /livez", &get(hallpass, request("GET", "/livez", "", ""))),
        ("GET /protected", &get(hallpass, request("GET", "/protected", &token, ""))),
    ];

    println!("\nRequests, not logged");
    compare(REQUEST_ROUNDS, requests);
    log();
    println!("\nRequests, each logged as a line of JSON to the null device");
    compare(REQUEST_ROUNDS, requests);
}

/// What a round found.
struct Round {
    per_second: f64,
    /// What one took of the server's core, in microseconds: other programs disturb it less than the rate.
    cpu: f64,
    /// The part of the round that the load kept its own core busy. Near 1, it is the load that was measured.
    load: f64,
}

impl Round {
    /// Of seconds, of the processor and of the clock.
    fn new(count: u32, elapsed: f64, server: f64, load: f64) -> Self {
        let count = f64::from(count);
        Self { per_second: count / elapsed, cpu: 1e6 * server / count, load: load / elapsed }
    }
}

type Subjects<'a> = &'a [(&'a str, &'a dyn Fn() -> Round)];

/// Runs the subjects in turns, and prints their rates, and their ratios to the first of the same turn.
fn compare(rounds: usize, subjects: Subjects) {
    let turns: Vec<Vec<Round>> = (0..rounds).map(|_| subjects.iter().map(|(_, measure)| measure()).collect()).collect();
    println!("{:<24}{:^27}{:^24}{:>9}{:^24}{:>7}", "", "per second", "ratio", "CPU µs", "ratio by CPU", "load");
    println!("{:<24}{1:>9}{2:>9}{3:>9}{1:>8}{2:>8}{3:>8}{2:>9}{1:>8}{2:>8}{3:>8}", "", "min", "median", "max");
    for (place, (name, _)) in subjects.iter().enumerate() {
        let rounds = || turns.iter().filter_map(|turn| Some((turn.first()?, turn.get(place)?)));
        let rates = spread(rounds().map(|(_, round)| round.per_second));
        let ratios = spread(rounds().map(|(first, round)| round.per_second / first.per_second));
        let by_cpu = spread(rounds().map(|(first, round)| first.cpu / round.cpu));
        let [_, cpu, _] = spread(rounds().map(|(_, round)| round.cpu));
        let [_, load, _] = spread(rounds().map(|(_, round)| 100.0 * round.load));
        let [ratios, by_cpu] = [ratios, by_cpu].map(|ratios| ratios.map(|ratio| format!("{ratio:8.3}")).concat());
        let rates = rates.map(|rate| format!("{rate:9.1}")).concat();
        println!("{name:<24}{rates}{ratios}{cpu:>9.1}{by_cpu}{load:>5.0} %");
    }
}

/// Least, median, greatest.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values.first(), values.get(values.len() / 2), values.last()].map(|value| *value.unwrap())
}

/// The default settings, with one hash thread.
fn config(folder: &Path) -> Config {
    let database = format!("sqlite://{}", folder.join("bench.db").display());
    let secret = "only for this bench: Kq3vZr8Wt1Yx6Ud0";
    let settings = [("SECRET_KEY", secret), ("DATABASE_URL", &database), ("HASH_THREADS", "1")];
    let settings: Values = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Config::from_values(&settings).unwrap()
}

/// The least that poem-openapi serves: the same answer as `GET /protected`, and nothing around it.
struct Bare;

#[derive(Object)]
struct Greeting {
    message: String,
}

#[OpenApi]
impl Bare {
    #[oai(path = "/", method = "get")]
    async fn greet(&self) -> Json<Greeting> {
        Json(Greeting { message: "Hello johndoe, you are authorized!".to_owned() })
    }
}

/// Serves Hallpass and the bare route from one thread, and says where.
fn start(core: Option<CoreId>, config: Config) -> (SocketAddr, SocketAddr) {
    let (told, addresses) = mpsc::channel();
    thread::spawn(move || {
        // Before anything else: sqlx runs SQLite on threads of its own, the hasher has its thread, and each
        // inherits the core of the thread that starts it.
        pin(core);
        runtime().block_on(async {
            let app = Arc::new(App::build(config, Clock::System).await.unwrap());
            let bare = Route::new().nest("/", OpenApiService::new(Bare, "Bare", "1")).map_to_response();
            let (one, two) = (listen().await, listen().await);
            told.send((one.local_addr().unwrap(), two.local_addr().unwrap())).unwrap();
            let hallpass = api::serve::serve(one, api::routes(app).unwrap(), pending());
            tokio::join!(hallpass, api::serve::serve(two, bare, pending()));
        });
    });
    addresses.recv().unwrap()
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn pin(core: Option<CoreId>) {
    if !core.is_some_and(core_affinity::set_for_current) {
        println!("A thread could not be pinned to its core.");
    }
}

/// Logs as a server does whose log is not a terminal, to where it costs a system call and no more.
fn log() {
    let null = Arc::new(File::options().write(true).open("/dev/null").unwrap());
    let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
    tracing_subscriber::registry().with(LevelFilter::INFO).with(layer.with_writer(null)).init();
}

/// Hashes over and over, on the core of the server, with memory that is kept.
fn hash(core: Option<CoreId>, cost: Cost) -> Round {
    let work = move || {
        pin(core);
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, Some(32)).unwrap();
        let mut memory = vec![Block::new(); params.block_count()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut tag = [0; 32];
        let mut once =
            || argon2.hash_password_into_with_memory(b"seven green lanterns", &[7; 16], &mut tag, &mut memory);
        once().unwrap();
        let (begun, before, mut count) = (Instant::now(), busy().1, 0_u32);
        while begun.elapsed() < LOGIN_ROUND {
            once().unwrap();
            count += 1;
        }
        Round::new(count, begun.elapsed().as_secs_f64(), busy().1 - before, 0.0)
    };
    thread::spawn(work).join().unwrap()
}

/// Sends the request over and over on so many connections, and waits for the last answer of each.
async fn load(address: SocketAddr, request: &Arc<String>, connections: usize, length: Duration) -> Round {
    let (begun, (all, own)) = (Instant::now(), busy());
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let request = request.clone();
        tasks.spawn(async move {
            let (mut connection, mut answer) = (TcpStream::connect(address).await.unwrap(), Vec::new());
            let mut count = 0_u32;
            while begun.elapsed() < length {
                ask(&mut connection, &request, &mut answer).await;
                count += 1;
            }
            count
        });
    }
    let count: u32 = tasks.join_all().await.iter().sum();
    let (all, own) = (busy().0 - all, busy().1 - own);
    Round::new(count, begun.elapsed().as_secs_f64(), all - own, own)
}

/// How long all threads have run, and this one, in seconds; no number where the system (not Linux) does not tell.
fn busy() -> (f64, f64) {
    let seconds = |folder: &Path| {
        let text = fs::read_to_string(folder.join("schedstat")).ok()?;
        Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
    };
    let own = seconds(Path::new("/proc/thread-self"));
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let all = threads.map(|thread| seconds(&thread.path())).sum::<Option<f64>>();
    (all.filter(|_| own.is_some()).unwrap_or(f64::NAN), own.unwrap_or(f64::NAN))
}

async fn once(address: SocketAddr, request: &str) -> String {
    let mut answer = Vec::new();
    ask(&mut TcpStream::connect(address).await.unwrap(), request, &mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn ask(connection: &mut TcpStream, request: &str, answer: &mut Vec<u8>) {
    connection.write_all(request.as_bytes()).await.unwrap();
    answer.clear();
    while !is_whole(answer) {
        assert!(connection.read_buf(answer).await.unwrap() > 0, "the server closed the connection");
    }
    assert!(answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(answer));
}

/// As little of HTTP as it takes: hyper writes names in lower case, and these answers have a length.
fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = str::from_utf8(answer).unwrap().split_once("\r\n\r\n") else { return false };
    let (_, length) = head.split_once("content-length: ").unwrap();
    length.lines().next().unwrap().parse() == Ok(body.len())
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

fn post(path: &str, body: &str) -> String {
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    request("POST", path, &headers, body)
}
