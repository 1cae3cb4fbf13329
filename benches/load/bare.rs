//! What Hallpass is measured against, with nothing around it: `bare MODE …`, run by run.py beside it.
//!
//! `hyper ADDRESS` and `poem ADDRESS` serve a small JSON object; `argon2 SECONDS` hashes and `commits FILE SECONDS`
//! commits over and over, and both print how often and in which time, in seconds.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program to be run by hand")]
#![allow(clippy::unused_async, reason = "poem-openapi takes no other operations")]

use std::{
    convert::Infallible,
    env,
    future::pending,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hallpass::api::serve::{Places, serve};
use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use poem::{EndpointExt, IntoEndpoint};
use poem_openapi::{Object, OpenApi, OpenApiService, payload::Json};
use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["hyper", address] => runtime().block_on(hyper(address)),
        ["poem", address] => runtime().block_on(poem(address)),
        ["argon2", seconds] => hash(time(seconds)),
        ["commits", file, seconds] => runtime().block_on(commit(file, time(seconds))),
        _ => println!("bare hyper ADDRESS | poem ADDRESS | argon2 SECONDS | commits FILE SECONDS"),
    }
}

fn time(seconds: &str) -> Duration {
    Duration::from_secs_f64(seconds.parse().unwrap())
}

/// Those that it may run on.
fn cores() -> usize {
    thread::available_parallelism().unwrap().get()
}

/// One thread on one core, as a process that has one core would be built.
fn runtime() -> Runtime {
    if cores() == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() }.enable_all().build().unwrap()
}

async fn hyper(address: &str) {
    let listener = TcpListener::bind(address).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let service = service_fn(|_| async {
            let body = Full::new(Bytes::from_static(br#"{"status":"ok"}"#));
            Ok::<_, Infallible>(Response::builder().header("content-type", "application/json").body(body).unwrap())
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// The least that poem-openapi serves.
struct Bare;

#[derive(Object)]
struct Status {
    status: String,
}

#[OpenApi]
impl Bare {
    #[oai(path = "/", method = "get")]
    async fn status(&self) -> Json<Status> {
        Json(Status { status: "ok".to_owned() })
    }
}

/// Behind the same accept loop as Hallpass.
async fn poem(address: &str) {
    let listener = TcpListener::bind(address).await.unwrap();
    let routes = OpenApiService::new(Bare, "Bare", "1").into_endpoint().map_to_response();
    serve(listener, routes, pending(), Places::new()).await;
}

/// Hashes at the default cost, on each core.
fn hash(length: Duration) {
    let start = Arc::new(Barrier::new(cores()));
    let thread = |_| {
        let start = start.clone();
        thread::spawn(move || hash_on_one(&start, length))
    };
    let threads: Vec<_> = (0..cores()).map(thread).collect();
    let done: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let count: u32 = done.iter().map(|(count, _)| count).sum();
    let longest = done.iter().map(|(_, elapsed)| *elapsed).max().unwrap();
    println!("{count} {}", longest.as_secs_f64());
}

/// In memory that is kept.
fn hash_on_one(start: &Barrier, length: Duration) -> (u32, Duration) {
    let params = Params::new(19_456, 2, 1, Some(32)).unwrap();
    let mut memory = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut once = || {
        let mut tag = [0; 32];
        argon2.hash_password_into_with_memory(b"seven green lanterns", &[7; 16], &mut tag, &mut memory).unwrap();
    };
    once();
    start.wait();
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < length {
        once();
        count += 1;
    }
    (count, begun.elapsed())
}

/// One row a transaction, one transaction after the other, each synced: what a transaction a request could reach.
async fn commit(file: &str, length: Duration) {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("CREATE TABLE IF NOT EXISTS things (id TEXT PRIMARY KEY NOT NULL, generation INTEGER NOT NULL) STRICT")
        .execute(&mut conn)
        .await
        .unwrap();
    let ids: Vec<String> = (0..64).map(|n| format!("00000000-0000-7000-8000-{n:012}")).collect();
    for id in &ids {
        sqlx::query("INSERT OR IGNORE INTO things VALUES ($1, 0)").bind(id).execute(&mut conn).await.unwrap();
    }
    let (begun, mut count) = (Instant::now(), 0_u32);
    for id in ids.iter().cycle() {
        if begun.elapsed() >= length {
            break;
        }
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let changed = sqlx::query("UPDATE things SET generation = generation + 1 WHERE id = $1").bind(id);
        assert_eq!(changed.execute(&mut *tx).await.unwrap().rows_affected(), 1, "a row was lost");
        tx.commit().await.unwrap();
        count += 1;
    }
    println!("{count} {}", begun.elapsed().as_secs_f64());
    conn.close().await.unwrap();
}
