//! A thousand clients that are slow on purpose.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::TcpSocket,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::program::{PASSWORD, Server, count, eventually, free_port};

const CLIENTS: u64 = 1_000;

/// Who is slow is gone after so long.
const GONE: Duration = Duration::from_secs(30);

/// How long it is measured what others notice.
const MEASURED: Duration = Duration::from_secs(8);

/// How a client is slow.
#[derive(Clone, Copy)]
enum Slow {
    /// Its head comes a byte a second.
    Head,
    /// Its body does.
    Body,
    /// It asks for much, and takes nothing of it.
    Reader,
}

impl Slow {
    /// The clients are not in step: each begins a millisecond after the one before.
    async fn call(self, port: u16, number: u64) {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that what is not taken soon waits in the server.
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
        let begin = match self {
            Self::Head => "GET /livez HTTP/1.1\r\nHost: x\r\nX: ".to_owned(),
            Self::Body => {
                "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
                    .to_owned()
            }
            Self::Reader => "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50),
        };
        // Whoever is refused meanwhile has reached what it wanted.
        let _ = timeout(GONE, stream.write_all(begin.as_bytes())).await;
        sleep(Duration::from_millis(number)).await;
        match self {
            Self::Head | Self::Body => {
                while stream.write_all(b" ").await.is_ok() {
                    sleep(Duration::from_secs(1)).await;
                }
            }
            // Held for longer than anybody looks.
            Self::Reader => sleep(3 * GONE).await,
        }
    }
}

/// This process has both ends of some connections.
fn may_open_all() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(most > 4 * CLIENTS, "ulimit -Hn is {most}");
    setrlimit(Resource::Nofile, Rlimit { current: Some(4 * CLIENTS), maximum: limit.maximum }).unwrap();
}

/// All of them, at once. They hang up when this is dropped.
fn crowd(port: u16) -> JoinSet<()> {
    (0..CLIENTS)
        .map(|number| {
            let slow = match number % 3 {
                0 => Slow::Head,
                1 => Slow::Body,
                _ => Slow::Reader,
            };
            async move { slow.call(port, number).await }
        })
        .collect()
}

/// Takes connections, and does nothing with them.
struct Sink {
    port: u16,
    taken: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Sink {
    fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(4_096).unwrap();
        let (port, taken) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let count = taken.clone();
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                held.push(listener.accept().await.unwrap());
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { port, taken, task }
    }
}

/// How many connections the server has open.
async fn open(metrics: &str) -> u64 {
    count(metrics, "hallpass_http_connections").await
}

/// What requests of somebody else took, from another address.
struct Took(Vec<Duration>);

impl Took {
    async fn measure(server: &Server, token: &str, length: Duration) -> Self {
        let elsewhere = IpAddr::from([127, 0, 0, 2]);
        let client = reqwest::Client::builder().timeout(GONE / 2).local_address(elsewhere).build().unwrap();
        let begun = Instant::now();
        let mut took = Vec::new();
        while begun.elapsed() < length {
            for path in ["/livez", "/me"] {
                let sent = Instant::now();
                let answer = client.get(server.url(path)).bearer_auth(token).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{path}");
                answer.bytes().await.unwrap();
                took.push(sent.elapsed());
            }
            sleep(Duration::from_millis(1)).await;
        }
        took.sort_unstable();
        Self(took)
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let at = |share: usize| self.0[(self.0.len() - 1) * share / 1_000];
        write!(f, "p50 {:?}, p99 {:?}, p99.9 {:?} of {}", at(500), at(990), at(999), self.0.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; make interop runs it"]
async fn a_thousand_slow_clients_are_gone_in_time_and_hold_nobody_up() {
    may_open_all();
    let metrics = format!("127.0.0.1:{}", free_port());
    // A thousand are fewer than one address may have.
    let mut server = Server::start(&[("METRICS_ADDR", &metrics), ("LOG", "error"), ("RATE_LIMITS", "on")]);
    server.register("johndoe").await;
    let (_, tokens) = server.login("johndoe", PASSWORD).await;
    let token = Value::as_str(&tokens["access_token"]).unwrap().to_owned();
    println!("alone: {}", Took::measure(&server, &token, MEASURED).await);
    // What a thousand clients cost the machine, the server they plague aside.
    let sink = Sink::start();
    let elsewhere = crowd(sink.port);
    eventually("all are there", async || sink.taken.load(Ordering::Relaxed) == CLIENTS).await;
    println!("beside them, who plague another: {}", Took::measure(&server, &token, MEASURED).await);
    drop(elsewhere);
    sink.task.abort();

    let before = server.peak_memory();
    let slow = crowd(server.port);
    eventually("all are there", async || open(&metrics).await >= CLIENTS).await;
    let begun = Instant::now();
    println!("beside them: {}", Took::measure(&server, &token, MEASURED).await);
    // Bounds that the server promises, not measurements; one connection is that of the requests above.
    while open(&metrics).await > 1 {
        assert!(begun.elapsed() < GONE, "{} are open", open(&metrics).await);
        sleep(Duration::from_millis(100)).await;
    }
    println!("all closed after {:?}", begun.elapsed());
    drop(slow);
    assert!(server.peak_memory() < before + 64 * 1024, "{before} KiB before, {} at the peak", server.peak_memory());

    let slow = crowd(server.port);
    eventually("all are there again", async || open(&metrics).await >= CLIENTS).await;
    let begun = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
    println!("stopped after {:?}", begun.elapsed());
    drop(slow);
}
