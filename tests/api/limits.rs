//! How often something may be tried: the rows LG-04 to LG-13 of the requirements, and the numbers of OPERATIONS.

use std::{net::IpAddr, sync::Arc};

use futures_util::future::join_all;
use hallpass::{
    auth::limits::{self, Limits},
    error::Error,
    model::{Client, MailKind, RequestId, Tick, Time},
};
use poem::{Request, http::Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::app::{Answer, PASSWORD, START, TestApp};

const ON: &[(&str, &str)] = &[("RATE_LIMITS", "on"), ("TRUSTED_PROXIES", "127.0.0.1"), ("HASH_QUEUE", "200")];

const DAY: i64 = 24 * 60 * 60;

type May<'a> = Box<dyn Fn() -> bool + 'a>;

/// One of 65,536 addresses.
fn address(n: u16) -> String {
    format!("198.18.{}.{}", n >> 8, n & 255)
}

fn client(address: &str) -> Client {
    Client { address: address.parse().unwrap(), request: RequestId { process: 0, number: 0 } }
}

impl TestApp {
    async fn post_from(&self, address: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri_str(path).header("x-forwarded-for", address);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.content_type("application/json").body(body.to_string())).await
    }

    async fn login_from(&self, address: &str, username: &str, password: &str) -> Answer {
        self.post_from(address, "/login", None, &json!({"username": username, "password": password})).await
    }

    /// Guesses from ever other addresses until it is throttled; answers how often that was, and for how long it is.
    async fn attack(&self, username: &str, from: u16) -> (u16, i64) {
        for n in 0..100 {
            let answer = self.login_from(&address(from + n), username, "wrong").await;
            if answer.status != 401 {
                return (n, answer.throttled());
            }
        }
        panic!("never throttled");
    }
}

impl Answer {
    /// Asserts a 429, and answers after how many seconds to try again.
    #[track_caller]
    fn throttled(&self) -> i64 {
        self.refuses(429, "too_many_attempts", "Too many attempts; try again later");
        let seconds = self.header("retry-after").parse().unwrap();
        assert!(seconds >= 1);
        seconds
    }
}

/// An app with accounts that are found by a name and by an address, of which one is disabled and one has no password.
async fn peopled() -> TestApp {
    let app = TestApp::with(ON).await;
    for name in ["john", "mallory", "keyless"] {
        let form = json!({"username": name, "password": PASSWORD, "email": format!("{name}@example.org")});
        assert_eq!(app.post("/register", &form).await.status, 201);
    }
    app.sql(
        "UPDATE users SET email = claimed_email, email_key = claimed_email_key, email_verified_at = 1,
                          claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL",
    )
    .await;
    app.sql("UPDATE users SET disabled_at = 1 WHERE username = 'mallory'").await;
    app.sql("UPDATE users SET password_hash = NULL WHERE username = 'keyless'").await;
    app
}

#[tokio::test]
async fn names_that_exist_are_throttled_as_those_that_do_not() {
    let app = peopled().await;
    let mut sequences = Vec::new();
    for (n, name) in
        ["john", "nobody", "mallory", "keyless", "mallory@example.org", "nobody@example.org", "not a name", ""]
            .into_iter()
            .enumerate()
    {
        let mut sequence = Vec::new();
        for (step, sleep) in [0; 12].into_iter().chain([29, 1, 1, 58, 1, 119, 1, 600, 3_600, 0, 0, 0, 0, 0]).enumerate()
        {
            app.sleep(sleep);
            let from = address(u16::try_from(n * 100 + step).unwrap());
            let answer = app.login_from(&from, name, "wrong").await;
            sequence.push((answer.status, answer.header("retry-after").to_owned(), answer.body_without_id()));
        }
        assert_eq!(sequence[..11].iter().filter(|(status, ..)| *status == 401).count(), 10);
        sequences.push((name, sequence));
        // Nobody is to profit from a collision of the accounts.
        app.sleep(DAY);
    }
    for (name, sequence) in &sequences {
        assert_eq!(*sequence, sequences[0].1, "{name}");
    }
}

