//! A disk that is full, fails or may not be written, and a database that another process has locked: for a while.

use std::time::Duration;

use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};

use super::{
    SETTINGS, database,
    program::{PASSWORD, Server, eventually, free_port},
    strace::Failing,
};

/// What lasts until it is dropped.
enum Outage {
    Failing(#[allow(dead_code, reason = "dropped")] Failing),
    Locked(SqliteConnection),
}

const LOCKED: &str = "locked";

/// What is wrong, all the time.
const ROWS: &[&str] = &[
    "pwrite64,ftruncate:error=ENOSPC",
    "pwrite64,ftruncate,fsync,fdatasync:error=EIO",
    "pwrite64,ftruncate,fsync,fdatasync:error=EROFS",
    "fsync,fdatasync:error=EIO",
    LOCKED,
];

impl Outage {
    async fn begin(server: &Server, what: &str) -> Self {
        if what != LOCKED {
            return Self::Failing(Failing::of(server.id(), &[what.to_owned()]));
        }
        let url = format!("sqlite://{}", server.folder.path().join("hallpass.db").display());
        let mut conn = SqliteConnection::connect(&url).await.unwrap();
        conn.execute("BEGIN EXCLUSIVE").await.unwrap();
        Self::Locked(conn)
    }

    async fn end(self) {
        if let Self::Locked(mut conn) = self {
            conn.execute("ROLLBACK").await.unwrap();
            conn.close().await.unwrap();
        }
    }
}

async fn call(server: &Server, method: Method, path: &str, token: &str, body: Value) -> (u16, bool, Value) {
    let request = reqwest::Client::new().request(method, server.url(path)).bearer_auth(token);
    let answer = if body.is_null() { request } else { request.json(&body) }.send().await.unwrap();
    let (status, retry) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    (status, retry, answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace; make faults runs it"]
async fn while_nothing_can_be_written_what_reads_goes_on_and_then_all_does() {
    // A server of mail that is not there: without one, nothing is written for it.
    let mail = format!("smtp://127.0.0.1:{}", free_port());
    let mut settings = SETTINGS.to_vec();
    settings.extend([("SMTP_URL", mail.as_str()), ("MAIL_FROM", "login@example.com")]);
    for what in ROWS {
        let server = Server::start(&settings);
        server.register("john").await;
        server.register("jane").await;
        let add = server.run(&["user", "add", "root-admin", "--role", "admin"], PASSWORD);
        assert!(add.status.success());
        let open = async |name: &str| {
            let (status, body) = server.login(name, PASSWORD).await;
            assert_eq!(status, 200, "{body}");
            ["access_token", "refresh_token"].map(|member| body[member].as_str().unwrap().to_owned())
        };
        let ([token, refresh], _) = (open("john").await, open("john").await);
        let renew = async |refresh: &str| {
            let (status, body) = server.post("/refresh", &json!({"refresh_token": refresh})).await;
            assert_eq!(status, 200, "{body}");
            body["access_token"].as_str().unwrap().to_owned()
        };
        // Of a new token it is written down that its owner has it, before it counts.
        let (used, unused) = (renew(&open("john").await[1]).await, renew(&open("john").await[1]).await);
        assert_eq!(server.get("/me", &used).await.0, 200);
        let [admin, _] = open("root-admin").await;
        let jane = server.get("/admin/users?query=jane", &admin).await.1["items"][0]["id"].as_str().unwrap().to_owned();
        let account = format!("/admin/users/{jane}");
        let changed = json!({"current_password": PASSWORD, "new_password": "eleven blue teapots"});
        // The last ones take what the others need.
        let writes: Vec<(Method, &str, &str, Value, u16)> = vec![
            (Method::POST, "/register", "", json!({"username": "jim", "password": PASSWORD}), 201),
            (Method::POST, "/login", "", json!({"username": "john", "password": PASSWORD}), 200),
            (Method::POST, "/refresh", "", json!({"refresh_token": refresh}), 200),
            (Method::POST, "/password/forgot", "", json!({"email": "john@example.org"}), 202),
            (Method::PATCH, &account, &admin, json!({"disabled": true}), 200),
            (Method::DELETE, &account, &admin, Value::Null, 204),
            (Method::DELETE, "/sessions?except=current", &token, Value::Null, 204),
            (Method::POST, "/password/change", &token, changed, 204),
            (Method::POST, "/logout", &token, Value::Null, 204),
        ];
        let outage = Outage::begin(&server, what).await;
        assert_eq!(server.get("/me", &used).await.0, 200, "{what}");
        let (status, body) = server.get("/me", &unused).await;
        assert_eq!((status, &body["code"]), (503, &json!("storage_unavailable")), "{what}");
        let reads = async {
            for _ in 0..10 {
                for path in
                    ["/me", "/protected", "/sessions", "/.well-known/jwks.json", "/.well-known/revocations", "/livez"]
                {
                    let (status, body) = server.get(path, &token).await;
                    assert_eq!(status, 200, "{what}: {path} {body}");
                }
                let (status, _) = server.login("john", "not the password").await;
                assert_eq!(status, 401, "{what}");
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        let refusals = writes.iter().map(async |(method, path, token, body, _)| {
            let (status, retry, body) = call(&server, method.clone(), path, token, body.clone()).await;
            assert_eq!((status, retry, &body["code"]), (503, true, &json!("storage_unavailable")), "{what}: {path}");
        });
        join(reads, join_all(refusals)).await;
        eventually("it says that it is not ready", async || server.get("/readyz", "").await.0 == 503).await;
        outage.end().await;
        assert_eq!(server.get("/me", &unused).await.0, 200, "{what}");

        for (method, path, token, body, wanted) in &writes {
            let (status, _, body) = call(&server, method.clone(), path, token, body.clone()).await;
            assert_eq!(status, *wanted, "{what}: {path} {body}");
        }
        eventually("it is ready", async || server.get("/readyz", "").await.0 == 200).await;
        assert_eq!(database::integrity(server.folder.path()).await, "ok");
    }
}
