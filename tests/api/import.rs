//! Accounts from somewhere else: their lines, and their first logins.

use hallpass::{
    auth::import::{Export, Import, Line, Outcome, Status},
    model::Time,
};
use serde_json::json;

use super::app::{PASSWORD, START, TestApp};

const NOW: Time = Time::from_unix(START);
/// Of `correct horse é`: `bcrypt.hashpw(…, gensalt(4))` of Python's bcrypt 5.0.0.
const BCRYPT: &str = "$2b$04$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS";
const STORED: &str = "SELECT password_hash FROM users";

async fn take(app: &TestApp, import: &mut Import, lines: &[&str]) -> Vec<Outcome> {
    let lines: Vec<Line<'_>> = lines.iter().map(|line| Line::Whole(line.as_bytes())).collect();
    import.take(&app.app, NOW, &lines).await.unwrap()
}

async fn import(app: &TestApp, lines: &[&str]) -> Vec<Outcome> {
    take(app, &mut Import::new(), lines).await
}

/// An account that has to be added.
async fn add(app: &TestApp, username: &str, hash: &str) {
    let line = json!({"username": username, "password_hash": hash}).to_string();
    let outcomes = import(app, &[&line]).await;
    assert_eq!(outcomes[0].status, Status::Added, "{outcomes:?}");
}

fn told(outcome: &Outcome) -> String {
    let errors: Vec<String> = outcome.errors.iter().map(|e| format!("{} {}", e.pointer, e.detail)).collect();
    let name = outcome.username.as_deref().unwrap_or("-");
    format!("{} {name} {}", outcome.status.as_str(), errors.join("; ")).trim_end().to_owned()
}

async fn exported(app: &TestApp) -> Vec<String> {
    let (mut export, mut lines) = (Export::begin(&app.app, NOW).await.unwrap(), Vec::new());
    loop {
        let page = export.next(&app.app).await.unwrap();
        if page.is_empty() {
            return lines;
        }
        lines.extend(page.iter().map(|record| serde_json::to_string(record).unwrap()));
    }
}

#[tokio::test]
async fn a_foreign_hash_is_made_anew_at_the_first_login_and_only_then() {
    let app = TestApp::new().await;
    for (name, hash, password) in [
        ("bcrypt", BCRYPT, "correct horse \u{e9}"),
        (
            "firebase",
            "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
            "user1password",
        ),
        (
            "django",
            "pbkdf2_sha256$1000$saltsaltsalt$HpSbrkBrDWDAB9HrNXHZggikF+GO3Q6ksWrO0IeZG4M=",
            "correct horse \u{e9}",
        ),
        (
            "scrypt",
            "$scrypt$ln=10,r=8,p=1$uhfC2JvTeg+h9J7TWus9pw$BAefOAIEztUpCFyWohyTCzZg4RtRD945gniNH8Nq92Q",
            "correct horse \u{e9}",
        ),
        // What follows is argon2-cffi 25.1.0's, with costs of its own.
        (
            "argon2i",
            "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$+O8F4n2320yoOi7NiLf7Ziq8ZW9vU29pKpmVxwnI2J0",
            "correct horse \u{e9}",
        ),
        (
            "argon2d",
            "$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$DdPpbSq46KxsL3LT6Bkdr4Q0LUxj7KkzQ7oJC5v9XkY",
            "correct horse \u{e9}",
        ),
        (
            "argon2id-16",
            "$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$8GQoTpr5K8TWtezS4/yHF7woKmtzI1xz",
            "correct horse \u{e9}",
        ),
        (
            "argon2i-16",
            "$argon2i$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$ouCWUPNgEauZhVzdJsXtnGV5PdBLA6f2",
            "correct horse \u{e9}",
        ),
        (
            "django-argon2",
            "argon2$argon2id$v=19$m=64,t=1,p=2$c2FsdHNhbHRzYWx0$rlUCbEADXxVqD3Mz6ij0wpxLFrDDc1BSL131p7N2HJ0",
            "correct horse \u{e9}",
        ),
        // `admin1` of the realm that Solo.io's workshops import into Keycloak.
        (
            "keycloak",
            "$argon2id$v=19$m=7168,t=5,p=1$Cf9AYCE5pAbb4CKEF0GUTA$BruFLfFkjH/8erZ26NnrbkOrWiZuQyDRCHD9o0R6Scg",
            "password",
        ),
    ] {
        add(&app, name, hash).await;
        app.try_login(name, "wrong").await.refuses(401, "invalid_credentials", "");
        assert_eq!(app.text(STORED).await, hash, "{name}: a failure");
        assert_eq!(app.try_login(name, password).await.status, 200, "{name}");
        let stored = app.text(STORED).await;
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$") && stored != hash, "{name}: {stored}");
        app.try_login(name, "wrong").await.refuses(401, "invalid_credentials", "");
        assert_eq!(app.try_login(name, password).await.status, 200, "{name}");
        assert_eq!(app.text(STORED).await, stored, "{name}");
        app.sql("DELETE FROM users").await;
    }
}

