//! Mail on its way: what is kept of it, and what becomes of it when it cannot be sent.

use hallpass::{
    auth::{account, outbox},
    model::{By, MailKind, PasswordHash, Roles, SessionId, Time},
    store::{Changes, Deletion, NewRoles, Take},
};
use poem::http::Method;
use serde_json::json;

use super::app::{PASSWORD, Pair, START, TestApp};

/// Nobody listens there.
const NOWHERE: &[(&str, &str)] = &[("SMTP_URL", "smtp://127.0.0.1:1"), ("MAIL_FROM", "login@example.com")];

async fn forgot(app: &TestApp) {
    assert_eq!(app.post("/password/forgot", &json!({"email": "jane@example.org"})).await.status, 202);
}

async fn rows(app: &TestApp) -> i64 {
    app.app.store.waiting_mails().await.unwrap().0
}

#[tokio::test]
async fn no_request_waits_for_the_server_and_what_was_asked_for_is_sent_when_it_is_back() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let app = app.restart(NOWHERE).await;
    forgot(&app).await;
    app.claim("joan", "joan@example.org").await;
    for (attempts, pause) in [(1, 30), (2, 60), (3, 120)] {
        outbox::drain(&app.app).await.unwrap();
        let waits = "SELECT CAST(MIN(attempts) AS TEXT) || ' ' || CAST(MIN(next_at) AS TEXT) FROM outbox";
        let now = app.app.clock.now().unix();
        assert_eq!(app.text(waits).await, format!("{attempts} {}", now + pause));
        app.sleep(pause);
    }
    assert_eq!(rows(&app).await, 2);
    let hash = app.text("SELECT hex(link_hash) FROM codes WHERE kind = 'reset'").await;

    let app = app.restart(&[]).await;
    let mails = app.mails().await;
    assert_eq!(mails.iter().map(|mail| mail.kind).collect::<Vec<_>>(), [MailKind::Reset, MailKind::Verify]);
    assert_eq!(app.text("SELECT hex(link_hash) FROM codes WHERE kind = 'reset'").await, hash, "the same link");
    assert_eq!(rows(&app).await, 0);
    // The code counts from when it is sent.
    app.sleep(9 * 60);
    assert_eq!(app.reset(&mails[0].code(), "nine violet umbrellas").await.status, 204);
    assert_eq!(app.post("/email/verify", &mails[1].link()).await.status, 204);
}

#[tokio::test]
async fn what_is_asked_for_looks_the_same_for_all() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    forgot(&app).await;
    assert_eq!(app.post("/password/forgot", &json!({"email": "nobody@example.org"})).await.status, 202);
    let shape = "SELECT group_concat(kind || ' ' || COALESCE(user_id, '-') || ' ' || expires_at, '; ') FROM outbox";
    let until = START + 1_800;
    assert_eq!(app.text(shape).await, format!("reset - {until}; reset - {until}"));
    assert_eq!(app.mail().await.to, "jane@example.org");
    assert_eq!(rows(&app).await, 0);
}

#[tokio::test]
async fn a_stolen_database_opens_nothing() {
    let app = TestApp::with(NOWHERE).await;
    app.claim("jane", "jane@example.org").await;
    outbox::drain(&app.app).await.unwrap();
    app.sleep(60);
    let app = app.restart(&[]).await;
    let mail = app.mail().await;
    assert!(mail.token.len() == 43 && mail.code.len() == 8);
    for name in ["test.db", "test.db-wal"] {
        let bytes = std::fs::read(app.folder.path().join(name)).unwrap_or_default();
        for secret in [&mail.token, &mail.code] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name}");
        }
    }
    assert_eq!(app.post("/email/verify", &mail.link()).await.status, 204);
}