#[tokio::test]
async fn guesses_from_a_hundred_addresses_are_one_accounts() {
    let app = peopled().await;
    let mut looked_at = 0;
    for n in 0..100 {
        let answer = app.login_from(&address(n), "john", "wrong").await;
        if answer.status == 401 {
            looked_at += 1;
        } else {
            assert_eq!(answer.throttled(), 30);
            // The right password is not told from a wrong one.
            let right = app.login_from(&address(n), "john", PASSWORD).await;
            assert_eq!(right.throttled(), 30);
            assert_eq!(right.body_without_id(), answer.body_without_id());
        }
    }
    assert_eq!(looked_at, 10);
    // Each name by itself, whether it exists or not.
    for name in ["nobody", "somebody", "no name", "nor this", "keyless", "a@example.org", "b@example.org"] {
        assert_eq!(app.attack(name, 200).await, (10, 30), "{name}");
    }
    assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM sessions").await, "0");
}

#[tokio::test]
async fn one_password_is_tried_on_ten_accounts_from_one_address() {
    let app = peopled().await;
    let tried =
        join_all((0..200).map(async |n| app.login_from("192.0.2.1", &format!("user{n}"), "wrong").await.status));
    assert_eq!(tried.await.into_iter().filter(|status| *status == 401).count(), 10);
    // Whoever it is, and whatever he knows.
    assert_eq!(app.login_from("192.0.2.1", "john", PASSWORD).await.throttled(), 6);
    assert_eq!(app.login_from("192.0.2.2", "john", PASSWORD).await.status, 200);
    app.sleep(6);
    assert_eq!(app.login_from("192.0.2.1", "john", PASSWORD).await.status, 200);
    assert_eq!(app.login_from("192.0.2.1", "john", PASSWORD).await.throttled(), 6, "a success clears no address");
}

