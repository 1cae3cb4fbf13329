//! Making accounts.

use hallpass::{
    auth::account,
    error::Error,
    model::{By, MailKind},
};
use poem::{Request, http::Method};
use serde_json::json;

use super::app::{PASSWORD, TestApp};

#[tokio::test]
async fn a_registered_user_is_a_row_with_an_argon2id_hash() {
    let app = TestApp::new().await;
    let form = json!({"username": "Jane", "password": PASSWORD, "email": "Jane@B\u{fc}cher.example"});
    let answer = app.post("/register", &form).await;
    assert_eq!(answer.status, 201);
    let mut user = answer.json();
    let id = user.as_object_mut().unwrap().remove("id").unwrap();
    assert_eq!(
        user,
        json!({
            "username": "Jane", "email": "Jane@xn--bcher-kva.example", "email_verified": false,
            "roles": ["user"], "created_at": "2026-11-23T09:00:00Z",
        })
    );
    assert_eq!(app.text("SELECT id FROM users WHERE username_key = 'jane'").await, id.as_str().unwrap());
    assert_eq!(app.text("SELECT claimed_email_key FROM users").await, "jane@xn--bcher-kva.example");

    app.register("john").await;
    let hash = app.text("SELECT password_hash FROM users WHERE username_key = 'jane'").await;
    let fields: Vec<&str> = hash.split('$').collect();
    assert_eq!(fields[..4], ["", "argon2id", "v=19", "m=64,t=1,p=1"]);
    assert_eq!((fields[4].len(), fields[5].len()), (22, 43), "16 bytes of salt, 32 of tag");
    let other = app.text("SELECT password_hash FROM users WHERE username_key = 'john'").await;
    assert_ne!(hash, other, "the same password, another salt");
}

#[tokio::test]
async fn my_account_is_what_i_registered() {
    let app = TestApp::new().await;
    let (user, token) = app.as_user("Jane").await;
    let me = app.get("/me", Some(&token)).await;
    assert_eq!((me.status, me.json()), (200, user));
    app.get("/me", None).await.refuses(401, "not_authenticated", "Not authenticated");
    // Read from the database, not from the token.
    app.sql("UPDATE users SET roles = 'user admin'").await;
    assert_eq!(app.get("/me", Some(&token)).await.json()["roles"], json!(["user", "admin"]));
}

#[tokio::test]
async fn what_cannot_be_an_account_is_refused_and_named() {
    let app = TestApp::new().await;
    let long = "x".repeat(257);
    for (form, invalid) in [
        (json!({"username": "", "password": PASSWORD}), "/username: must have 1 to 64 characters"),
        (json!({"username": "a b", "password": PASSWORD}), "/username: has a character that a user name cannot have"),
        (
            json!({"username": "a@b.example", "password": PASSWORD}),
            "/username: has a character that a user name cannot have",
        ),
        (json!({"username": "\u{430}dmin", "password": PASSWORD}), "/username: must not mix scripts"),
        (json!({"username": "Admin", "password": PASSWORD}), "/username: is reserved"),
        (json!({"username": "jane", "password": "fourteen chars"}), "/password: must have at least 15 characters"),
        (json!({"username": "jane", "password": long}), "/password: must have at most 256 characters and 1,024 bytes"),
        (
            json!({"username": "jane", "password": ""}),
            "/password: must not be empty, nor have control or invisible characters",
        ),
        (json!({"username": "jane", "password": " ".repeat(20)}), "/password: must have more than blanks"),
        (json!({"username": "jane", "password": "password12345678"}), "/password: is among the most common passwords"),
        (
            json!({"username": "jane.from.the.shop", "password": "Jane.from.the.shop"}),
            "/password: must not be the user name, the e-mail address or the name of this service",
        ),
        (
            json!({"username": "jane", "password": PASSWORD, "email": "a@b.example,c@d.example"}),
            "/email: must be one plain e-mail address",
        ),
        (
            json!({"username": "jane", "password": PASSWORD, "email": "a@b.example\r\nBcc: c@d.example"}),
            "/email: must be one plain e-mail address",
        ),
    ] {
        let answer = app.post("/register", &form).await;
        answer.refuses(422, "validation_failed", "");
        assert_eq!(answer.invalid(), [invalid]);
        assert!(!answer.text().contains(form["password"].as_str().filter(|p| !p.is_empty()).unwrap_or("\0")));
    }
    let answer = app.post("/register", &json!({"username": "root", "password": "", "email": ""})).await;
    assert_eq!(answer.invalid().len(), 3, "all that is wrong is named at once");
    assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM users").await, "0");
}