#[tokio::test]
async fn what_a_killed_server_was_sending_is_sent_once_more_and_is_the_same() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    let (store, now) = (&app.app.store, app.app.clock.now());
    let due = store.due_mails(now, 10).await.unwrap();
    // As far as a server comes before it speaks to the mail server.
    let taken = store.take_mail(due[0].id.clone(), now, now.plus(30), None).await.unwrap();
    assert!(matches!(taken, Take::Ready(_)));
    let again = store.take_mail(due[0].id.clone(), now, now.plus(30), None).await.unwrap();
    assert!(matches!(again, Take::Gone), "nobody else sends it meanwhile");
    assert!(app.mails().await.is_empty());
    let id = due[0].id.clone();

    // Another server that starts does not take what may be on its way.
    let app = app.restart(&[]).await;
    app.sleep(29);
    assert!(app.mails().await.is_empty());
    app.sleep(1);
    let mail = app.mail().await;
    assert!(mail.raw.contains(&format!("Message-ID: <{id}@")), "{}", mail.raw);
    assert_eq!(app.post("/email/verify", &mail.link()).await.status, 204);
}

#[tokio::test]
async fn a_try_after_the_link_was_used_or_voided_is_not_made() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let app = app.restart(NOWHERE).await;
    forgot(&app).await;
    outbox::drain(&app.app).await.unwrap();
    let token = app.login("jane").await;
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    // With the row kept, as if it had been taken at that moment.
    app.sql("UPDATE outbox SET email_key = 'x' || email_key").await;
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    app.sql("UPDATE outbox SET email_key = substr(email_key, 2) WHERE kind = 'reset'").await;
    app.sleep(30);
    let app = app.restart(&[]).await;
    assert_eq!(app.mail().await.kind, MailKind::PasswordChanged);
}

#[tokio::test]
async fn what_is_worth_nothing_any_more_is_given_up() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    forgot(&app).await;
    app.claim("joan", "joan@example.org").await;
    app.sleep(30 * 60);
    assert_eq!(app.mail().await.kind, MailKind::Verify);
    assert_eq!(rows(&app).await, 0);
    // Who is told of a change is worth telling for a day.
    for (seconds, told) in [(24 * 60 * 60 - 1, 1), (24 * 60 * 60, 0)] {
        let token = app.login("jane").await;
        let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
        assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
        app.sleep(seconds);
        assert_eq!(app.mails().await.len(), told, "{seconds}");
        assert_eq!(rows(&app).await, 0);
    }
}

#[tokio::test]
async fn an_older_mail_is_not_sent_after_a_newer_one() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    forgot(&app).await;
    app.sql("UPDATE outbox SET next_at = next_at + 60").await;
    forgot(&app).await;
    let newer = app.mail().await;
    app.sleep(60);
    assert!(app.mails().await.is_empty());
    assert_eq!(app.reset(&newer.link(), "nine violet umbrellas").await.status, 204);
}

#[tokio::test]
async fn what_strangers_ask_for_is_bounded_and_hides_no_theft() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let token = app.login("jane").await;
    app.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         INSERT INTO outbox (id, kind, email, email_key, created_at, expires_at, attempts, next_at)
         SELECT 'x' || i, 'reset', 'x@example.org', 'x@example.org', 0, 9999999999, 0, 9999999999 FROM n",
    )
    .await;
    for expected in [10_000, 10_000] {
        forgot(&app).await;
        assert_eq!(rows(&app).await, expected);
    }
    let form = json!({"username": "joan", "password": PASSWORD, "email": "joan@example.org"});
    assert_eq!(app.post("/register", &form).await.status, 201, "and answered alike");
    assert_eq!(rows(&app).await, 10_000);
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    // The password's change voided the reset.
    assert_eq!(app.mail().await.kind, MailKind::PasswordChanged);
}

#[tokio::test]
async fn where_no_mail_is_sent_nothing_is_written() {
    let app = TestApp::silent().await;
    let form = json!({"username": "jane", "password": PASSWORD, "email": "jane@example.org"});
    assert_eq!(app.post("/register", &form).await.status, 201);
    let token = app.login("jane").await;
    for path in ["/password/forgot", "/email/resend"] {
        assert_eq!(app.post(path, &json!({"email": "jane@example.org"})).await.status, 202);
    }
    assert_eq!(app.change_email(&token, PASSWORD, "new@example.org").await.status, 202);
    assert_eq!(rows(&app).await, 0);
}