#[tokio::test]
async fn one_address_is_64_bits_of_an_ipv6_one() {
    let app = peopled().await;
    for n in 0..10 {
        assert_eq!(app.login_from(&format!("2001:db8:0:1::{n}"), &format!("user{n}"), "wrong").await.status, 401);
    }
    app.login_from("2001:db8:0:1:ffff::1", "john", PASSWORD).await.throttled();
    assert_eq!(app.login_from("2001:db8:0:2::1", "john", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn no_header_makes_another_address_of_a_client() {
    let app = TestApp::with(&[("RATE_LIMITS", "on")]).await;
    let mut statuses = Vec::new();
    for n in 0..20 {
        let mut request = Request::builder().method(Method::POST).uri_str("/login").content_type("application/json");
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "cf-connecting-ip", "true-client-ip"] {
            let value = if name == "forwarded" { format!("for={}", address(n)) } else { address(n) };
            request = request.header(name, value);
        }
        let body = json!({"username": format!("user{n}"), "password": "wrong"}).to_string();
        statuses.push(app.send(request.body(body)).await.status);
    }
    assert_eq!(statuses, [[401; 10], [429; 10]].concat());
}

#[tokio::test]
async fn an_account_under_attack_stays_its_owners() {
    let app = peopled().await;
    let pair = super::app::Pair::of(&app.login_from("192.0.2.1", "john", PASSWORD).await);
    let (guesses, mut wait) = app.attack("john", 0).await;
    assert_eq!((guesses, wait), (10, 30));
    // What is open stays open, and his password is his to change, from wherever he is.
    assert_eq!(app.verdict(&pair.access).await, "ok");
    let pair = app.refresh(&pair.refresh).await;
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    let answer = app.post_from("192.0.2.99", "/password/change", Some(&pair.access), &body).await;
    assert_eq!(answer.status, 204);
    // Neither a refresh nor that is a login: it goes on.
    app.login_from("192.0.2.2", "john", PASSWORD).await.throttled();
    // He is let in where he was before, and, after a while, anywhere, however long it goes on.
    for n in 0..50 {
        assert!(wait <= 15 * 60, "{wait}");
        app.sleep(wait - 1);
        app.login_from(&address(1_000 + n), "john", "wrong").await.throttled();
        app.sleep(1);
        assert_eq!(app.login_from(&address(2_000 + n), "john", "wrong").await.status, 401);
        wait = app.login_from(&address(3_000 + n), "john", "wrong").await.throttled();
    }
    app.sleep(wait);
    assert_eq!(app.login_from("192.0.2.2", "john", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn the_owner_logs_in_at_once_where_he_has_logged_in_before() {
    let app = peopled().await;
    assert_eq!(app.login_from("192.0.2.1", "john", PASSWORD).await.status, 200);
    app.attack("john", 0).await;
    app.login_from("192.0.2.2", "john", PASSWORD).await.throttled();
    // His neighbour's guesses count there; they are not more than elsewhere.
    for n in 0..10 {
        app.sleep(6);
        assert_eq!(app.login_from("192.0.2.1", "john", "wrong").await.status, 401, "{n}");
    }
    app.sleep(6);
    assert_eq!(app.login_from("192.0.2.1", "john", PASSWORD).await.throttled(), 24);
    app.sleep(24);
    assert_eq!(app.login_from("192.0.2.1", "john", PASSWORD).await.status, 200);

    for (name, sleep, is_known) in [
        ("john", 0, true),
        ("JOHN", 0, true),
        ("john@example.org", 0, true),
        ("john", 30 * DAY - 1, true),
        // Counted from that last login.
        ("john", 30 * DAY, false),
    ] {
        app.sleep(sleep);
        app.attack("john", 100).await;
        app.attack("john@example.org", 200).await;
        let answer = app.login_from("192.0.2.1", name, PASSWORD).await;
        assert_eq!(answer.status, if is_known { 200 } else { 429 }, "{name} {sleep}");
    }
}

#[tokio::test]
async fn a_restart_forgets_failures_and_reads_where_accounts_logged_in() {
    let mut app = peopled().await;
    app.login_from("192.0.2.1", "john", PASSWORD).await;
    app.attack("john", 0).await;
    app = app.restart(ON).await;
    assert_eq!(app.attack("john", 100).await, (10, 30));
    app.login_from("192.0.2.1", "john", PASSWORD).await.throttled();
    limits::recall(&app.app, app.app.clock.now()).await.unwrap();
    app.login_from("192.0.2.2", "john", PASSWORD).await.throttled();
    assert_eq!(app.login_from("192.0.2.1", "john@example.org", PASSWORD).await.status, 200);
    app.attack("john", 200).await;
    assert_eq!(app.login_from("192.0.2.1", "john", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_name_and_its_address_have_one_count() {
    let app = peopled().await;
    for (n, names) in [(1, ["john", "john@example.org"]), (2, ["john@example.org", "john"])] {
        for n in 0..9 {
            assert_eq!(app.login_from(&address(n), names[0], "wrong").await.status, 401, "{n}");
        }
        assert_eq!(app.login_from(&address(9), names[1], "wrong").await.status, 401);
        let owner = format!("192.0.2.{n}");
        for name in names {
            assert_eq!(app.login_from(&owner, name, PASSWORD).await.throttled(), 30, "{name}");
        }
        app.sleep(30);
        assert_eq!(app.login_from(&owner, "john", PASSWORD).await.status, 200);
        // All is forgotten by a success, whichever name was typed before.
        app.sleep(60);
        for n in 0..10 {
            assert_eq!(app.login_from(&address(n), names[0], "wrong").await.status, 401, "{n}");
        }
        app.login_from(&address(10), names[1], "wrong").await.throttled();
        app.sleep(DAY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_guesses_at_once_are_ten() {
    let app = Arc::new(peopled().await);
    for (name, right) in [("john", 401), ("nobody", 401)] {
        let guesses: JoinSet<u16> = (0..50)
            .map(|n| {
                let app = app.clone();
                async move { app.login_from(&address(n), name, "wrong").await.status }
            })
            .collect();
        let statuses = guesses.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == right).count(), 10, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 40, "{statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_token_guesses_the_password_no_faster() {
    for (path, member) in [("/password/change", "current_password"), ("/me/delete", "password")] {
        let app = Arc::new(peopled().await);
        let token = super::app::Pair::of(&app.login_from("192.0.2.1", "john", PASSWORD).await).access;
        let mut body = json!({member: "wrong"});
        if path == "/password/change" {
            body["new_password"] = json!(PASSWORD);
        }
        let guesses: JoinSet<u16> = (0..50)
            .map(|n| {
                let (app, token, body) = (app.clone(), token.clone(), body.clone());
                async move { app.post_from(&address(n), path, Some(&token), &body).await.status }
            })
            .collect();
        let statuses = guesses.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 10, "{statuses:?}");
        body[member] = json!(PASSWORD);
        assert_eq!(app.post_from("192.0.2.2", path, Some(&token), &body).await.throttled(), 30);
        // That is no login, and a login's count is another one.
        assert_eq!(app.login_from("192.0.2.3", "john", PASSWORD).await.status, 200);
        app.post_from("192.0.2.2", path, Some(&token), &body).await.throttled();
        app.sleep(30);
        assert_eq!(app.post_from("192.0.2.2", path, Some(&token), &body).await.status, 204);
    }
}

#[tokio::test]
async fn accounts_are_made_five_and_then_ten_an_hour_from_an_address() {
    let app = TestApp::with(ON).await;
    let register = async |address: &str, name: &str, password: &str| {
        app.post_from(address, "/register", None, &json!({"username": name, "password": password})).await
    };
    for n in 0..10 {
        assert_eq!(register("192.0.2.1", "john", "short one").await.status, 422, "{n}: not counted");
    }
    for n in 0..3 {
        assert_eq!(register("192.0.2.1", &format!("user{n}"), PASSWORD).await.status, 201);
    }
    assert_eq!(register("192.0.2.1", "user0", PASSWORD).await.status, 409);
    assert_eq!(register("192.0.2.1", "user0", PASSWORD).await.status, 409);
    for name in ["user0", "john"] {
        assert_eq!(register("192.0.2.1", name, PASSWORD).await.throttled(), 360, "{name}: whether it is taken");
    }
    assert_eq!(register("192.0.2.2", "jane", PASSWORD).await.status, 201);
    app.sleep(360);
    assert_eq!(register("192.0.2.1", "john", PASSWORD).await.status, 201);
    assert_eq!(register("192.0.2.1", "jack", PASSWORD).await.throttled(), 360);
}

#[tokio::test]
async fn a_hundred_and_fifty_refresh_tokens_are_looked_at_in_five_minutes() {
    let app = peopled().await;
    let pair = super::app::Pair::of(&app.login_from("192.0.2.1", "john", PASSWORD).await);
    let refresh = async |address: &str, token: &str| {
        app.post_from(address, "/refresh", None, &json!({"refresh_token": token})).await
    };
    for n in 0..150 {
        assert_eq!(refresh("192.0.2.1", "guess").await.status, 401, "{n}");
    }
    assert_eq!(refresh("192.0.2.1", &pair.refresh).await.throttled(), 2);
    assert_eq!(refresh("192.0.2.2", &pair.refresh).await.status, 200);
    app.sleep(2);
    assert_eq!(refresh("192.0.2.1", &pair.refresh).await.status, 200);
}

#[tokio::test]
async fn codes_and_mails_have_the_rates_of_the_page() {
    let app = TestApp::with(ON).await;
    let (limits, clock) = (&app.app.limits, &app.app.clock);
    let one = client("192.0.2.1");
    let rows: [(&str, May, usize, i64); 3] = [
        ("codes", Box::new(|| limits.code(clock.tick(), one).is_ok()), 10, 6),
        ("mails from", Box::new(|| limits.mail_from(clock.tick(), one)), 10, 120),
        ("mails to", Box::new(|| limits.mail_to(clock.tick(), MailKind::Reset, "john@example.org")), 3, 3_600),
    ];
    for (what, may, burst, seconds) in rows {
        assert_eq!((0..burst + 5).filter(|_| may()).count(), burst, "{what}");
        app.sleep(seconds - 1);
        assert!(!may(), "{what}");
        app.sleep(1);
        assert!(may() && !may(), "{what}");
    }
    assert!(limits.mail_to(clock.tick(), MailKind::Reset, "jane@example.org"));
    assert!(limits.mail_from(clock.tick(), client("192.0.2.2")));
}

#[tokio::test]
async fn what_was_not_looked_at_is_not_counted_but_who_hangs_up_is() {
    let app = peopled().await;
    let (limits, tick, now) = (&app.app.limits, app.app.clock.tick(), Time::from_unix(START));
    let begin = |n: u16, name: &str| limits.login(tick, now, client(&address(n)), name);
    for n in 0..30 {
        begin(n, "john").unwrap().failed(&Error::Overloaded);
        begin(n, "john").unwrap().failed(&Error::StorageUnavailable("locked".into()));
    }
    for n in 100..110 {
        drop(begin(n, "john").unwrap());
    }
    assert!(matches!(begin(110, "john"), Err(Error::TooManyAttempts { retry_after: 30 })));
}

#[tokio::test]
async fn the_time_of_day_has_no_say() {
    let limits = Limits::new(true, Tick::from_millis(5_000)).unwrap();
    for year in -20..20 {
        let now = Time::from_unix(START + year * 365 * DAY);
        let begun =
            (0..20).filter(|n| limits.login(Tick::from_millis(9_000), now, client(&address(*n)), "john").is_ok());
        assert_eq!(begun.count(), if year == -20 { 10 } else { 0 }, "{year}");
    }
    let later = Tick::from_millis(9_000 + 30_000);
    assert!(limits.login(later, Time::from_unix(0), client("192.0.2.1"), "john").is_ok());
}

#[tokio::test]
async fn without_limits_nothing_is_counted() {
    let app = TestApp::new().await;
    for n in 0..40 {
        assert_eq!(app.try_login("nobody", "wrong").await.status, 401, "{n}");
    }
}

/// Of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    4_096 * statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
}

/// In a process of its own: memory is measured.
#[test]
fn a_million_names_and_addresses_take_less_than_64_mib_and_hide_nobody() {
    const ALONE: &str = "HALLPASS_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "limits::a_million_names_and_addresses_take_less_than_64_mib_and_hide_nobody";
        let this = std::env::current_exe().unwrap();
        let output = std::process::Command::new(this).args(["--exact", name]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let limits = Limits::new(true, Tick::from_millis(0)).unwrap();
    let now = Time::from_unix(START);
    let at = |address: IpAddr| Client { address, ..client("127.0.0.1") };
    let login = |tick, address: IpAddr, name: &str| limits.login(Tick::from_millis(tick), now, at(address), name);
    for n in 0..16_u8 {
        assert_eq!(login(0, [192, 0, 2, n].into(), "john").is_ok(), n < 10);
    }
    // John is attacked until the longest delay.
    let mut tick = 0;
    for seconds in [30, 60, 120, 240, 480, 900] {
        tick += 1_000 * seconds;
        assert!(login(tick, [192, 0, 2, 99].into(), "john").is_ok());
    }
    let before = resident();
    let mut throttled = 0;
    for n in 0..1_000_000_u32 {
        let tick = tick + u64::from(n) * 60 / 1_000;
        let address = IpAddr::from(n.to_be_bytes());
        let moment = Tick::from_millis(tick);
        let mut ok = login(tick, address, &format!("user{n}")).is_ok();
        ok &= limits.register(moment, at(address)).is_ok();
        ok &= limits.refresh(moment, at(address)).is_ok();
        ok &= limits.code(moment, at(address)).is_ok();
        ok &= limits.mail_from(moment, at(address));
        limits.mail_to(moment, MailKind::Reset, &format!("user{n}@example.org"));
        throttled += u32::from(!ok);
    }
    let grown = resident() - before;
    assert!(grown < 64 * 1024 * 1024, "{grown}");
    assert!(throttled < 1_000, "{throttled}");
    let end = tick + 60_000;
    assert!(login(end, [203, 0, 113, 1].into(), "john").is_err(), "forgotten");
    assert!(login(end, [203, 0, 113, 2].into(), "jane").is_ok(), "an honest one");
    println!("{} KiB", grown / 1024);
}

#[tokio::test]
async fn mails_are_limited_for_an_address_and_from_one_and_the_answer_is_the_same() {
    let app = TestApp::with(ON).await;
    app.own("jane", "jane@example.org").await;
    let ask = async |from: &str, path: &str, email: &str| {
        let answer = app.post_from(from, path, None, &json!({"email": email})).await;
        assert_eq!((answer.status, answer.text().as_str()), (202, ""), "{path} {email}");
    };
    // What asks for other mails uses up none of these, and what comes to nothing neither.
    for n in 0..20 {
        ask(&address(n), "/email/resend", "jane@example.org").await;
        let taken = json!({"username": "jane", "password": PASSWORD, "email": "jane@example.org"});
        assert_eq!(app.post_from(&address(40 + n), "/register", None, &taken).await.status, 409);
    }
    for n in 0..20 {
        ask(&address(n), "/password/forgot", "jane@example.org").await;
        ask(&address(n), "/password/forgot", "nobody@example.org").await;
    }
    assert_eq!(app.mails().await.len(), 3, "three at once");
    app.sleep(60 * 60);
    ask(&address(0), "/password/forgot", "JANE@example.org").await;
    ask(&address(1), "/password/forgot", "jane@example.org").await;
    assert_eq!(app.mails().await.len(), 1, "then one an hour");
    // One address asks for many.
    for n in 0..20 {
        let body =
            json!({"username": format!("user{n}"), "password": PASSWORD, "email": format!("user{n}@example.org")});
        assert_eq!(app.post_from(&address(100 + n), "/register", None, &body).await.status, 201);
    }
    assert_eq!(app.mails().await.len(), 20);
    for n in 0..20 {
        ask(&address(200), "/email/resend", &format!("user{n}@example.org")).await;
    }
    assert_eq!(app.mails().await.len(), 10);
}

#[tokio::test]
async fn links_and_codes_are_limited_by_address_and_an_attack_keeps_nobody_from_getting_back_in() {
    let app = TestApp::with(ON).await;
    app.own("jane", "jane@example.org").await;
    for path in ["/email/verify", "/password/reset"] {
        let guess = |n: u16| {
            let mut body = json!({"email": "jane@example.org", "code": format!("{n:08}")});
            if path == "/password/reset" {
                body["new_password"] = json!("nine violet umbrellas");
            }
            body
        };
        let from = if path == "/email/verify" { address(1) } else { address(2) };
        for n in 0..10 {
            app.post_from(&from, path, None, &guess(n)).await.refuses(400, "invalid_code", "");
        }
        app.post_from(&from, path, None, &guess(11)).await.throttled();
        app.post_from(&address(3), path, None, &guess(12)).await.refuses(400, "invalid_code", "");
    }
    let pair = app.open("jane").await;
    app.attack("jane", 300).await;
    app.login_from(&address(900), "jane", PASSWORD).await.throttled();
    assert_eq!(app.verdict(&pair.access).await, "ok");
    app.refresh(&pair.refresh).await;
    let mail = app.forgot("jane@example.org").await;
    let mut body = mail.link();
    body["new_password"] = json!("nine violet umbrellas");
    assert_eq!(app.post_from(&address(901), "/password/reset", None, &body).await.status, 204);
    app.login_from(&address(902), "jane", "nine violet umbrellas").await.throttled();
    // Who got back in is known where he is.
    assert_eq!(app.login_from(&address(901), "jane", "nine violet umbrellas").await.status, 200);
}

#[tokio::test]
async fn an_owner_is_told_of_a_login_from_elsewhere_that_came_after_too_many_failures() {
    for (name, (home, from), guesses, is_told) in [
        ("john", ("192.0.2.1", "203.0.113.9"), 100, true),
        // Found by its address.
        ("john@example.org", ("192.0.2.1", "203.0.113.9"), 100, true),
        ("john", ("192.0.2.1", "192.0.2.1"), 100, false),
        ("john", ("192.0.2.1", "203.0.113.9"), 9, false),
        // From home.
        ("john", ("192.0.2.1", "192.0.2.1"), 10, false),
    ] {
        let app = peopled().await;
        let row = format!("{name} {home} {from} {guesses}");
        assert_eq!(app.login_from(home, "john", PASSWORD).await.status, 200);
        app.mails().await;
        if guesses == 100 {
            app.attack("john", 0).await;
        } else {
            app.sleep(60);
            for n in 0..guesses {
                let elsewhere = address(n);
                let from = if from == home { home } else { &elsewhere };
                assert_eq!(app.login_from(from, "john", "wrong").await.status, 401);
            }
        }
        app.sleep(30);
        assert_eq!(app.login_from(from, name, PASSWORD).await.status, 200, "{row}");
        let told: Vec<_> = app.mails().await.into_iter().map(|mail| (mail.kind, mail.to)).collect();
        let expected = is_told.then(|| (MailKind::LoginAfterFailures, "john@example.org".to_owned()));
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{row}");
        // From there it has logged in now.
        assert_eq!(app.login_from(from, name, PASSWORD).await.status, 200, "{row}");
        assert!(app.mails().await.is_empty(), "{row}");
    }
}

#[tokio::test]
async fn an_address_that_nobody_proved_is_told_of_no_login_and_nobody_too_often() {
    let app = peopled().await;
    app.mails().await;
    let login = async |n: u16| {
        app.attack("john", n * 200).await;
        app.sleep(30);
        assert_eq!(app.login_from(&address(10_000 + n), "john", PASSWORD).await.status, 200);
        app.mails().await.len()
    };
    let mut told = 0;
    for n in 0..8 {
        told += login(n).await;
    }
    assert_eq!(told, 3, "as many as there are of any kind for one recipient");
    app.sleep(3_600);
    assert_eq!(login(9).await, 1);
    app.sleep(3_600);
    app.sql(
        "UPDATE users SET claimed_email = email, claimed_email_key = email_key, claimed_at = 1, email = NULL,
                          email_key = NULL, email_verified_at = NULL",
    )
    .await;
    assert_eq!(login(10).await, 0);
}