#[tokio::test]
async fn no_way_to_set_a_password_takes_a_common_one() {
    const LIST: &str = include_str!("../../src/auth/common-passwords.txt");
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    app.sql("UPDATE users SET roles = 'user admin'").await;
    let (token, proof) = (app.login("jane").await, app.forgot("jane@example.org").await.link());
    let long: Vec<&str> = LIST.lines().filter(|entry| entry.chars().count() >= 15).collect();
    assert!(long.len() >= 3_000);
    for (n, password) in long.iter().step_by(4).enumerate() {
        let answer = app.post("/register", &json!({"username": "john", "password": password})).await;
        assert_eq!(answer.invalid(), ["/password: is among the most common passwords"], "{password}");
        if !n.is_multiple_of(100) {
            continue;
        }
        let change = json!({"current_password": PASSWORD, "new_password": password});
        let add = json!({"username": "john", "password": password});
        for (answer, pointer) in [
            (app.call(Method::POST, "/password/change", &token, Some(&change)).await, "/new_password"),
            (app.reset(&proof, password).await, "/new_password"),
            (app.call(Method::POST, "/admin/users", &token, Some(&add)).await, "/password"),
        ] {
            assert_eq!(answer.invalid(), [format!("{pointer}: is among the most common passwords")], "{password}");
        }
    }
}

#[tokio::test]
async fn an_at_sign_of_another_width_makes_neither_a_name_nor_an_address() {
    let app = TestApp::new().await;
    app.own("jane", "jane@b.example").await;
    app.sql("UPDATE users SET roles = 'user admin'").await;
    let token = app.login("jane").await;
    let odd = "jane\u{ff20}b.example";
    let (name, email) = (json!({"username": odd, "password": PASSWORD}), json!({"email": odd}));
    let both = json!({"username": "john", "password": PASSWORD, "email": odd});
    let path = format!("/admin/users/{}", app.text("SELECT id FROM users").await);
    for answer in [
        app.post("/register", &name).await,
        app.post("/register", &both).await,
        app.post("/password/forgot", &email).await,
        app.post("/email/resend", &email).await,
        app.change_email(&token, PASSWORD, odd).await,
        app.call(Method::POST, "/admin/users", &token, Some(&name)).await,
        app.call(Method::POST, "/admin/users", &token, Some(&both)).await,
        app.call(Method::PATCH, &path, &token, Some(&email)).await,
    ] {
        answer.refuses(422, "validation_failed", "");
    }
    assert_eq!(app.try_login("jane@b.example", PASSWORD).await.status, 200);
    app.try_login(odd, PASSWORD).await.refuses(401, "invalid_credentials", "");
}

