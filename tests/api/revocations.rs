//! What ended, for services that verify by themselves.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use hallpass::{
    auth::{account, revocation},
    model::Roles,
    store::{Changes, NewRoles},
};
use poem::{Request, http::Method};
use serde_json::{Value, json};

use super::{
    app::{Answer, PASSWORD, TestApp},
    forge::base64url,
};

async fn list(app: &TestApp, query: &str) -> Answer {
    let answer = app.get(&format!("/.well-known/revocations{query}"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn hash(id: &str) -> String {
    base64url(digest(&SHA256, id.as_bytes()))[..22].to_owned()
}

fn session(id: &str, at: &str) -> Value {
    json!({"sid_hash": hash(id), "ended_at": at})
}

#[tokio::test]
async fn a_session_that_was_ended_is_listed_by_its_digest_for_one_life_of_a_token() {
    let app = TestApp::new().await;
    let answer = list(&app, "").await;
    assert_eq!(answer.json(), json!({"as_of": "2026-11-23T09:00:00Z", "sessions": [], "subjects": []}));
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let (first, second) = (app.as_session("john").await, app.open("john").await);
    app.sleep(1);
    assert_eq!(app.call(Method::POST, "/logout", &first.access, None).await.status, 204);
    let ended = session(&first.sid(), "2026-11-23T09:00:01Z");
    assert_eq!(list(&app, "").await.json()["sessions"], json!([ended]));
    app.sleep(5);
    assert_eq!(app.call(Method::POST, "/logout", &second.access, None).await.status, 204);
    let both = json!([ended, session(&second.sid(), "2026-11-23T09:00:06Z")]);
    let text = list(&app, "").await;
    assert_eq!(text.json()["sessions"], both);
    assert!(!text.text().contains(&first.sid()) && !text.text().contains(&second.sid()));
    // A minute more: the end may have waited before it was written, and a token been issued meanwhile.
    app.sleep(1_795 + 60);
    assert_eq!(list(&app, "").await.json()["sessions"], both);
    app.sleep(1);
    assert_eq!(list(&app, "").await.json()["sessions"], json!([both[1]]), "no token names it any more");
}

#[tokio::test]
async fn the_list_of_a_second_is_read_once() {
    let app = TestApp::new().await;
    let now = app.app.clock.now();
    let first = revocation::list(&app.app, now).await.unwrap();
    for (seconds, is_same) in [(0, true), (-1, true), (0, true), (-2, false), (-2, false), (1, false)] {
        let list = revocation::list(&app.app, now.plus(seconds)).await.unwrap();
        assert_eq!(Arc::ptr_eq(&list, &first), is_same, "{seconds}");
    }
}

#[tokio::test]
async fn every_way_of_ending_is_listed() {
    let app = TestApp::new().await;
    let one = app.as_session("john").await;
    let two = app.open("john").await;
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    assert_eq!(app.call(Method::POST, "/password/change", &one.access, Some(&body)).await.status, 204);
    let next = app.refresh(&one.refresh).await;
    assert_eq!(app.verdict(&next.access).await, "ok");
    app.sleep(11);
    assert_eq!(app.try_refresh(&one.refresh).await.status, 401, "reuse");
    let mut hashes = vec![hash(&one.sid()), hash(&two.sid())];
    hashes.sort_unstable();
    let listed = list(&app, "").await.json();
    let mut found: Vec<&str> =
        listed["sessions"].as_array().unwrap().iter().map(|e| e["sid_hash"].as_str().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, hashes);
}

fn add(role: &str) -> Changes {
    Changes::roles(NewRoles::Add(Roles::one(role).unwrap()))
}

#[tokio::test]
async fn an_account_is_listed_when_it_is_disabled_deleted_or_given_other_roles() {
    let app = TestApp::new().await;
    for (n, what) in ["disable", "delete", "role"].into_iter().enumerate() {
        app.sleep(10);
        app.register(&format!("john{n}")).await;
        let user = account::find(&app.app, &format!("john{n}")).await.unwrap();
        let now = app.app.clock.now();
        match what {
            "disable" => app.change(now, &user, Changes::disabled(true)).await,
            "delete" => app.remove(now, &user).await,
            _ => app.change(now, &user, add("editor")).await,
        }
        let subjects = list(&app, "").await.json()["subjects"].clone();
        // Rounded up: of two tokens of this second nobody can tell which was issued before.
        let not_before = now.plus(1).to_string();
        assert_eq!(subjects[n], json!({"sub_hash": hash(user.id.as_str()), "not_before": not_before}), "{what}");
    }
    // The same roles are no change.
    let user = account::find(&app.app, "john2").await.unwrap();
    app.sleep(100);
    app.change(app.app.clock.now(), &user, add("editor")).await;
    assert_eq!(list(&app, "?since=2026-11-23T09:02:10Z").await.json()["subjects"], json!([]));
}

#[tokio::test]
async fn who_has_the_list_asks_for_what_is_newer() {
    let app = TestApp::new().await;
    let (first, second) = (app.as_session("john").await, app.open("john").await);
    app.call(Method::POST, "/logout", &first.access, None).await;
    app.sleep(1);
    let whole = list(&app, "").await;
    let (as_of, etag) = (whole.json()["as_of"].as_str().unwrap().to_owned(), whole.header("etag").to_owned());
    assert_eq!(as_of, "2026-11-23T09:00:01Z");
    // In the same second as the list, and after it.
    app.call(Method::POST, "/logout", &second.access, None).await;
    let user = account::find(&app.app, "john").await.unwrap();
    app.change(app.app.clock.now(), &user, Changes::disabled(true)).await;
    let held = async |etag: &str, query: &str| {
        let path = format!("/.well-known/revocations{query}");
        let request = Request::builder().uri_str(path).header("if-none-match", etag).finish();
        app.send(request).await
    };
    for tag in [&etag, etag.trim_start_matches("W/"), "*", &format!("\"x\", {etag}")] {
        assert_eq!(held(tag, "").await.status, 304, "within the second, the list is kept: {tag}");
    }
    assert_eq!(held("\"x\"", "").await.status, 200);
    app.sleep(1);
    let newer = list(&app, &format!("?since={as_of}")).await;
    // What ended up to a minute before is told again: its request may have waited before it was written.
    let both = json!([session(&first.sid(), "2026-11-23T09:00:00Z"), session(&second.sid(), &as_of)]);
    assert_eq!(newer.json()["sessions"], both);
    assert_eq!(
        newer.json()["subjects"],
        json!([{"sub_hash": hash(user.id.as_str()), "not_before": "2026-11-23T09:00:02Z"}])
    );
    assert_eq!(held(&etag, "").await.status, 200);
    let newest = list(&app, "?since=2026-11-23T09:01:01Z").await;
    assert_eq!(newest.json()["sessions"], both, "from the minute");
    let ahead = list(&app, "?since=2026-11-23T10:02:00%2B01:00").await;
    assert_eq!(ahead.json()["sessions"], both, "of before our clock was set back");
    let (etag, later) = (newer.header("etag").to_owned(), format!("?since={as_of}"));
    app.sleep(1);
    let answer = held(&etag, &later).await;
    assert_eq!((answer.status, answer.bytes.len(), answer.header("etag")), (304, 0, etag.as_str()));
    for since in ["x", "1795424400", "", "2026-13-01T00:00:00Z"] {
        app.get(&format!("/.well-known/revocations?since={since}"), None).await.refuses(422, "validation_failed", "");
    }
}

#[tokio::test]
async fn no_token_with_the_old_roles_is_younger_than_the_entry() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let user = account::find(&app.app, "john").await.unwrap();
    // A change whose request came first and was written last: meanwhile a token was issued, once by rotation, once
    // because the answer had been lost.
    let before = app.app.clock.now();
    for (retry, roles) in [(false, "editor"), (true, "editor2")] {
        app.sleep(2);
        let token = app.refresh(&pair.refresh).await.access;
        let user = account::find(&app.app, "john").await.unwrap();
        app.change(before, &user, add(roles)).await;
        app.sleep(1);
        let listed = list(&app, "").await.json()["subjects"][0]["not_before"].as_str().unwrap().to_owned();
        let iat = super::forge::parts(&token).1["iat"].as_i64().unwrap();
        assert!(iat < hallpass::model::Time::parse(&listed).unwrap().unix(), "retry {retry}");
    }
    app.remove(before, &user).await;
    app.sleep(1);
    let listed = list(&app, "").await.json()["subjects"][0]["not_before"].clone();
    assert_eq!(listed, "2026-11-23T09:00:06Z", "never earlier than it was");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_no_list() {
    let app = TestApp::new().await;
    list(&app, "").await;
    app.app.store.close().await;
    app.sleep(1);
    app.get("/.well-known/revocations", None).await.refuses(503, "storage_unavailable", "");
}