#[tokio::test]
async fn the_worker_sends_by_itself_one_after_the_other_to_each_and_ends_what_it_began() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    let claims = (0..30).map(|n| format!("user{n}"));
    for name in claims.clone() {
        app.claim(&name, &format!("{name}@example.org")).await;
    }
    for _ in 0..3 {
        assert_eq!(app.post("/email/resend", &json!({"email": "jane@example.org"})).await.status, 202);
    }
    let worker = tokio::spawn(outbox::run(app.app.clone()));
    let mut mails = Vec::new();
    while mails.len() < 34 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        mails.extend(app.received());
    }
    for name in claims {
        assert_eq!(mails.iter().filter(|mail| mail.to == format!("{name}@example.org")).count(), 1, "{name}");
    }
    let janes: Vec<_> = mails.iter().filter(|mail| mail.to == "jane@example.org").collect();
    for void in &janes[..3] {
        app.post("/email/verify", &void.link()).await.refuses(400, "invalid_code", "");
    }
    assert_eq!(app.post("/email/verify", &janes[3].link()).await.status, 204);
    outbox::finish(&app.app).await;
    assert_eq!(rows(&app).await, 0);
    forgot(&app).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(rows(&app).await, 1, "it begins no more");
    worker.abort();
}

#[tokio::test]
async fn what_is_over_is_deleted() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    app.mail().await;
    app.claim("joan", "joan@example.org").await;
    let now = app.app.clock.now();
    let later = |seconds: i64| Time::from_unix(now.unix() + seconds);
    outbox::forget(&app.app, later(24 * 60 * 60 - 1)).await.unwrap();
    assert_eq!((app.text("SELECT CAST(COUNT(*) AS TEXT) FROM codes").await.as_str(), rows(&app).await), ("1", 1));
    outbox::forget(&app.app, later(25 * 60 * 60)).await.unwrap();
    assert_eq!((app.text("SELECT CAST(COUNT(*) AS TEXT) FROM codes").await.as_str(), rows(&app).await), ("0", 0));
}

#[tokio::test]
async fn what_belongs_to_an_account_goes_with_it() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    let mail = app.mail().await;
    assert_eq!(app.post("/email/resend", &json!({"email": "jane@example.org"})).await.status, 202);
    let token = app.login("jane").await;
    let answer = app.call(Method::POST, "/me/delete", &token, Some(&json!({"password": PASSWORD}))).await;
    assert_eq!(answer.status, 204);
    app.post("/email/verify", &mail.link()).await.refuses(400, "invalid_code", "");
    assert!(app.mails().await.is_empty());
}

#[tokio::test]
async fn a_deletion_that_is_refused_takes_no_notice_from_its_account() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let pair = Pair::of(&app.try_login("jane", PASSWORD).await);
    let user = account::find(&app.app, "jane").await.unwrap();
    let now = app.app.clock.now();
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    assert_eq!(app.call(Method::POST, "/password/change", &pair.access, Some(&body)).await.status, 204);
    let waits = "SELECT kind || ' ' || COALESCE(user_id, '-') || ' ' || COALESCE(username, '-') FROM outbox";
    let expected = format!("password_changed {} -", user.id.as_str());
    assert_eq!(app.text(waits).await, expected);

    let entry = By::operator().does("user_deleted", now);
    let other = PasswordHash::from_text("another".to_owned());
    let sid = SessionId::from_text(pair.sid());
    let deleted = app.app.store.delete_own(user.id.clone(), other, sid, None, entry).await.unwrap();
    assert_eq!((deleted, app.text(waits).await), (Deletion::Changed, expected.clone()));

    app.change(now, &user, Changes::roles(NewRoles::Add(Roles::one("admin").unwrap()))).await;
    let path = format!("/admin/users/{}", user.id.as_str());
    app.delete(&path, &pair.access).await.refuses(409, "last_admin", "");
    assert_eq!(app.text(waits).await, expected);
    assert_eq!(app.try_login("jane", PASSWORD).await.status, 200, "nor its password");
    assert_eq!(app.mail().await.kind, MailKind::PasswordChanged);
}
