//! What is limited besides passwords: registrations, refreshes, codes and mails.

use hallpass::model::MailKind;
use serde_json::json;

use super::{
    super::app::{PASSWORD, Pair, TestApp},
    ON, address, client, peopled,
};

type May<'a> = Box<dyn Fn() -> bool + 'a>;
type MayFrom<'a> = Box<dyn Fn(&str) -> bool + 'a>;

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
    let pair = Pair::of(&app.login_from("192.0.2.1", "john", PASSWORD).await);
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
    app.sleep(20);
    for n in 0..10 {
        assert_eq!(refresh("192.0.2.1", "guess").await.status, 401, "{n}");
    }
    assert_eq!(refresh("192.0.2.1", "guess").await.throttled(), 2);
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
    assert_eq!((0..4_000).filter(|_| limits.mail(clock.tick())).count(), 3_600, "of all");
    app.sleep(1);
    assert!(limits.mail(clock.tick()) && !limits.mail(clock.tick()));
}

#[tokio::test]
async fn a_site_of_48_bits_makes_and_asks_sixteen_times_as_much() {
    let app = TestApp::with(ON).await;
    let (limits, tick) = (&app.app.limits, app.app.clock.tick());
    let rows: [(&str, MayFrom, usize); 3] = [
        ("registrations", Box::new(|from| limits.register(tick, client(from)).is_ok()), 80),
        ("mails from", Box::new(|from| limits.mail_from(tick, client(from))), 160),
        // The others are as wide as a network: what they guard is guarded by itself.
        ("codes", Box::new(|from| limits.code(tick, client(from)).is_ok()), 400),
    ];
    for (what, may, expected) in rows {
        let let_in = (0..400).filter(|n| may(&format!("2001:db8:1:{n:x}::1"))).count();
        assert_eq!(let_in, expected, "{what}");
        assert!(may("2001:db8:2::1") && may("192.0.2.1"), "{what}");
    }
}

#[tokio::test]
async fn a_mail_too_many_for_its_address_costs_as_much_as_one_that_is_sent() {
    let app = TestApp::with(ON).await;
    app.own("jane", "jane@example.org").await;
    let writes = async || app.text("SELECT CAST(writes AS TEXT) FROM probe").await.parse::<i64>().unwrap();
    let before = writes().await;
    for n in 0..8 {
        let body = json!({"email": "jane@example.org"});
        assert_eq!(app.post_from(&address(n), "/password/forgot", None, &body).await.status, 202);
        assert_eq!(writes().await - before, i64::from(n).max(2) - 2, "{n}");
    }
    assert_eq!(app.mails().await.len(), 3);
    // By a registration and a change of the address, too.
    let before = writes().await;
    let register = async |n: u16| {
        let body = json!({"username": format!("user{n}"), "password": PASSWORD, "email": "jane@example.org"});
        assert_eq!(app.post_from(&address(100 + n), "/register", None, &body).await.status, 201);
    };
    for n in 0..4 {
        register(n).await;
    }
    let token = app.login("jane").await;
    let body = json!({"password": PASSWORD, "email": "jane@example.org"});
    assert_eq!(app.post_from(&address(200), "/email/change", Some(&token), &body).await.status, 202);
    assert_eq!(writes().await - before, 2 + 1);
    // Whoever asks for too many knows it himself, and costs nothing.
    let before = writes().await;
    for n in 0..20 {
        let body = json!({"email": format!("nobody{n}@example.org")});
        assert_eq!(app.post_from(&address(201), "/password/forgot", None, &body).await.status, 202);
    }
    assert_eq!(writes().await, before);
}

#[tokio::test]
async fn beyond_the_limit_of_all_mails_none_is_sent_and_nobody_is_told() {
    let app = TestApp::with(ON).await;
    app.own("jane", "jane@example.org").await;
    while app.app.limits.mail(app.app.clock.tick()) {}
    let body = json!({"email": "jane@example.org"});
    assert_eq!(app.post_from("192.0.2.1", "/password/forgot", None, &body).await.status, 202);
    assert_eq!(app.mails().await.len(), 0);
    app.sleep(1);
    assert_eq!(app.post_from("192.0.2.1", "/password/forgot", None, &body).await.status, 202);
    assert_eq!(app.mails().await.len(), 1);
    // What tells of a change is not asked for by strangers, and not limited.
    while app.app.limits.mail(app.app.clock.tick()) {}
    let token = app.login("jane").await;
    let body = json!({"current_password": PASSWORD, "new_password": "nine violet umbrellas"});
    assert_eq!(app.post("/password/change", &body).await.status, 401);
    assert_eq!(app.post_from("192.0.2.1", "/password/change", Some(&token), &body).await.status, 204);
    assert_eq!(app.mails().await.len(), 1);
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
