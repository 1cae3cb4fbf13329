//! What Prometheus reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::program::{PASSWORD, Server, eventually, free_port, run, text};

const DASHBOARD: &str = include_str!("../../docs/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../docs/alerts.yml");

struct Watched {
    server: Server,
    address: String,
}

impl Watched {
    fn start(settings: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let server = Server::start(&[&[("METRICS_ADDR", address.as_str()), ("LOG", "error")][..], settings].concat());
        Self { server, address }
    }

    async fn answer(&self, method: reqwest::Method, path: &str) -> reqwest::Response {
        reqwest::Client::new().request(method, format!("http://{}{path}", self.address)).send().await.unwrap()
    }

    async fn scrape(&self) -> String {
        let answer = self.answer(reqwest::Method::GET, "/metrics").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        answer.text().await.unwrap()
    }

    /// Each line without its value, and the value.
    async fn values(&self) -> BTreeMap<String, f64> {
        let scraped = self.scrape().await;
        let lines = scraped.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }
}

#[tokio::test]
async fn the_metrics_are_on_their_own_listener_and_nowhere_else() {
    let watched = Watched::start(&[]);
    assert_eq!(watched.server.get("/metrics", "").await.0, 404);
    for (method, path, status) in [
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/", 404),
        ("GET", "/livez", 404),
        ("GET", "/metrics/x", 404),
        ("POST", "/login", 404),
    ] {
        assert_eq!(watched.answer(method.parse().unwrap(), path).await.status(), status, "{method} {path}");
    }
    let without = Server::start(&[]);
    assert_eq!(without.get("/metrics", "").await.0, 404);
    let folder = tempfile::tempdir().unwrap();
    let output =
        run(folder.path(), &["serve"], &[("METRICS_ADDR", &watched.address), ("PORT", &free_port().to_string())], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("{} is in use", watched.address)), "{}", text(&output.stderr));
    assert!(!folder.path().join("hallpass.db").exists());
}