#[tokio::test]
async fn a_password_that_bcrypt_cut_counts_whole_from_the_first_login_on() {
    let app = TestApp::new().await;
    // `bcrypt.hashpw(b"a" * 72, gensalt(4))`
    add(&app, "john", "$2b$04$bMY0NK4K/PdoLwFPlduede4nBYoI0zPjkJS.6TFttzTsL3Y0Svhpu").await;
    let a = |rest: &str| "a".repeat(72) + rest;
    assert_eq!(app.try_login("john", &a("XY")).await.status, 200);
    for other in [a(""), a("X"), a("XZ")] {
        app.try_login("john", &other).await.refuses(401, "invalid_credentials", "");
    }
    assert_eq!(app.try_login("john", &a("XY")).await.status, 200);
}

#[tokio::test]
async fn passwords_that_nobody_could_choose_here_log_in_as_they_did() {
    let app = TestApp::new().await;
    for (password, is_renewed) in
        [("abc", true), ("cafe\u{301}", true), ("zero\u{200b}width", false), ("tab\tbed", false)]
    {
        let hash = format!("pbkdf2_sha256$1$saltsalt${}", derived(password));
        add(&app, "john", &hash).await;
        let login = app.try_login("john", password).await;
        assert_eq!(login.status, 200, "{password:?}");
        assert_eq!(app.text(STORED).await.starts_with("$argon2id$"), is_renewed, "{password:?}");
        assert_eq!(app.try_login("john", password).await.status, 200, "{password:?}: again");
        // And is the one to give when it is changed.
        let token = login.json()["access_token"].as_str().unwrap().to_owned();
        let change = json!({"current_password": password, "new_password": PASSWORD});
        let answer = app.call(poem::http::Method::POST, "/password/change", &token, Some(&change)).await;
        assert_eq!(answer.status, 204, "{password:?}");
        assert_eq!(app.try_login("john", PASSWORD).await.status, 200, "{password:?}");
        app.try_login("john", password).await.refuses(401, "invalid_credentials", "");
        app.sql("DELETE FROM users").await;
    }
    // Nobody logs in with no password.
    add(&app, "john", &format!("pbkdf2_sha256$1$saltsalt${}", derived(""))).await;
    app.try_login("john", "").await.refuses(401, "invalid_credentials", "");
}

/// What another program would have hashed: the text as it was typed.
fn derived(password: &str) -> String {
    use aws_lc_rs::pbkdf2;
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut tag = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, std::num::NonZeroU32::MIN, b"saltsalt", password.as_bytes(), &mut tag);
    STANDARD.encode(tag)
}

#[tokio::test]
async fn damaged_foreign_hashes_refuse_the_login_and_nothing_else() {
    let app = TestApp::new().await;
    app.register("john").await;
    for statement in [
        "UPDATE users SET password_hash = '$2b$31$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS'",
        "UPDATE users SET password_hash = '$2b$04$éééééééééééééééééééééééééééééééééééééééééééééééééééééé'",
        "UPDATE users SET password_hash = '$scrypt$ln=30,r=32,p=32$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'",
        "UPDATE users SET password_hash = 'pbkdf2_sha256$4294967295$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='",
        "UPDATE users SET password_hash = '$fbscrypt$v=1,n=14,r=8,p=1$$'",
        "UPDATE users SET password_hash = 'argon2$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA'",
    ] {
        app.sql(statement).await;
        app.try_login("john", PASSWORD).await.refuses(401, "invalid_credentials", "Invalid username or password");
    }
}

