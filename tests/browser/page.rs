//! The page, with a verb for each thing that a person does there.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, key::Key};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{greeting, program::free_port};

pub(crate) const LOGIN: &str = "#operations-Session-login";
pub(crate) const REFRESH: &str = "#operations-Session-refresh";
pub(crate) const LOGOUT: &str = "#operations-Session-logout";
pub(crate) const PROTECTED: &str = "#operations-Session-get_protected";

/// The pages of a fresh demo, Swagger UI first, in a browser of its own.
pub(crate) struct Page {
    client: Client,
    /// What the page's address starts with.
    origin: String,
    /// The address of the session at the driver, for what the standard has no command for.
    session: String,
    // The processes end before their files go.
    _processes: [Process; 2],
    _files: TempDir,
}

impl Page {
    pub(crate) async fn open_at(host: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (port, driver_port) = (free_port(), free_port());
        let mut demo = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        demo.args(["demo", "--port", &port.to_string(), "--dir"]).arg(files.path().join("demo")).env("LOG", "error");
        let mut driver = Command::new("/usr/bin/chromedriver");
        driver.arg(format!("--port={driver_port}")).env("TMPDIR", files.path());
        let processes = [Process::start(demo, port).await, Process::start(driver, driver_port).await];

        let driver = format!("http://127.0.0.1:{driver_port}");
        let capabilities = capabilities(&files.path().join("profile"));
        let mut browser = ClientBuilder::new(HttpConnector::new());
        let client = browser.capabilities(capabilities.as_object().unwrap().clone()).connect(&driver).await.unwrap();
        let session = format!("{driver}/session/{}", client.session_id().await.unwrap().unwrap());
        let origin = format!("http://{host}:{port}");
        client.goto(&origin).await.unwrap();
        Self { client, origin, session, _processes: processes, _files: files }
    }

    /// For a test that ends well. After a panic, the browser goes with its driver, perhaps not its files.
    pub(crate) async fn close(self) {
        self.client.clone().close().await.unwrap();
    }

    /// Where the browser is.
    pub(crate) async fn address(&self) -> String {
        self.client.current_url().await.unwrap().into()
    }

    /// What an operation's line shows.
    pub(crate) async fn summary(&self, operation: &str) -> String {
        self.find(&format!("{operation} .opblock-summary")).await.text().await.unwrap()
    }

    pub(crate) async fn goto(&self, path: &str) {
        self.client.goto(&self.at(path)).await.unwrap();
    }

