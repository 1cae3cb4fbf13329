//! The server under test, and its verbs.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use hallpass::{
    api,
    app::{App, BuildError},
    auth::{admin, outbox},
    clock::Clock,
    config::{Config, Values},
    mail::{Mailbox, Mailer},
    model::{By, Cost, Time, User},
    store::{Changes, LastAdmin},
};
use poem::{
    Endpoint, EndpointExt, Request, Response,
    endpoint::BoxEndpoint,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

pub use super::answer::{Answer, Letter, Pair};

pub const SECRET_KEY: &str = "k2v8QmZ4yPz1TgXh7NwRcB5sJd9LfAe3UuYoWi6Mx0E";
pub const PASSWORD: &str = "seven green lanterns";
/// 2026-11-23T09:00:00Z
pub const START: i64 = 1_795_424_400;

pub const CHEAP: Cost = Cost { memory_kib: 64, iterations: 1, parallelism: 1 };

pub struct TestApp {
    pub app: Arc<App>,
    pub folder: TempDir,
    mailbox: Arc<Mailbox>,
    endpoint: BoxEndpoint<'static, Response>,
    clock: Arc<AtomicI64>,
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With these settings beside those of a test.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::with_in(tempfile::tempdir().unwrap(), settings).await
    }

    async fn with_in(folder: TempDir, settings: &[(&str, &str)]) -> Self {
        Self::at(folder, settings, CHEAP).await
    }

    /// One that sends no mail.
    pub async fn silent() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(START)));
        let app = Self::build(&folder, &[], CHEAP, clock.clone()).await.unwrap();
        let app = Arc::new(app);
        let endpoint = api::routes(app.clone()).unwrap().boxed();
        Self { app, folder, mailbox: Arc::default(), endpoint, clock }
    }

    /// In a folder that may hold the database of an earlier one, hashing at this cost.
    pub async fn at(folder: TempDir, settings: &[(&str, &str)], cost: Cost) -> Self {
        let clock = Arc::new(AtomicI64::new(START));
        let app = Self::build(&folder, settings, cost, clock.clone()).await.unwrap();
        Self::around(app, folder, clock)
    }

    /// A start that may be refused.
    pub async fn build(
        folder: &TempDir,
        settings: &[(&str, &str)],
        cost: Cost,
        clock: Arc<AtomicI64>,
    ) -> Result<App, BuildError> {
        let database = format!("sqlite://{}", folder.path().join("test.db").display());
        let defaults = [("SECRET_KEY", SECRET_KEY), ("DATABASE_URL", &database), ("RATE_LIMITS", "off")];
        let mut values: Values = defaults.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        values.extend(settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let mut config = Config::from_values(&values).unwrap();
        // Below what the settings take: a hash of a test is not to be secure, but quick.
        config.argon2 = cost;
        App::build(config, Clock::Fixed(clock)).await
    }

    /// Ends this server and starts another one on its database, at the same moment.
    pub async fn restart(self, settings: &[(&str, &str)]) -> Self {
        self.try_restart(settings).await.unwrap()
    }

    /// The same, if the other one starts.
    pub async fn try_restart(self, settings: &[(&str, &str)]) -> Result<Self, BuildError> {
        let clock = self.clock.clone();
        let folder = self.close().await;
        let app = Self::build(&folder, settings, CHEAP, clock.clone()).await?;
        Ok(Self::around(app, folder, clock))
    }

    /// Its mail goes into a mailbox, unless the settings name a server.
    fn around(mut app: App, folder: TempDir, clock: Arc<AtomicI64>) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        if !app.mailer.sends() {
            app.mailer = Mailer::Mailbox(mailbox.clone());
        }
        let app = Arc::new(app);
        let endpoint = api::routes(app.clone()).unwrap().boxed();
        Self { app, folder, mailbox, endpoint, clock }
    }

    /// Ends this server and leaves its folder.
    pub async fn close(self) -> TempDir {
        self.app.store.close().await;
        self.folder
    }

    pub fn sleep(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Sends a request, and checks what is true of every answer.
    pub async fn send(&self, request: Request) -> Answer {
        let head = request.method() == Method::HEAD;
        let path = request.uri().path().to_owned();
        let response = self.endpoint.get_response(request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().into_vec().await.unwrap();
        let answer = Answer { status, headers, bytes };
        for name in ["x-request-id", "cache-control", "content-security-policy"] {
            assert!(answer.headers.contains_key(name), "{status} without {name}");
        }
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        for name in ["server", "x-powered-by", "set-cookie"] {
            assert!(!answer.headers.contains_key(name), "{status} with {name}");
        }
        let is_public = ["/openapi.json", "/docs", "/.well-known/jwks.json", "/.well-known/revocations"];
        assert!(
            is_public.contains(&path.as_str()) || answer.header("cache-control") == "no-store",
            "{status} at {path}"
        );
        let is_page = ["/verify", "/reset"].contains(&path.as_str());
        assert!(!is_page || answer.header("content-type") == "text/html; charset=utf-8", "{status} at {path}");
        if status >= 400 && !head && !is_page {
            assert_eq!(answer.header("content-type"), "application/problem+json");
            let problem = answer.json();
            assert_eq!(problem["type"], "about:blank");
            assert_eq!(problem["status"], status);
            assert_eq!(problem["request_id"], answer.header("x-request-id"));
            assert_eq!(problem["title"], StatusCode::from_u16(status).unwrap().canonical_reason().unwrap());
            assert!(problem["detail"].is_string() && problem["code"].is_string());
            let invalid = problem["errors"].as_array().map_or(0, Vec::len);
            assert_eq!(status == 422, invalid > 0, "{problem}");
        }
        assert_eq!(status == 401 || status == 403, answer.headers.contains_key("www-authenticate"));
        answer
    }

    /// Readiness is found out once a second.
    pub async fn is_ready(&self) -> bool {
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        let answer = self.get("/readyz", None).await;
        if answer.status != 200 {
            answer.refuses(503, "storage_unavailable", "");
        }
        answer.status == 200
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let mut request = Request::builder().method(Method::GET).uri_str(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.finish()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, "application/json", body.to_string()).await
    }

    pub async fn post_text(&self, path: &str, content_type: &str, body: impl Into<poem::Body>) -> Answer {
        let request = Request::builder().method(Method::POST).uri_str(path).content_type(content_type);
        self.send(request.body(body)).await
    }

    pub async fn register(&self, username: &str) -> Value {
        let answer = self.post("/register", &json!({"username": username, "password": PASSWORD})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// Registers with an address that nobody has proved.
    pub async fn claim(&self, username: &str, email: &str) -> Value {
        let form = json!({"username": username, "password": PASSWORD, "email": email});
        let answer = self.post("/register", &form).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// Registers with an address, and proves it.
    pub async fn own(&self, username: &str, email: &str) -> Value {
        let user = self.claim(username, email).await;
        let mail = self.mail().await;
        assert_eq!(self.post("/email/verify", &mail.link()).await.status, 204);
        user
    }

    /// Sends what is to be sent, and empties the mailbox: the oldest first.
    pub async fn mails(&self) -> Vec<Letter> {
        outbox::drain(&self.app).await.unwrap();
        self.received()
    }

    /// How many links and codes there are.
    pub async fn codes(&self) -> String {
        self.text("SELECT CAST(COUNT(*) AS TEXT) FROM codes").await
    }

    /// Empties the mailbox: the oldest first.
    pub fn received(&self) -> Vec<Letter> {
        self.mailbox.take().iter().map(Letter::of).collect()
    }

    /// The same, of one mail.
    #[track_caller]
    pub fn mail(&self) -> impl Future<Output = Letter> {
        let place = std::panic::Location::caller();
        async move {
            let mails = self.mails().await;
            assert_eq!(mails.len(), 1, "{place}: {mails:?}");
            mails.into_iter().next().unwrap()
        }
    }

    /// Asks for a mail for this address, and reads it.
    pub async fn forgot(&self, email: &str) -> Letter {
        assert_eq!(self.post("/password/forgot", &json!({"email": email})).await.status, 202);
        self.mail().await
    }

    pub async fn reset(&self, proof: &Value, password: &str) -> Answer {
        let mut body = proof.clone();
        body["new_password"] = json!(password);
        self.post("/password/reset", &body).await
    }

    pub async fn change_email(&self, token: &str, password: &str, email: &str) -> Answer {
        let body = json!({"password": password, "email": email});
        self.call(Method::POST, "/email/change", token, Some(&body)).await
    }

    pub async fn try_login(&self, username: &str, password: &str) -> Answer {
        self.post("/login", &json!({"username": username, "password": password})).await
    }

    pub async fn login(&self, username: &str) -> String {
        let answer = self.try_login(username, PASSWORD).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Registers and logs in.
    pub async fn as_user(&self, username: &str) -> (Value, String) {
        (self.register(username).await, self.login(username).await)
    }

    /// The tokens of a new session.
    pub async fn open(&self, username: &str) -> Pair {
        Pair::of(&self.try_login(username, PASSWORD).await)
    }

    /// Registers, and opens a session.
    pub async fn as_session(&self, username: &str) -> Pair {
        self.register(username).await;
        self.open(username).await
    }

    pub async fn try_refresh(&self, refresh_token: &str) -> Answer {
        self.post("/refresh", &json!({"refresh_token": refresh_token})).await
    }

    pub async fn refresh(&self, refresh_token: &str) -> Pair {
        Pair::of(&self.try_refresh(refresh_token).await)
    }

    /// Any operation, with a token.
    pub async fn call(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> Answer {
        let request =
            Request::builder().method(method).uri_str(path).header("authorization", format!("Bearer {token}"));
        self.send(match body {
            Some(body) => request.content_type("application/json").body(body.to_string()),
            None => request.finish(),
        })
        .await
    }

    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.call(Method::DELETE, path, token, None).await
    }

    /// Whether a token is accepted, and if not, with which code it is refused.
    pub async fn verdict(&self, token: &str) -> String {
        let answer = self.get("/protected", Some(token)).await;
        if answer.status == 200 { "ok".to_owned() } else { answer.json()["code"].as_str().unwrap().to_owned() }
    }

    /// Has the operator change an account.
    pub async fn change(&self, now: Time, user: &User, changes: Changes) {
        admin::change(&self.app, now, &By::operator(), &user.id, changes).await.unwrap();
    }

    /// Has the operator delete an account.
    pub async fn remove(&self, now: Time, user: &User) {
        admin::delete(&self.app, now, &By::operator(), &user.id, LastAdmin::Stays).await.unwrap();
    }

    /// A connection of its own to the database file.
    pub async fn db(&self) -> SqliteConnection {
        let path = self.folder.path().join("test.db");
        SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
    }

    /// Changes the database behind the server's back, and lets it notice: it looks at each write, and some times a
    /// second.
    pub async fn sql(&self, statement: &'static str) {
        sqlx::query(statement).execute(&mut self.db().await).await.unwrap();
        // Whether it can write or not.
        drop(self.app.store.check().await);
    }

    /// One text of the database.
    pub async fn text(&self, query: &'static str) -> String {
        sqlx::query_scalar(query).fetch_one(&mut self.db().await).await.unwrap()
    }
}
