//! Accounts and the audit log, page by page.

use hallpass::auth::account;
use serde_json::json;

use super::{super::app::TestApp, add, as_admin, page, pages, patch};

#[tokio::test]
async fn accounts_are_found_by_the_beginning_of_their_name_or_address() {
    let app = TestApp::with(&[("HASH_QUEUE", "100")]).await;
    let (_, pair) = as_admin(&app, "alice").await;
    for (name, email) in [
        ("Jane", Some("x.jane@example.org")),
        ("janet", Some("Jan@example.org")),
        ("john", Some("janus@example.org")),
        ("zoe", Some("jan@example.org")),
        ("zo%", None),
        ("zo_", None),
        ("\u{e9}mile", None),
    ] {
        let mut form = json!({"username": name});
        if let Some(email) = email {
            form["email"] = json!(email);
        }
        // Of two at one address the older one comes first.
        app.sleep(1);
        assert_eq!(add(&app, &pair.access, form).await.status, 201, "{name}");
    }
    for (query, names) in [
        ("", &["alice", "Jane", "janet", "john", "zo%", "zo_", "zoe", "\u{e9}mile"][..]),
        ("query=", &["alice", "Jane", "janet", "john", "zo%", "zo_", "zoe", "\u{e9}mile"]),
        // By name first, then those by address that were not found by name, by address.
        ("query=JAN", &["Jane", "janet", "zoe", "john"]),
        ("query=janet", &["janet"]),
        ("query=jan@", &["janet", "zoe"]),
        ("query=Jan@EXAMPLE.org", &["janet", "zoe"]),
        ("query=x.", &["Jane"]),
        ("query=ane", &[]),
        ("query=zo%25", &["zo%"]),
        ("query=zo_", &["zo_"]),
        ("query=%25", &[]),
        ("query=%C3%89MI", &["\u{e9}mile"]),
        ("query=e%CC%81m", &["\u{e9}mile"]),
        ("query=a%20b", &[]),
        ("query=%F4%8F%BF%BF", &[]),
    ] {
        assert_eq!(page(&app, &pair.access, query).await.0, names, "{query}");
        assert_eq!(
            pages(&app, &pair.access, format!("{query}&limit=1").trim_start_matches('&')).await,
            names,
            "{query}"
        );
        assert_eq!(
            pages(&app, &pair.access, format!("{query}&limit=2").trim_start_matches('&')).await,
            names,
            "{query}"
        );
        let all = format!("{query}&limit={}", names.len().max(1));
        assert_eq!(page(&app, &pair.access, all.trim_start_matches('&')).await.1, None, "{query}: there is no more");
    }
}

