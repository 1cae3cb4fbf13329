//! What the parts cost, each by itself: `cargo bench --bench parts`. In a folder of the target directory, on its disk.
//!
//! What a whole server costs, beside others, is measured by `make load`.

#![expect(clippy::unwrap_used, reason = "a program to be run by hand")]

use std::{hint::black_box, net::Ipv4Addr, sync::Arc, time::Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use hallpass::{
    api,
    app::App,
    auth::{
        account::{self, Addition},
        limits::Limits,
        password::{Password, TypedPassword},
        refresh, session,
        token::Grant,
    },
    clock::Clock,
    config::{Config, Values},
    error::Error,
    model::{By, Client, RequestId, SessionId, Tick, Time, User},
};
use poem::{Endpoint, Request};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PASSWORD: &str = "seven green lanterns";
const CLIENT: Client =
    Client { address: std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), request: RequestId { process: 0, number: 0 } };

/// How many refresh at once.
const MANY: usize = 64;

struct Server {
    app: Arc<App>,
    user: User,
    _folder: TempDir,
}

impl Server {
    async fn start(algorithm: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let database = format!("sqlite://{}", folder.path().join("bench.db").display());
        let secret = "only for this bench: Kq3vZr8Wt1Yx6Ud0";
        let settings =
            [("SECRET_KEY", secret), ("DATABASE_URL", &database), ("ALGORITHM", algorithm), ("RATE_LIMITS", "off")];
        let settings: Values = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let app = App::build(Config::from_values(&settings).unwrap(), Clock::System).await.unwrap();
        let form = Addition { username: "john".to_owned(), password: Some(PASSWORD.to_owned()), ..Addition::default() };
        let user = account::add(&app, app.clock.now(), &By::operator(), form).await.unwrap();
        Self { app: Arc::new(app), user, _folder: folder }
    }

    async fn login(&self) -> session::Opened {
        let login = session::Login { name: "john".to_owned(), password: PASSWORD.to_owned(), user_agent: None };
        session::login(&self.app, self.app.clock.now(), CLIENT, login).await.unwrap()
    }

    /// A token of a session that need not be.
    fn token(&self) -> String {
        let now = self.app.clock.now();
        let session_id = &SessionId::from_bytes([7; 16]);
        let User { id: user_id, username, roles, .. } = &self.user;
        let session_expires_at = now.plus(1_000);
        let grant = Grant { user_id, username, roles, session_id, generation: 0, session_expires_at };
        self.app.tokens.issue(now, grant).unwrap().text
    }
}

fn hash(criterion: &mut Criterion, runtime: &Runtime) {
    let server = runtime.block_on(Server::start("HS256"));
    let cost = server.app.config.argon2;
    let mut group = criterion.benchmark_group("hash");
    group.sample_size(50);
    group.bench_function("argon2 alone, memory kept", |bencher| {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, Some(32)).unwrap();
        let mut memory = vec![Block::new(); params.block_count()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut tag = [0; 32];
        bencher.iter(|| {
            argon2.hash_password_into_with_memory(PASSWORD.as_bytes(), &[7; 16], &mut tag, &mut memory).unwrap();
            tag
        });
    });
    let password = Password::parse(PASSWORD.to_owned()).unwrap();
    let stored = runtime.block_on(server.app.hasher.hash(password)).unwrap();
    let typed = TypedPassword::read(PASSWORD.to_owned());
    group.bench_function("a password verified", |bencher| {
        bencher.to_async(runtime).iter(|| server.app.hasher.verify(typed.clone(), Some(stored.clone()), false));
    });
    group.finish();
}

fn tokens(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("token");
    for algorithm in ["HS256", "EdDSA", "ES256"] {
        let server = runtime.block_on(Server::start(algorithm));
        let tokens = &server.app.tokens;
        let now = server.app.clock.now();
        group.bench_function(format!("{algorithm} signed"), |bencher| bencher.iter(|| black_box(server.token())));
        group.bench_function(format!("{algorithm} verified for the first time"), |bencher| {
            bencher.iter_batched(
                || server.token(),
                |token| tokens.verify(now, &token).map(|_| token),
                BatchSize::SmallInput,
            );
        });
        let token = server.token();
        group.bench_function(format!("{algorithm} verified again"), |bencher| {
            bencher.iter(|| tokens.verify(now, &token).unwrap());
        });
    }
    group.finish();
}

