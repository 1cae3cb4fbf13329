//! What admins may do, and for how long they are admins.

mod change;
mod email;
mod guard;
mod list;

use hallpass::{
    auth::account,
    model::Roles,
    store::{Changes, NewRoles, Search},
};
use poem::http::Method;
use serde_json::Value;

use super::app::{Answer, Pair, TestApp};

/// An admin's account and session.
async fn as_admin(app: &TestApp, name: &str) -> (String, Pair) {
    let id = app.register(name).await["id"].as_str().unwrap().to_owned();
    let user = account::find(&app.app, name).await.unwrap();
    app.change(app.app.clock.now(), &user, Changes::roles(NewRoles::Add(Roles::one("admin").unwrap()))).await;
    (id, app.open(name).await)
}

async fn patch(app: &TestApp, token: &str, id: &str, body: Value) -> Answer {
    app.call(Method::PATCH, &format!("/admin/users/{id}"), token, Some(&body)).await
}

async fn add(app: &TestApp, token: &str, body: Value) -> Answer {
    app.call(Method::POST, "/admin/users", token, Some(&body)).await
}

/// The names on a page, and its cursor.
async fn page(app: &TestApp, token: &str, query: &str) -> (Vec<String>, Option<String>) {
    let answer = app.get(&format!("/admin/users?{query}"), Some(token)).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let page = answer.json();
    let names = page["items"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned());
    (names.collect(), page["next_cursor"].as_str().map(str::to_owned))
}

/// The names on all pages.
async fn pages(app: &TestApp, token: &str, query: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let at = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let (names, next) = page(app, token, &format!("{query}{at}")).await;
        all.extend(names);
        match next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

/// Since a row: the events and how often.
async fn events(app: &TestApp, target: &str) -> Vec<String> {
    let search = Search { target: Some(target.to_owned()), ..Search::default() };
    app.app.store.audit(search, 100).await.unwrap().into_iter().rev().map(|row| row.event).collect()
}
