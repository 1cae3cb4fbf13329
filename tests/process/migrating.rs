//! The recipes of docs/MIGRATING.md, as they stand there, on exports that were made up: what they make is imported, and
//! its people log in.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::program::{Server, text};

const MIGRATING: &str = include_str!("../../docs/MIGRATING.md");

/// The block of this language under a heading.
fn block(heading: &str, language: &str) -> &'static str {
    let section = MIGRATING.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let block = section.split(&format!("```{language}\n")).nth(1).unwrap();
    block.split("```").next().unwrap()
}

fn jq(folder: &Path, filter: &str, input: &Value, environment: &[(&str, &str)]) -> String {
    std::fs::write(folder.join("filter.jq"), filter).unwrap();
    std::fs::write(folder.join("export.json"), input.to_string()).unwrap();
    let mut jq = Command::new("jq");
    let output = jq.args(["-c", "-f", "filter.jq", "export.json"]).envs(environment.iter().copied());
    lines(&output.current_dir(folder).output().unwrap())
}

fn lines(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Imports what a recipe made. Each of these logs in with his password, by this name; those who have none do not.
async fn comes_along(server: &Server, made: &str, people: &[(&str, Option<&str>)]) {
    let output = server.run(&["user", "import", "-"], made);
    assert!(output.status.success(), "{made}{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).lines().all(|line| line.contains("\tadded\t")), "{}", text(&output.stdout));
    for (name, password) in people {
        assert_eq!(server.login(name, "some other password").await.0, 401, "{name}");
        let expected = if password.is_some() { 200 } else { 401 };
        let (status, answer) = server.login(name, password.unwrap_or("password")).await;
        assert_eq!(status, expected, "{name}: {answer}");
        // And again, with the hash that the first login made.
        assert_eq!(server.login(name, password.unwrap_or("password")).await.0, expected, "{name}");
    }
}

fn rows(made: &str) -> Vec<Value> {
    made.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
#[ignore = "needs jq; make interop runs it"]
async fn what_keycloak_exports_comes_along() {
    let server = Server::start(&[("LOG", "error")]);
    // Keycloak writes JSON into JSON.
    let credential = |kind: &str, secret: &Value, data: &Value| {
        let (secret, data) = (secret.to_string(), data.to_string());
        json!({"type": kind, "secretData": secret, "credentialData": data})
    };
    let pbkdf2 = credential(
        "password",
        &json!({"value": "JsfNbCOIdZUbyBJ+BT+VoGI91Ec2rWLOvkLPDaX8e9k=",
                "salt": "P5rtFkGtPfoaryJ6PizUJw==", "additionalParameters": {}}),
        &json!({"hashIterations": 27_500, "algorithm": "pbkdf2-sha256", "additionalParameters": {}}),
    );
    // `hashlib.pbkdf2_hmac("sha1", "correct horse é", b"0123456789abcdef", 1000, 64)`
    let sha1 = credential(
        "password",
        &json!({"value": "luj/dfvocExw3xl+r2xiB4MgltYa9SpXFH53gTCH9aPOTUv/wv5lvJVHrwYSkZJbcKeSAb4ncKFBitG2c+lIiQ==",
                "salt": "MDEyMzQ1Njc4OWFiY2RlZg=="}),
        &json!({"hashIterations": 1_000, "algorithm": "pbkdf2"}),
    );
    // `argon2.low_level.hash_secret_raw(b"password", b"saltsaltsaltsalt", 5, 7168, 1, 32, Type.ID)`, Keycloak's cost.
    let argon2 = credential(
        "password",
        &json!({"value": "7PCw6lTrVcqZB4uvMkl7NOUjxGtvALJ5SyYrIQAEWsc=",
                "salt": "c2FsdHNhbHRzYWx0c2FsdA==", "additionalParameters": {}}),
        &json!({"hashIterations": 5, "algorithm": "argon2", "additionalParameters": {
            "hashLength": ["32"], "memory": ["7168"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}}),
    );
    let otp = credential("otp", &json!({"value": "x"}), &json!({"subType": "totp"}));
    let realm = json!({"realm": "myrealm", "users": [
        {"id": "1", "username": "anna", "email": "anna@example.org", "emailVerified": true, "enabled": true,
         "createdTimestamp": 1_700_000_000_123_i64, "credentials": [otp, pbkdf2]},
        {"id": "2b6c", "username": "bert@example.org", "email": "bert@example.org", "emailVerified": true,
         "enabled": true, "credentials": [sha1]},
        {"id": "3", "username": "carl", "enabled": true, "emailVerified": false, "credentials": [argon2]},
        {"id": "4", "username": "dora", "enabled": false, "credentials": [pbkdf2]},
        {"id": "5", "username": "emil", "enabled": true},
        {"id": "6", "username": "service-account-x", "serviceAccountClientId": "x", "enabled": true},
    ]});
    let made = jq(server.folder.path(), block("From Keycloak", "jq"), &realm, &[]);
    assert_eq!(rows(&made).len(), 5);
    assert_eq!(rows(&made)[0]["created_at"], "2023-11-14T22:13:20Z");
    let people = [
        ("anna", Some("password")),
        ("anna@example.org", Some("password")),
        ("bert@example.org", Some("correct horse \u{e9}")),
        ("carl", Some("password")),
        ("dora", None),
        ("emil", None),
    ];
    comes_along(&server, &made, &people).await;
}

#[tokio::test]
#[ignore = "needs jq; make interop runs it"]
async fn what_firebase_exports_comes_along() {
    let server = Server::start(&[("LOG", "error")]);
    let command = block("From Firebase", "sh");
    let filter = command.split_once("jq -c '").unwrap().1.rsplit_once("' users.json").unwrap().0;
    // From the README of github.com/firebase/scrypt.
    let key = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==";
    let hash = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";
    let user = |id: &str, more: Value| {
        let mut user = json!({"localId": id, "email": format!("{id}@example.org"), "emailVerified": true,
                              "createdAt": "1700000000123", "passwordHash": hash, "salt": "42xEC+ixf3L2lw=="});
        user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        user
    };
    let export = json!({"users": [
        user("Anna1", json!({})),
        user("bert", json!({"emailVerified": false})),
        user("carl", json!({"passwordHash": "", "salt": ""})),
        user("dora", json!({"disabled": true})),
        {"localId": "emil", "phoneNumber": "+49", "createdAt": "1700000000123"},
    ]});
    let made = jq(server.folder.path(), filter, &export, &[("SIGNER_KEY", key)]);
    assert_eq!(rows(&made).len(), 5);
    let people = [
        ("Anna1", Some("user1password")),
        ("Anna1@example.org", Some("user1password")),
        ("bert", Some("user1password")),
        ("bert@example.org", None),
        ("carl", None),
        ("dora", None),
        ("emil", None),
    ];
    comes_along(&server, &made, &people).await;
}

/// As much of Django as the recipe asks for.
const DJANGO: &str = r#"
import datetime

class User:
    def __init__(self, pk, name, password, **more):
        self.pk, self.name, self.password = pk, name, password
        self.email, self.is_superuser, self.is_active = "", False, True
        self.date_joined = datetime.datetime(2023, 11, 14, 22, 13, 20)
        self.__dict__.update(more)

    def get_username(self):
        return self.name

    def has_usable_password(self):
        return not self.password.startswith("!")

class objects:
    @staticmethod
    def iterator():
        yield User(1, "anna", "pbkdf2_sha256$1000$saltsaltsalt$HpSbrkBrDWDAB9HrNXHZggikF+GO3Q6ksWrO0IeZG4M=",
                   is_superuser=True, email="anna@example.org")
        yield User(2, "bert@example.org", "bcrypt$$2b$04$dAJ03/egkhzYTitHLqXRlu/x2b3Pq/Icdz1l4gBthlje/NXKT.37u")
        yield User(3, "carl", "!unusable")
        yield User(4, "dora", "pbkdf2_sha1$1000$saltsaltsalt$VvJjxrH5uKMZWm9BnZKYeKWH6CQ=", is_active=False)

User.objects = objects
"#;

#[tokio::test]
#[ignore = "needs python3; make interop runs it"]
async fn what_django_keeps_comes_along() {
    let server = Server::start(&[("LOG", "error")]);
    let folder = server.folder.path();
    let package = folder.join("django/contrib");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(folder.join("django/__init__.py"), "def setup(): pass\n").unwrap();
    std::fs::write(package.join("__init__.py"), "").unwrap();
    std::fs::write(package.join("auth.py"), format!("{DJANGO}\ndef get_user_model(): return User\n")).unwrap();
    std::fs::write(folder.join("hallpass.py"), block("From Django", "python")).unwrap();
    let made = lines(&Command::new("python3").arg("hallpass.py").current_dir(folder).output().unwrap());
    let password = "correct horse \u{e9}";
    let people = [("anna", Some(password)), ("user-2", Some(password)), ("carl", None), ("dora", None)];
    comes_along(&server, &made, &people).await;
    assert!(server.prints(&["user", "show", "anna"]).contains("user admin"));
}