#[tokio::test]
async fn what_happens_is_counted_and_nobody_is_named() {
    let watched = Watched::start(&[("HASH_THREADS", "1"), ("REFRESH_REUSE_SECONDS", "0")]);
    let server = &watched.server;
    let user = server.register("canary").await;
    let pair = server.tokens("canary").await;
    assert_eq!(server.login("canary", "wrong").await.0, 401);
    assert_eq!(server.login("nobody-canary", PASSWORD).await.0, 401);
    for _ in 0..3 {
        assert_eq!(server.me(&pair.access).await.0, 200);
    }
    assert_eq!(server.me("canary").await.0, 401);
    for path in ["/canary", "/users/canary", "/admin/canary"] {
        assert_eq!(server.get(path, "").await.0, 404);
    }
    let id = user["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/admin/users/{id}/sessions"), &pair.access).await.0, 403);
    let purge = reqwest::Method::from_bytes(b"CANARY").unwrap();
    let answer = reqwest::Client::new().request(purge, server.url("/me")).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    server.exchange(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let renewed = server.renew(&pair.refresh).await;
    assert_eq!(server.me(&renewed.access).await.0, 200);
    assert_eq!(server.refresh_refused(&pair.refresh).await.0, 401);

    let values = watched.values().await;
    let value = |name: &str| *values.get(name).unwrap_or_else(|| panic!("{name}: {values:#?}"));
    for (name, expected) in [
        (r#"hallpass_http_requests_total{method="GET",route="/me",status="200"}"#, 4.0),
        (r#"hallpass_http_requests_total{method="GET",route="/me",status="401"}"#, 1.0),
        (r#"hallpass_http_requests_total{method="other",route="/me",status="405"}"#, 1.0),
        (r#"hallpass_http_requests_total{method="GET",route="/",status="307"}"#, 1.0),
        (r#"hallpass_http_requests_total{method="GET",route="unknown",status="404"}"#, 3.0),
        (r#"hallpass_http_requests_total{method="GET",route="/admin/users/:param0/sessions",status="403"}"#, 1.0),
        (r#"hallpass_http_requests_total{method="POST",route="/login",status="401"}"#, 2.0),
        (r#"hallpass_http_request_duration_seconds_count{method="GET",route="/me"}"#, 5.0),
        ("hallpass_http_requests_in_flight", 0.0),
        (r#"hallpass_http_refusals_total{code="overloaded"}"#, 0.0),
        (r#"hallpass_http_refusals_total{code="internal_error"}"#, 0.0),
        (r#"hallpass_logins_total{outcome="accepted"}"#, 1.0),
        (r#"hallpass_logins_total{outcome="password"}"#, 1.0),
        (r#"hallpass_logins_total{outcome="unknown"}"#, 1.0),
        (r#"hallpass_logins_total{outcome="throttled"}"#, 0.0),
        (r#"hallpass_refreshes_total{outcome="rotated"}"#, 1.0),
        (r#"hallpass_refreshes_total{outcome="reused"}"#, 1.0),
        ("hallpass_hash_seconds_count", 4.0),
        ("hallpass_hash_wait_seconds_count", 4.0),
        // And the one for what is dear.
        ("hallpass_hash_threads", 2.0),
        ("hallpass_hash_threads_busy", 0.0),
        ("hallpass_hash_queue_depth", 0.0),
        ("hallpass_database_busy_total", 0.0),
        ("hallpass_log_lines_lost", 0.0),
        (concat!(r#"hallpass_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1.0),
    ] {
        assert!((value(name) - expected).abs() < 0.5, "{name}: {} and not {expected}", value(name));
    }
    for name in [
        "hallpass_hash_seconds_sum",
        "hallpass_database_commit_seconds_count",
        "hallpass_database_pieces_sum",
        "hallpass_database_bytes",
        "hallpass_database_log_bytes",
        "hallpass_memory_tokens",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_threads",
        "process_cpu_seconds_total",
    ] {
        assert!(value(name) > 0.0, "{name}");
    }
    assert!(value("process_start_time_seconds") > 1_793_491_200.0);
    let text = watched.scrape().await;
    assert!(!text.to_lowercase().contains("canary") && !text.contains(id) && !text.contains("127.0.0.1"), "{text}");
}

#[tokio::test]
async fn what_is_under_way_and_what_is_refused_is_seen() {
    // Hashes of seconds, one at a time.
    let watched = Watched::start(&[
        ("HASH_THREADS", "1"),
        ("HASH_QUEUE", "1"),
        ("ARGON2_MEMORY_KIB", "131072"),
        ("ARGON2_ITERATIONS", "16"),
    ]);
    let body = json!({"username": "nobody", "password": "x"});
    let mut sent = Vec::new();
    let refused = r#"hallpass_http_refusals_total{code="overloaded"}"#;
    let is = async |expected: &[(&str, f64)]| {
        let values = watched.values().await;
        expected.iter().all(|(name, expected)| (values[*name] - expected).abs() < 0.5)
    };
    for expected in [
        &[("hallpass_hash_threads_busy", 1.0), ("hallpass_hash_queue_depth", 0.0)][..],
        &[("hallpass_hash_threads_busy", 1.0), ("hallpass_hash_queue_depth", 1.0)],
        &[(refused, 1.0), ("hallpass_http_requests_in_flight", 2.0)],
        &[(refused, 2.0), ("hallpass_hash_queue_depth", 1.0)],
    ] {
        let post = reqwest::Client::new().post(watched.server.url("/login")).json(&body);
        sent.push(tokio::spawn(post.send()));
        eventually("it is seen", async || is(expected).await).await;
    }
    assert!(watched.values().await["hallpass_http_connections"] > 1.5);
    // Whoever goes away is counted, too.
    sent.iter().for_each(tokio::task::JoinHandle::abort);
    let gone = r#"hallpass_http_requests_total{method="POST",route="unknown",status="499"}"#;
    eventually("two have gone", async || watched.values().await.get(gone).is_some_and(|count| *count > 1.5)).await;
}

#[tokio::test]
async fn what_is_throttled_is_counted() {
    // Nobody takes the mails: those that are asked for wait.
    let mail = [("SMTP_URL", "smtp://127.0.0.1:1"), ("MAIL_FROM", "login@example.com")];
    let watched = Watched::start(&[&[("RATE_LIMITS", "on")][..], &mail].concat());
    let server = &watched.server;
    let mut seen = BTreeMap::new();
    for (path, body, times) in [
        ("/login", json!({"username": "nobody", "password": "wrong"}), 15),
        ("/refresh", json!({"refresh_token": "guess"}), 200),
        ("/email/verify", json!({"token": "guess"}), 15),
        // Three to it, and ten from here.
        ("/password/forgot", json!({"email": "jane@example.org"}), 12),
    ] {
        for _ in 0..times {
            let post = reqwest::Client::new().post(server.url(path)).json(&body);
            *seen.entry((path, post.send().await.unwrap().status().as_u16())).or_insert(0.0) += 1.0;
        }
    }
    let of = |path, status| seen.get(&(path, status)).copied().unwrap_or_default();
    let values = watched.values().await;
    for (name, expected, least) in [
        (
            r#"hallpass_http_refusals_total{code="too_many_attempts"}"#,
            of("/login", 429) + of("/refresh", 429) + of("/email/verify", 429),
            3.0,
        ),
        (r#"hallpass_http_requests_total{method="POST",route="/login",status="429"}"#, of("/login", 429), 1.0),
        (r#"hallpass_logins_total{outcome="unknown"}"#, of("/login", 401), 10.0),
        (r#"hallpass_logins_total{outcome="throttled"}"#, of("/login", 429), 1.0),
        (r#"hallpass_refreshes_total{outcome="malformed"}"#, of("/refresh", 401), 150.0),
        (r#"hallpass_refreshes_total{outcome="throttled"}"#, of("/refresh", 429), 1.0),
        (r#"hallpass_mails_total{outcome="throttled"}"#, of("/password/forgot", 202) - 3.0, 9.0),
        (r#"hallpass_mails_total{outcome="sent"}"#, 0.0, 0.0),
    ] {
        let value = values.get(name).unwrap_or_else(|| panic!("{name}: {values:#?}"));
        assert!((value - expected).abs() < 0.5 && *value >= least, "{name}: {value} and not {expected}");
    }
}

/// The names of metrics in an expression of Prometheus.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("hallpass_") || word.starts_with("process_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_of_the_alerts_is_there() {
    let watched = Watched::start(&[]);
    watched.server.register("john").await;
    let exported: BTreeSet<String> =
        watched.values().await.keys().map(|name| name.split('{').next().unwrap().to_owned()).collect();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let shown: BTreeSet<String> = expressions.flat_map(|target| names(target["expr"].as_str().unwrap())).collect();
    let alerts = ALERTS.lines().filter(|line| line.contains("expr:") || line.trim_start().starts_with(['>', 's']));
    let watched_for: BTreeSet<String> = alerts.flat_map(names).collect();
    assert!(shown.len() > 30 && watched_for.len() > 8, "{shown:?} {watched_for:?}");
    let missing: Vec<_> = shown.union(&watched_for).filter(|name| !exported.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // And what is exported is shown.
    let series =
        |name: &String| name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count").to_owned();
    let shown: BTreeSet<String> = shown.iter().map(series).collect();
    let unseen: Vec<_> = exported.iter().filter(|name| !shown.contains(&series(name))).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
    // Each label that an alert asks for is one that there is.
    let text = watched.scrape().await;
    for label in [
        "code=\"storage_unavailable\"",
        "code=\"overloaded\"",
        "code=\"internal_error\"",
        "outcome=\"reused\"",
        "outcome=\"given_up\"",
        "outcome=\"accepted\"",
    ] {
        assert!(ALERTS.contains(label) && text.contains(label), "{label}");
    }
    assert!(dashboard["id"].is_null() && dashboard["uid"] == "hallpass");
    let is_templated = |panel: &Value| panel["type"] == "row" || panel["datasource"]["uid"] == "${datasource}";
    assert!(panels.iter().all(is_templated));
}

#[tokio::test]
#[ignore = "needs promtool; make interop runs it"]
async fn what_is_shown_is_what_prometheus_reads() {
    let watched = Watched::start(&[]);
    watched.server.register("john").await;
    watched.server.tokens("john").await;
    let mut check = Command::new("promtool");
    let check = check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = check.spawn().unwrap();
    child.stdin.take().unwrap().write_all(watched.scrape().await.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout) + &text(&output.stderr), "");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yml");
    let output = Command::new("promtool").args(["check", "rules", rules]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/alerts.yml");
    let output = Command::new("promtool").args(["test", "rules", cases]).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