#[tokio::test]
async fn whose_account_it_is_the_token_alone_says() {
    let app = TestApp::new().await;
    let (jane, token) = app.as_user("jane").await;
    let (john, _) = app.as_user("john").await;
    let id = john["id"].as_str().unwrap();
    for query in [format!("user_id={id}"), format!("sub={id}"), "username=john".to_owned()] {
        let request =
            Request::builder().uri_str(format!("/me?{query}")).header("authorization", format!("Bearer {token}"));
        let request =
            request.header("x-user-id", id).header("x-forwarded-user", "john").header("x-remote-user", "john");
        assert_eq!(app.send(request.finish()).await.json(), jane, "{query}");
    }
    for member in ["user_id", "id", "sub", "username"] {
        for (path, mut body) in [
            ("/password/change", json!({"current_password": PASSWORD, "new_password": "eight blue lanterns"})),
            ("/me/delete", json!({"password": PASSWORD})),
            ("/email/change", json!({"password": PASSWORD, "email": "jane@example.org"})),
        ] {
            body[member] = json!(if member == "username" { "john" } else { id });
            let answer = app.call(Method::POST, path, &token, Some(&body)).await;
            assert_eq!(answer.invalid(), [": has a member that the operation does not know"], "{path} {member}");
        }
    }
    assert_eq!(app.try_login("john", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn the_shortest_password_is_a_setting() {
    let app = TestApp::with(&[("PASSWORD_MIN_LENGTH", "8")]).await;
    for (password, status) in [("7 chars", 422), ("8 lamps!", 201)] {
        let answer = app.post("/register", &json!({"username": "jane", "password": password})).await;
        assert_eq!(answer.status, status, "{password}");
    }
}

#[tokio::test]
async fn nobody_registers_what_only_the_operator_gives() {
    let app = TestApp::new().await;
    for member in ["id", "roles", "role", "email_verified", "disabled_at", "created_at", "password_hash"] {
        let mut form = json!({"username": "jane", "password": PASSWORD});
        form[member] = json!("admin");
        let answer = app.post("/register", &form).await;
        assert_eq!(answer.invalid(), [": has a member that the operation does not know"], "{member}");
    }
}

#[tokio::test]
async fn a_name_is_taken_in_every_spelling_of_it() {
    let app = TestApp::new().await;
    app.register("Zoë").await;
    for name in ["Zoë", "ZOË", "Zoe\u{308}", "Ｚoë"] {
        let answer = app.post("/register", &json!({"username": name, "password": PASSWORD})).await;
        answer.refuses(409, "username_taken", "");
    }
}

#[tokio::test]
async fn of_many_who_want_one_name_at_once_one_gets_it() {
    let app = TestApp::with(&[("HASH_QUEUE", "100")]).await;
    let form = json!({"username": "jane", "password": PASSWORD});
    let answers = futures_util::future::join_all((0..50).map(|_| app.post("/register", &form))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 49][..]));
}

#[tokio::test]
async fn no_password_is_made_of_what_everybody_knows_of_the_account() {
    let app = TestApp::with(&[("PUBLIC_URL", "https://Login.Example.com/auth")]).await;
    app.own("jane", "jane.of.the.lake@mail.example.org").await;
    let token = app.login("jane").await;
    let (server, now, by) = (&app.app, app.app.clock.now(), By::operator());
    for (password, is_bad) in [
        ("jane.of.the.lake@mail.example.org", true),
        ("Jane.of.the.lake1", true),
        ("mail.example.org", true),
        ("mail.example.org-2026", true),
        ("login.example.com", true),
        ("login.example.com/hallpass", true),
        ("jane of eleven violet lanterns", false),
        ("login to eleven lanterns", false),
    ] {
        let expected = if is_bad { 422 } else { 201 };
        let form = json!({"username": format!("joan{}", password.len()), "password": password,
                          "email": "jane.of.the.lake@mail.example.org"});
        assert_eq!(app.post("/register", &form).await.status, expected, "{password}");
        let user = account::find(server, "jane").await.unwrap();
        let set = account::set_password(server, now, &by, &user, password.to_owned()).await;
        assert_eq!(set.is_err(), is_bad, "{password}");
        account::set_password(server, now, &by, &user, PASSWORD.to_owned()).await.unwrap();
        let form = account::Addition {
            username: format!("june{}", password.len()),
            password: Some(password.to_owned()),
            email: Some("jane.of.the.lake@mail.example.org".to_owned()),
            roles: Vec::new(),
        };
        // Or else told that jane has proved it.
        let refused = matches!(account::add(server, now, &by, form).await, Err(Error::Validation(_)));
        assert_eq!(refused, is_bad, "{password}");
    }
    app.verdict(&token).await;
    let token = app.login("jane").await;
    let body = json!({"current_password": PASSWORD, "new_password": "mail.example.org-2026"});
    app.call(Method::POST, "/password/change", &token, Some(&body)).await.refuses(422, "validation_failed", "");
}

#[tokio::test]
async fn who_is_given_another_password_is_told() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    app.claim("june", "june@example.org").await;
    app.mails().await;
    let (server, now, by) = (&app.app, app.app.clock.now(), By::operator());
    for name in ["jane", "june"] {
        let user = account::find(server, name).await.unwrap();
        account::set_password(server, now, &by, &user, PASSWORD.to_owned()).await.unwrap();
    }
    let told = app.mail().await;
    assert_eq!((told.kind, told.to.as_str()), (MailKind::PasswordChanged, "jane@example.org"));
}

/// Whoever stole an account cannot hide that by deleting it.
#[tokio::test]
async fn who_is_deleted_is_told_and_of_what_came_before() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let token = app.login("jane").await;
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    let own = json!({"password": PASSWORD});
    assert_eq!(app.call(Method::POST, "/me/delete", &token, Some(&own)).await.status, 204);
    let mails = app.mails().await;
    let told: Vec<_> = mails.iter().map(|mail| (mail.kind, mail.to.as_str())).collect();
    let to = "jane@example.org";
    assert_eq!(told, [(MailKind::PasswordChanged, to), (MailKind::AccountDeleted, to)]);
    assert!(mails.iter().all(|mail| mail.text.contains("\"jane\"") && mail.token.is_empty()), "{mails:?}");
    assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM outbox").await, "0");

    // And if an operator deletes it.
    app.own("joan", "joan@example.org").await;
    let token = app.login("joan").await;
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    app.remove(app.app.clock.now(), &account::find(&app.app, "joan").await.unwrap()).await;
    let mails = app.mails().await;
    let told: Vec<_> = mails.iter().map(|mail| (mail.kind, mail.to.as_str())).collect();
    let to = "joan@example.org";
    assert_eq!(told, [(MailKind::PasswordChanged, to), (MailKind::AccountDeleted, to)]);
    assert!(mails.iter().all(|mail| mail.text.contains("\"joan\"")), "{mails:?}");

    // An address that nobody proved is told nothing.
    app.claim("june", "june@example.org").await;
    app.mails().await;
    let token = app.login("june").await;
    assert_eq!(app.call(Method::POST, "/me/delete", &token, Some(&own)).await.status, 204);
    app.claim("joel", "joel@example.org").await;
    app.mails().await;
    app.remove(app.app.clock.now(), &account::find(&app.app, "joel").await.unwrap()).await;
    assert!(app.mails().await.is_empty());
}
