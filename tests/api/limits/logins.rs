//! Logins, and other checks of a password.

use std::sync::Arc;

use futures_util::future::join_all;
use hallpass::auth::{audit, limits};
use poem::{Request, http::Method};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    super::app::{PASSWORD, Pair, TestApp},
    DAY, ON, address, peopled,
};

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
async fn a_site_of_48_bits_has_sixteen_times_as_much() {
    let app = peopled().await;
    for n in 0..160 {
        assert_eq!(app.login_from(&format!("2001:db8:1:{n:x}::1"), &format!("user{n}"), "wrong").await.status, 401);
    }
    // Whoever it is, and from whichever of its 65,536.
    assert_eq!(app.login_from("2001:db8:1:ffff::1", "john", PASSWORD).await.throttled(), 1);
    assert_eq!(app.login_from("2001:db8:2:ffff::1", "john", PASSWORD).await.status, 200);
    for n in 0..200 {
        assert_eq!(app.login_from(&address(n), &format!("nobody{n}"), "wrong").await.status, 401, "IPv4 has none");
    }
    app.sleep(1);
    assert_eq!(app.login_from("2001:db8:1:ffff::1", "john", PASSWORD).await.status, 200);
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
    let pair = Pair::of(&app.login_from("192.0.2.1", "john", PASSWORD).await);
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
async fn who_shows_his_password_in_an_open_session_is_known_where_he_is() {
    let app = peopled().await;
    let token = Pair::of(&app.login_from("192.0.2.1", "john", PASSWORD).await).access;
    for (from, path, body) in [
        ("192.0.2.11", "/password/change", json!({"current_password": PASSWORD, "new_password": PASSWORD})),
        ("192.0.2.12", "/email/change", json!({"password": PASSWORD, "email": "john@example.net"})),
    ] {
        let mut wrong = body.clone();
        wrong[body.as_object().unwrap().keys().next().unwrap()] = json!("wrong");
        assert_eq!(app.post_from("192.0.2.10", path, Some(&token), &wrong).await.status, 403, "{path}");
        assert!([202, 204].contains(&app.post_from(from, path, Some(&token), &body).await.status), "{path}");
        app.attack("john", 100).await;
        app.attack("john@example.org", 200).await;
        app.login_from("192.0.2.10", "john", PASSWORD).await.throttled();
        for name in ["john", "john@example.org"] {
            assert_eq!(app.login_from(from, name, PASSWORD).await.status, 200, "{path} {name}");
        }
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
        // The tenth: the right password is not looked at any more, by whichever name.
        for name in names {
            app.login_from(&owner, name, PASSWORD).await.refuses(401, "invalid_credentials", "");
        }
        app.sleep(30);
        assert_eq!(app.login_from(&owner, names[1], PASSWORD).await.status, 200);
        // All is forgotten by a success, whichever name was typed before.
        app.sleep(60);
        for n in 0..10 {
            assert_eq!(app.login_from(&address(n), names[0], "wrong").await.status, 401, "{n}");
        }
        assert_eq!(app.login_from(&address(10), names[1], PASSWORD).await.status, 401);
        app.login_from(&address(10), names[0], PASSWORD).await.throttled();
        assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM sessions").await, n.to_string());
        audit::record(&app.app, app.app.clock.now()).await.unwrap();
        assert_ne!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM audit WHERE outcome = 'throttled'").await, "0");
        app.sleep(DAY);
    }
}

#[tokio::test]
async fn a_name_that_is_used_up_does_not_tell_whose_an_address_is() {
    let app = peopled().await;
    let mut sequences = Vec::new();
    for (n, email) in
        ["john@example.org", "nobody@example.org", "mallory@example.org", "a@example.org"].iter().enumerate()
    {
        app.attack("john", 0).await;
        app.attack("mallory", 0).await;
        let mut sequence = Vec::new();
        for (step, sleep) in [0; 11].into_iter().chain([29, 1, 60, 120]).enumerate() {
            app.sleep(sleep);
            let from = address(u16::try_from(1_000 + n * 100 + step).unwrap());
            // The right one of two of them, as long as it is not looked at.
            let answer = app.login_from(&from, email, if step < 11 { PASSWORD } else { "wrong" }).await;
            sequence.push((answer.status, answer.header("retry-after").to_owned(), answer.body_without_id()));
            if step % 3 == 0 {
                app.attack("john", 0).await;
            }
        }
        sequences.push((email, sequence));
        app.sleep(DAY);
    }
    for (email, sequence) in &sequences {
        assert_eq!(*sequence, sequences[1].1, "{email}");
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
        let token = Pair::of(&app.login_from("192.0.2.1", "john", PASSWORD).await).access;
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
async fn who_resets_through_a_new_address_is_known_by_that_where_he_is() {
    let app = peopled().await;
    let token = app.login("john").await;
    assert_eq!(app.change_email(&token, PASSWORD, "new@example.org").await.status, 202);
    app.mails().await;
    let mut form = app.forgot("new@example.org").await.link();
    form["new_password"] = json!("nine violet umbrellas");
    assert_eq!(app.post_from("192.0.2.1", "/password/reset", None, &form).await.status, 204);
    app.attack("new@example.org", 0).await;
    for (from, status) in [("192.0.2.2", 429), ("192.0.2.1", 200)] {
        let answer = app.login_from(from, "new@example.org", "nine violet umbrellas").await;
        assert_eq!(answer.status, status, "{from}");
    }
}

#[tokio::test]
async fn a_restart_reads_more_than_a_page_of_where_accounts_logged_in() {
    let app = peopled().await;
    app.login_from("192.0.2.1", "john", PASSWORD).await;
    // A page, and what is left of a second one.
    app.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
         INSERT INTO sessions (id, user_id, salt, generation, rotated_at, secret_id, created_at, last_used_at,
                               refresh_expires_at, expires_at, ip)
         SELECT 'f' || printf('%04d', i), s.user_id, s.salt, 0, s.rotated_at, s.secret_id, s.created_at,
                s.last_used_at, s.refresh_expires_at, s.expires_at, '203.0.113.1' FROM n, sessions s",
    )
    .await;
    let app = app.restart(ON).await;
    limits::recall(&app.app, app.app.clock.now()).await.unwrap();
    app.attack("john", 100).await;
    app.login_from("192.0.2.2", "john", PASSWORD).await.throttled();
    assert_eq!(app.login_from("192.0.2.1", "john", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn who_resets_through_a_first_address_is_known_by_that_where_he_is() {
    let app = TestApp::with(ON).await;
    app.claim("john", "john@example.org").await;
    app.mails().await;
    let mut form = app.forgot("john@example.org").await.link();
    form["new_password"] = json!("nine violet umbrellas");
    assert_eq!(app.post_from("192.0.2.1", "/password/reset", None, &form).await.status, 204);
    app.attack("john@example.org", 0).await;
    for (from, status) in [("192.0.2.2", 429), ("192.0.2.1", 200)] {
        let answer = app.login_from(from, "john@example.org", "nine violet umbrellas").await;
        assert_eq!(answer.status, status, "{from}");
    }
}