#[tokio::test]
async fn each_line_is_judged_by_itself_and_the_outcome_holds_nothing_of_it() {
    let app = TestApp::new().await;
    app.register("Taken").await;
    let long = "x".repeat(17_000);
    let canary = "c4n4ry";
    let rows = [
        (r#"{"username": "anna"}"#.to_owned(), "added anna"),
        (r#"{"username": "TAKEN"}"#.to_owned(), "exists TAKEN"),
        (r#"{"username": "anna"}"#.to_owned(), "exists anna"),
        (r#"{"username": "admin", "roles": ["admin", "editor"]}"#.to_owned(), "added admin"),
        (json!({"username": "many", "roles": vec!["admin"; 32]}).to_string(), "added many"),
        (
            r#"{"username": "bert", "email": "Bert@Example.org", "email_verified": true, "disabled": true,
                "created_at": "2020-01-02T03:04:05Z", "roles": [], "password_hash": null}"#
                .replace('\n', " "),
            "added bert",
        ),
        (
            r#"{"username": "carl", "email": "bert@example.org", "email_verified": true}"#.to_owned(),
            "invalid carl /email another account has proved this address",
        ),
        (r#"{"username": "dora", "email": "bert@example.org"}"#.to_owned(), "added dora"),
        ("nonsense c4n4ry".to_owned(), "invalid -  is not JSON in UTF-8"),
        (r#"["c4n4ry"]"#.to_owned(), "invalid -  is not an object with the members of an account"),
        ("{}".to_owned(), "invalid - /username is required"),
        (r#"{"username": "x", "c4n4ry": 1}"#.to_owned(), "invalid -  has a member that is not known"),
        (r#"{"username": "x", "username": "c4n4ry"}"#.to_owned(), "invalid -  has a member twice"),
        (r#"{"username": "x", "disabled": "c4n4ry"}"#.to_owned(), "invalid - /disabled must be true or false"),
        (r#"{"username": "x", "roles": "c4n4ry"}"#.to_owned(), "invalid - /roles must be an array"),
        (
            r#"{"username": "c4n4ry@example.org"}"#.to_owned(),
            "invalid - /username has a character that a user name cannot have",
        ),
        (
            r#"{"username": "x", "password_hash": "c4n4ry", "roles": ["C4N4RY c4n4ry"], "email": "c4n4ry",
                "created_at": "c4n4ry"}"#
                .replace('\n', " "),
            "invalid x /email must be one plain e-mail address; /password_hash is no password hash of a known scheme; \
             /roles has a name that no role can have; \
             /created_at must be a time that has been, as 2026-11-23T09:00:00Z",
        ),
        (
            json!({"username": "x", "roles": (0..33).map(|n| format!("r{n}")).collect::<Vec<_>>()}).to_string(),
            "invalid x /roles has more roles than a token has room for",
        ),
        (r#"{"username": "x", "email_verified": true}"#.to_owned(), "invalid x /email_verified is true of no address"),
        (
            r#"{"username": "x", "created_at": "2999-01-01T00:00:00Z"}"#.to_owned(),
            "invalid x /created_at must be a time that has been, as 2026-11-23T09:00:00Z",
        ),
        (
            r#"{"username": "x", "password_hash": "$2b$31$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS"}"#
                .to_owned(),
            "invalid x /password_hash is a password hash that costs more than is allowed",
        ),
    ];
    let lines: Vec<&str> = rows.iter().map(|(line, _)| line.as_str()).collect();
    // A rehearsal says what then happens, and changes nothing.
    let rehearsed = take(&app, &mut Import::rehearsal(), &lines).await;
    assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM users").await, "1");
    for (outcomes, word) in [(rehearsed, "would_add"), (import(&app, &lines).await, "added")] {
        for (outcome, (line, expected)) in outcomes.iter().zip(&rows) {
            let told = told(outcome);
            assert_eq!(told, expected.replace("added", word), "{line}");
            assert!(!told.to_lowercase().contains(canary), "{told}");
        }
    }
    let mut import = Import::new();
    let odd = [Line::Whole(b"{\"username\": \"\xff\"}"), Line::TooLong, Line::Whole(long.as_bytes())];
    let outcomes = import.take(&app.app, NOW, &odd).await.unwrap();
    assert_eq!(told(&outcomes[0]), "invalid -  is not JSON in UTF-8");
    assert_eq!(told(&outcomes[1]), "invalid -  is longer than 16 KiB");
    let bert = "SELECT email || ' ' || roles || ' ' || created_at || ' ' || (disabled_at IS NOT NULL) || ' ' ||
                (email_verified_at IS NOT NULL) FROM users WHERE username = 'bert'";
    assert_eq!(app.text(bert).await, "Bert@example.org user 1577934245 1 1");
}

#[tokio::test]
async fn an_import_that_is_run_again_adds_what_is_missing() {
    let app = TestApp::new().await;
    let lines: Vec<String> = (0..600).map(|n| json!({"username": format!("user{n}")}).to_string()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let first = import(&app, &lines[..300]).await;
    assert!(first.iter().all(|outcome| outcome.status == Status::Added));
    let again = import(&app, &lines).await;
    assert!(again[..300].iter().all(|outcome| outcome.status == Status::Exists));
    assert!(again[300..].iter().all(|outcome| outcome.status == Status::Added));
}

#[tokio::test]
async fn an_import_has_one_row_in_the_audit_log() {
    let app = TestApp::new().await;
    let rows = "SELECT COALESCE(GROUP_CONCAT(event || ' ' || count || ' ' || outcome), '') FROM audit WHERE event LIKE 'users_%'";
    let mut one = Import::new();
    take(&app, &mut one, &["nonsense"]).await;
    take(&app, &mut Import::rehearsal(), &[r#"{"username": "anna"}"#]).await;
    assert_eq!(app.text(rows).await, "", "nothing was changed");
    take(&app, &mut one, &[r#"{"username": "anna"}"#, r#"{"username": "bert"}"#]).await;
    take(&app, &mut one, &[r#"{"username": "anna"}"#, r#"{"username": "carl"}"#]).await;
    assert_eq!(app.text(rows).await, "users_imported 3 done");
    import(&app, &[r#"{"username": "dora"}"#]).await;
    assert_eq!(app.text(rows).await, "users_imported 3 done,users_imported 1 done");
    exported(&app).await;
    assert!(app.text(rows).await.ends_with(",users_exported 1 done"));
}

#[tokio::test]
async fn what_is_exported_comes_back_as_it_was() {
    let app = TestApp::new().await;
    app.register("Zoë").await;
    let lines = [
        json!({"username": "Anna", "email": "Anna@example.org", "email_verified": true, "password_hash": BCRYPT}),
        json!({"username": "bert", "email": "claimed@example.org", "roles": ["admin", "x-1"], "disabled": true}),
        json!({"username": "Иван", "created_at": "1999-12-31T23:59:59Z"}),
    ];
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    import(&app, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let more: Vec<String> = (0..1_001).map(|n| json!({"username": format!("user{n}")}).to_string()).collect();
    import(&app, &more.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let before = exported(&app).await;
    assert_eq!(before.len(), 1_005);
    assert!(before.iter().any(|line| line.contains(BCRYPT)) && before.iter().any(|line| line.contains("$argon2id$")));
    assert!(before.contains(
        &r#"{"username":"bert","email":"claimed@example.org","email_verified":false,"roles":["user","admin","x-1"],"disabled":true,"created_at":"2026-11-23T09:00:00Z"}"#
            .to_owned()
    ), "{}", before[1]);

    let other = TestApp::new().await;
    let outcomes = import(&other, &before.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Added));
    assert_eq!(exported(&other).await, before);
    assert_eq!(other.try_login("zoë", PASSWORD).await.status, 200);
    assert_eq!(other.try_login("anna@example.org", "correct horse \u{e9}").await.status, 200);
    other.try_login("bert", PASSWORD).await.refuses(401, "invalid_credentials", "");
}