fn guard(criterion: &mut Criterion, runtime: &Runtime) {
    let server = runtime.block_on(Server::start("HS256"));
    let app = &server.app;
    let token = runtime.block_on(server.login()).access.text;
    let mut group = criterion.benchmark_group("guard");
    group.bench_function("a bearer recognised", |bencher| {
        bencher
            .to_async(runtime)
            .iter(async || session::authenticate(app, app.clock.now(), CLIENT, &token).await.unwrap());
    });
    let routes = api::routes(app.clone()).unwrap();
    let authorization = format!("Bearer {token}");
    for path in ["/livez", "/me"] {
        group.bench_function(format!("GET {path}, without a network"), |bencher| {
            bencher.to_async(runtime).iter(async || {
                let request = Request::builder().uri_str(path).header("authorization", &authorization).finish();
                let response = routes.call(request).await.unwrap();
                assert!(response.is_success());
                response
            });
        });
    }
    group.finish();
}

fn rotate(criterion: &mut Criterion, runtime: &Runtime) {
    let server = runtime.block_on(Server::start("HS256"));
    let app = &server.app;
    let renew = async |token: &mut String| {
        let opened = refresh::refresh(app, app.clock.now(), CLIENT, token).await.unwrap();
        *token = opened.refresh_token;
    };
    let mut group = criterion.benchmark_group("rotate");
    group.sample_size(20);
    let mut token = runtime.block_on(server.login()).refresh_token;
    group.bench_function("a refresh token", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..times {
                    renew(&mut token).await;
                }
                begun.elapsed()
            })
        });
    });
    // An account has at most 50 sessions.
    let mut others = Vec::new();
    for n in 0..MANY {
        let form =
            Addition { username: format!("user{n}"), password: Some(PASSWORD.to_owned()), ..Addition::default() };
        runtime.block_on(account::add(app, app.clock.now(), &By::operator(), form)).unwrap();
        let login = session::Login { name: format!("user{n}"), password: PASSWORD.to_owned(), user_agent: None };
        others.push(runtime.block_on(session::login(app, app.clock.now(), CLIENT, login)).unwrap().refresh_token);
    }
    group.bench_function(format!("{MANY} refresh tokens at once"), |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..times {
                    join_all(others.iter_mut().map(&renew)).await;
                }
                begun.elapsed()
            })
        });
    });
    group.finish();
}

fn limits(criterion: &mut Criterion, runtime: &Runtime) {
    let server = runtime.block_on(Server::start("HS256"));
    let limits = Limits::new(true, Tick::from_millis(0)).unwrap();
    let (now, mut moment, mut n) = (Time::from_unix(1), 0, 0_u32);
    let mut next = || {
        (n, moment) = (n.wrapping_add(1), moment + 1_000);
        (Tick::from_millis(moment), Client { address: n.to_be_bytes().into(), ..CLIENT })
    };
    let mut group = criterion.benchmark_group("limits");
    group.bench_function("a login that is refused", |bencher| {
        let names: Vec<String> = (0..1_000_000).map(|n| format!("user{n}")).collect();
        let mut names = names.iter().cycle();
        bencher.iter(|| {
            let (tick, client) = next();
            let attempt = limits.login(tick, now, client, names.next().unwrap());
            attempt.map(|attempt| attempt.failed(&Error::InvalidCredentials))
        });
    });
    group.bench_function("a login that succeeds", |bencher| {
        bencher.iter(|| {
            let (tick, client) = next();
            let mut attempt = limits.login(tick, now, client, "john").unwrap();
            assert!(attempt.identify("john", Some(&server.user.id)));
            attempt.succeeded(&server.user);
        });
    });
    group.bench_function("a login that is throttled", |bencher| {
        let client = Client { address: Ipv4Addr::new(192, 0, 2, 1).into(), ..CLIENT };
        let (tick, _) = next();
        bencher.iter(|| limits.login(tick, now, client, "jane").is_ok());
    });
    group.bench_function("a refresh", |bencher| {
        bencher.iter(|| {
            let (tick, client) = next();
            limits.refresh(tick, client).is_ok()
        });
    });
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    hash(criterion, &runtime);
    tokens(criterion, &runtime);
    guard(criterion, &runtime);
    rotate(criterion, &runtime);
    limits(criterion, &runtime);
}

criterion_group!(benches, parts);
criterion_main!(benches);