#[tokio::test]
async fn pages_stay_right_while_accounts_come_and_go() {
    let app = TestApp::with(&[("HASH_QUEUE", "100")]).await;
    let (_, pair) = as_admin(&app, "alice").await;
    for n in 0..20 {
        add(&app, &pair.access, json!({"username": format!("n{n:02}"), "email": format!("n{n:02}@example.org")})).await;
    }
    for query in ["query=n", "query=n0&limit=3", "limit=3"] {
        let all = pages(&app, &pair.access, query).await;
        let mut distinct = all.clone();
        distinct.dedup();
        assert_eq!(all, distinct);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for round in 0.. {
        let (names, next) = page(&app, &pair.access, &format!("query=n&limit=3{cursor}")).await;
        // The last of this page goes, and one comes before it and one after all.
        let last = account::find(&app.app, names.last().unwrap()).await.unwrap();
        app.remove(app.app.clock.now(), &last).await;
        for name in [format!("n0{round}a"), format!("nz{round}")] {
            if round < 3 {
                assert_eq!(add(&app, &pair.access, json!({"username": name})).await.status, 201);
            }
        }
        seen.extend(names);
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let there: Vec<&String> =
        seen.iter().filter(|name| name.len() == 3 && name.starts_with("n0") || name.starts_with("n1")).collect();
    let old: Vec<String> = (0..20).map(|n| format!("n{n:02}")).collect();
    assert!(old.iter().all(|name| there.contains(&name)), "each that was there from the beginning: {seen:?}");
    assert!(seen.is_sorted(), "{seen:?}");
    let mut distinct = seen.clone();
    distinct.dedup();
    assert_eq!(seen, distinct, "and none twice");
    assert!((0..3).all(|n| seen.contains(&format!("nz{n}"))), "and those that came after: {seen:?}");
}

#[tokio::test]
async fn a_page_has_a_size_and_a_cursor_is_of_its_list() {
    let app = TestApp::with(&[("HASH_QUEUE", "100")]).await;
    let (_, pair) = as_admin(&app, "alice").await;
    for n in 0..4 {
        add(&app, &pair.access, json!({"username": format!("n{n}")})).await;
    }
    let cursor = page(&app, &pair.access, "limit=1&query=n").await.1.unwrap();
    let all = page(&app, &pair.access, "limit=1").await.1.unwrap();
    let audit = app.get("/admin/audit?limit=1", Some(&pair.access)).await.json()["next_cursor"].clone();
    let audit = audit.as_str().unwrap();
    assert_eq!(page(&app, &pair.access, &format!("limit=9&query=n&cursor={cursor}")).await.0, ["n1", "n2", "n3"]);
    let mut refused =
        vec![format!("cursor={cursor}"), format!("query=N&cursor={cursor}"), format!("query=n&cursor={all}")];
    refused.extend(
        ["0", "-1", "101", "1000000000", "99999999999999999999", "x", "1.5", "%20", "1e1"]
            .map(|n| format!("limit={n}")),
    );
    refused.extend(
        ["", "x", "AAAA", "%00", "bjE", &"A".repeat(2_000), audit].map(|text| format!("query=n&cursor={text}")),
    );
    for at in 0..cursor.len() {
        let mut forged = cursor.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        refused.push(format!("query=n&cursor={}", String::from_utf8(forged).unwrap()));
        refused.push(format!("query=n&cursor={}", &cursor[..at]));
    }
    refused.extend(["limit=1&limit=2", "size=1", "query=a&query=b", "Limit=1"].map(str::to_owned));
    refused.extend([format!("query={}", "a".repeat(300)), "query=%00".to_owned(), "%00".to_owned()]);
    for query in &refused {
        app.get(&format!("/admin/users?{query}"), Some(&pair.access)).await.refuses(422, "validation_failed", "");
    }
    for query in [
        "limit=0",
        "limit=-1",
        "limit=101",
        "limit=1000000000",
        "cursor=x",
        "cursor=",
        "query=x",
        "event=a&event=b",
        "event=%00",
    ] {
        app.get(&format!("/admin/audit?{query}"), Some(&pair.access)).await.refuses(422, "validation_failed", "");
    }
    for other in [&cursor, &all] {
        let path = format!("/admin/audit?cursor={other}");
        app.get(&path, Some(&pair.access)).await.refuses(422, "validation_failed", "");
    }
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page_and_by_target_and_event() {
    let app = TestApp::new().await;
    let (alice, pair) = as_admin(&app, "alice").await;
    let (user, _) = app.as_user("john").await;
    let john = user["id"].as_str().unwrap();
    app.try_login("john", "wrong wrong wrong").await;
    let wrong = app.try_login("nobody at all", "wrong wrong wrong").await;
    patch(&app, &pair.access, john, json!({"disabled": true})).await;
    let read = async |query: &str| {
        let answer = app.get(&format!("/admin/audit?{query}"), Some(&pair.access)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let all = read("limit=100").await["items"].as_array().unwrap().clone();
    let events: Vec<&str> = all.iter().map(|row| row["event"].as_str().unwrap()).collect();
    // Refusals wait for their turn.
    let expected = [
        "login_failed",
        "login_failed",
        "user_disabled",
        "login",
        "register",
        "login",
        "roles_set",
        "register",
        "signing_key_switched",
    ];
    assert_eq!(events, expected);
    let row = &all[2];
    assert_eq!((&row["actor"], &row["target"], &row["outcome"]), (&json!(alice), &json!(john), &json!("done")));
    assert_eq!((&row["address"], &row["count"]), (&json!("127.0.0.1"), &json!(1)));
    let failed = &all[0];
    assert_eq!((&failed["actor"], &failed["target"]), (&json!(null), &json!(null)));
    assert_eq!((&failed["outcome"], &failed["request_id"]), (&json!("unknown"), &json!(wrong.header("x-request-id"))));
    assert_eq!(read(&format!("target={john}")).await["items"].as_array().unwrap().len(), 4);
    assert_eq!(read(&format!("target={john}&event=login")).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(read("event=login").await["items"].as_array().unwrap().len(), 2);
    assert_eq!(read("event=x").await, json!({"items": [], "next_cursor": null}));
    for filter in ["", "&event=login", &format!("&target={john}")] {
        let whole = read(&format!("limit=100{filter}")).await["items"].as_array().unwrap().clone();
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = read(&format!("limit=2{filter}{cursor}")).await;
            paged.extend(page["items"].as_array().unwrap().clone());
            // What is written meanwhile is on no later page.
            app.login("alice").await;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{filter}");
    }
}