    /// What an element shows.
    pub(crate) async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.unwrap()
    }

    /// What is read out of an element: its role and its name.
    pub(crate) async fn is_read_as(&self, css: &str) -> (String, String) {
        let id = self.find(css).await.element_id();
        let ask = async |what: &str| -> String {
            let url = format!("{}/element/{}/{what}", self.session, id.as_ref());
            let answer: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
            answer["value"].as_str().unwrap().to_owned()
        };
        (ask("computedrole").await, ask("computedlabel").await)
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    pub(crate) async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits for it.
    async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    pub(crate) async fn has(&self, css: &str) -> bool {
        !self.client.find_all(Locator::Css(css)).await.unwrap().is_empty()
    }

    pub(crate) async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Types over what stands in a field.
    pub(crate) async fn replace(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.send_keys(&(Key::Control + "a")).await.unwrap();
        field.send_keys(text).await.unwrap();
        assert_eq!(field.prop("value").await.unwrap().as_deref(), Some(text));
    }

    /// Opens or closes an operation.
    async fn toggle(&self, operation: &str) {
        self.click(&format!("{operation} .opblock-summary-control")).await;
    }

    pub(crate) async fn open(&self, operation: &str) {
        self.toggle(operation).await;
        self.find(&format!("{operation} .execute")).await;
    }

    /// Executes an open operation: the status and the body that the page shows.
    pub(crate) async fn execute(&self, operation: &str) -> (String, Value) {
        let status = self.execute_without_answer(operation).await;
        let body = format!("{operation} .live-responses-table .highlight-code code");
        let body = self.find(&body).await.text().await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// The same for an answer without a body.
    pub(crate) async fn execute_without_answer(&self, operation: &str) -> String {
        if self.has(&format!("{operation} .btn-clear")).await {
            self.click(&format!("{operation} .btn-clear")).await;
        }
        self.click(&format!("{operation} .execute")).await;
        let status = format!("{operation} .live-responses-table tbody .response-col_status");
        self.find(&status).await.text().await.unwrap()
    }

    /// Whether the lock of the protected operation is closed.
    pub(crate) async fn is_authorized(&self) -> bool {
        let lock = self.find(&format!("{PROTECTED} .authorization__btn")).await;
        lock.attr("aria-label").await.unwrap().unwrap() == "authorization button locked"
    }

    pub(crate) async fn log_in_as_johndoe(&self) {
        assert!(!self.is_authorized().await);
        self.open(LOGIN).await;
        let (status, tokens) = self.execute(LOGIN).await;
        assert_eq!((status.as_str(), &tokens["token_type"]), ("200", &json!("bearer")));
        assert!(self.is_authorized().await, "without pasting anything");
        self.open(PROTECTED).await;
        assert_eq!(self.execute(PROTECTED).await, greeting("johndoe"));
    }

    pub(crate) async fn authorize(&self, token: &str) {
        self.click(".scheme-container .authorize").await;
        self.replace(".modal-ux input", token).await;
        self.click(".modal-ux button[type=submit]").await;
        assert_eq!(self.find(".modal-ux h6").await.text().await.unwrap(), "Authorized");
        self.click(".modal-ux .btn-done").await;
        assert!(self.is_authorized().await);
    }

    pub(crate) async fn log_out(&self) {
        self.click(".scheme-container .authorize").await;
        assert_eq!(self.find(".modal-ux h6").await.text().await.unwrap(), "Authorized");
        self.client.find(Locator::XPath("//button[.='Logout']")).await.unwrap().click().await.unwrap();
        self.find(".modal-ux input").await;
        self.click(".modal-ux .btn-done").await;
        assert!(!self.is_authorized().await);
    }

    pub(crate) async fn token_of(&self, username: &str) -> String {
        let form = json!({"username": username, "password": "demo-password-only"});
        let answer = reqwest::Client::new().post(format!("{}/login", self.origin)).json(&form).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
    }

    /// What the page has asked of servers, this one or another.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let script = "return performance.getEntriesByType('resource').map(entry => entry.name)";
        let urls = self.client.execute(script, Vec::new()).await.unwrap();
        serde_json::from_value(urls).unwrap()
    }

    /// The address of a path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// What the browser has to complain about since it was last asked, breaches of the policy among it.
    pub(crate) async fn console(&self) -> Vec<String> {
        let log = reqwest::Client::new().post(format!("{}/se/log", self.session)).json(&json!({"type": "browser"}));
        let log: Value = log.send().await.unwrap().json().await.unwrap();
        let line =
            |entry: &Value| format!("{} {}", entry["level"].as_str().unwrap(), entry["message"].as_str().unwrap());
        log["value"].as_array().unwrap().iter().map(line).collect()
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let form = json!({"cmd": command, "params": parameters});
        let answer = reqwest::Client::new().post(format!("{}/goog/cdp/execute", self.session)).json(&form);
        assert!(answer.send().await.unwrap().status().is_success(), "{command}");
    }

    /// As on a screen of this width, in these colours.
    pub(crate) async fn look_as(&self, width: u32, scheme: &str) {
        let screen = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700});
        self.devtools("Emulation.setDeviceMetricsOverride", screen).await;
        let colours = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", colours).await;
    }

    /// A picture under `target/`, to be looked at.
    pub(crate) async fn keep_picture(&self, name: &str) {
        let folder = scratch().join("pages");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), self.client.screenshot().await.unwrap()).unwrap();
    }

    /// Of somebody who is logged in, down to the answer that shows it; the other sections are folded.
    pub(crate) async fn take_picture(&self) {
        self.toggle(LOGIN).await;
        for section in self.client.find_all(Locator::Css("h3:not([data-tag=Session])")).await.unwrap() {
            section.click().await.unwrap();
        }
        let script = "document.activeElement.blur();
            document.querySelector('.live-responses-table').scrollIntoView({block: 'end'})";
        self.client.execute(script, Vec::new()).await.unwrap();
        let path = env::var_os("HALLPASS_PICTURE").map_or_else(|| scratch().join("swagger-ui.png"), PathBuf::from);
        fs::write(path, self.client.screenshot().await.unwrap()).unwrap();
    }
}

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A browser that keeps to itself and to this test.
fn capabilities(profile: &Path) -> Value {
    let profile = format!("--user-data-dir={}", profile.display());
    json!({
        "goog:loggingPrefs": {"browser": "ALL"},
        "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": [
            // Through a pipe, the browser notices that its driver is gone, and ends.
            "--remote-debugging-pipe", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--hide-scrollbars", "--window-size=1280,1480", profile,
        ]},
    })
}

/// Killed when it is dropped.
struct Process(Child);

impl Process {
    /// Starts it, and waits until it listens.
    async fn start(mut command: Command, port: u16) -> Self {
        let mut process = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(process.0.try_wait().unwrap().is_none(), "{command:?} has ended");
            assert!(begun.elapsed() < Duration::from_secs(30), "{command:?} does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
