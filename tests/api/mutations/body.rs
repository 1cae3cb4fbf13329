//! Bodies.

use poem::{Request, http::Method};
use serde_json::{Map, Value, json};

use super::{Random, is_sound, rounds, seed};
use crate::app::{PASSWORD, TestApp};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

struct Case {
    method: Method,
    path: String,
    media: &'static str,
    body: Vec<u8>,
    has_token: bool,
}

impl Case {
    fn json(method: Method, path: impl Into<String>, body: &Value, has_token: bool) -> Self {
        Self { method, path: path.into(), media: JSON, body: body.to_string().into_bytes(), has_token }
    }
}

fn cases(bob: &str, refresh: &str) -> Vec<Case> {
    let (mail, link) = ("jane@example.org", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let post = |path: &str, body: Value| Case::json(Method::POST, path, &body, false);
    let with_token = |path: &str, body: Value| Case::json(Method::POST, path, &body, true);
    let form = |path: &str, body: String| Case {
        method: Method::POST,
        path: path.to_owned(),
        media: FORM,
        body: body.into_bytes(),
        has_token: false,
    };
    vec![
        post("/login", json!({"username": "bob", "password": PASSWORD})),
        post("/register", json!({"username": "jane", "password": PASSWORD, "email": mail})),
        post("/refresh", json!({"refresh_token": refresh})),
        post("/logout", json!({"refresh_token": refresh})),
        post("/password/forgot", json!({"email": mail})),
        post("/password/reset", json!({"token": link, "new_password": PASSWORD})),
        post("/password/reset", json!({"email": mail, "code": "01234567", "new_password": PASSWORD})),
        post("/email/verify", json!({"token": link})),
        post("/email/verify", json!({"email": mail, "code": "0123-4567"})),
        post("/email/resend", json!({"email": mail})),
        // A wrong password, so that nothing comes of it.
        with_token("/password/change", json!({"current_password": "another one", "new_password": PASSWORD})),
        with_token("/email/change", json!({"password": "another one", "email": mail})),
        with_token("/me/delete", json!({"password": "another one"})),
        with_token(
            "/admin/users",
            json!({"username": "june", "email": mail, "password": PASSWORD, "roles": ["editor"]}),
        ),
        Case::json(
            Method::PATCH,
            format!("/admin/users/{bob}"),
            &json!({"disabled": false, "roles": ["user", "editor"], "email": mail}),
            true,
        ),
        form("/verify", format!("token={link}")),
        form("/reset", format!("token={link}&new_password={}", PASSWORD.replace(' ', "+"))),
    ]
}

/// Another member, another type, none: still JSON, or nearly.
fn restructure(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(body) else { return body.to_vec() };
    let names: Vec<String> = object.keys().cloned().collect();
    let name = random.of(&names).clone();
    let value = object[&name].clone();
    let values = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("x".repeat(1 << random.below(15))),
        json!("\u{0}"),
        json!("\u{e9}\u{301}\u{200d}\u{1f469}"),
        json!([value]),
        json!({"$ne": value}),
        json!({&name: value}),
        (0..random.below(200)).fold(json!(1), |inner, _| json!([inner])),
    ];
    match random.below(6) {
        0 => drop(object.remove(&name)),
        1 | 2 => drop(object.insert(name, random.of(&values).clone())),
        3 => drop(object.insert(random.of(&["x", "id", "roles", "__proto__", "email_verified"]).to_string(), value)),
        4 => {
            let text = json!(object).to_string();
            // The same member twice.
            return format!("{},{}:{value}}}", &text[..text.len() - 1], json!(name)).into_bytes();
        }
        _ => object = object.into_iter().rev().collect::<Map<_, _>>(),
    }
    json!(object).to_string().into_bytes()
}

#[tokio::test]
async fn no_mutated_body_is_answered_with_a_5xx() {
    let app = TestApp::new().await;
    let (john, carol) = (app.as_session("john").await, app.as_session("carol").await);
    let bob = app.register("bob").await["id"].as_str().unwrap().to_owned();
    app.sql("UPDATE users SET roles = 'user admin' WHERE username_key = 'john'").await;
    let cases = cases(&bob, &carol.refresh);
    let bodies: Vec<Vec<u8>> = cases.iter().map(|case| case.body.clone()).collect();
    let mut random = Random::new(seed() ^ 3);
    for round in 0..rounds() / 3 {
        let case = random.of(&cases);
        let mut body = case.body.clone();
        if random.below(2) == 0 {
            body = restructure(&mut random, &body);
        }
        if random.below(4) != 0 {
            random.mutate(&mut body, &bodies);
        }
        let mut request = Request::builder().method(case.method.clone()).uri_str(&case.path).content_type(case.media);
        if case.has_token {
            request = request.header("authorization", format!("Bearer {}", john.access));
        }
        let answer = app.send(request.body(body.clone())).await;
        let what = format!("{} {} {}", case.method, case.path, String::from_utf8_lossy(&body));
        is_sound(&answer, round, &what);
        // What is no JSON object reaches no rule. An empty body is one that need not be there.
        let is_object = serde_json::from_slice::<Map<String, Value>>(&body).is_ok();
        if case.media == JSON && !is_object && !(body.is_empty() && case.path == "/logout") {
            let is_refused = [400, 413, 422].contains(&answer.status);
            assert!(is_refused, "seed {} round {round}: {what}: {}", seed(), answer.status);
        }
    }
    // Nothing of it was right enough to end a session that is not its own.
    assert_eq!(app.verdict(&john.access).await, "ok");
}
