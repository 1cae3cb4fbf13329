//! Runs the program in a folder of its own, with no environment but what a test gives.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

pub const SECRET_KEY: &str = "k2v8QmZ4yPz1TgXh7NwRcB5sJd9LfAe3UuYoWi6Mx0E";
pub const PASSWORD: &str = "seven green lanterns";

/// The longest that anything here is waited for: far more than it takes, and than the server's deadlines.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

/// Runs a command to its end, with a text on its standard input.
pub fn run(folder: &Path, arguments: &[&str], settings: &[(&str, &str)], input: &str) -> Output {
    let mut command = command(folder, arguments);
    finish(command.env("SECRET_KEY", SECRET_KEY).envs(settings.iter().copied()), input)
}

/// The same for a command that is set up already.
pub fn finish(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Read while it runs: a pipe has room for 64 KiB.
    let (out, errors) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
    // A command that fails before it reads its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("does not end: {}", text(&errors.join().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: out.join().unwrap(), stderr: errors.join().unwrap() }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).unwrap();
        all
    })
}

/// The program `hallpass` of a folder without any rights, as a user who is not root, and who has the folder.
pub fn without_rights(folder: &Path) -> Command {
    const NOBODY: u32 = 65_534;
    let mut command = Command::new("setpriv");
    command.arg("--no-new-privs");
    if std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).is_ok() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
    }
    command.arg(folder.join("hallpass")).current_dir(folder).env_clear();
    command
}

/// The server behind a limit of the shell, in a folder of its own.
pub fn limited(limit: &str, settings: &[(&str, &str)]) -> Server {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut command = Command::new("sh");
    let script = format!("{limit}; exec \"$0\" serve");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_hallpass")]).current_dir(folder.path());
    command.env_clear().env("SECRET_KEY", SECRET_KEY).env("PORT", port.to_string()).env("RATE_LIMITS", "off");
    command.envs(settings.iter().copied());
    Server::spawn(command, folder, port)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The arguments of a process, as everybody on the machine reads them.
pub fn arguments(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    text(&bytes).split_terminator('\0').map(str::to_owned).collect()
}

/// A port that nobody listens on, and that no outgoing connection is given meanwhile: below the ephemeral ones.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What is counted under this name, by what Prometheus would read at this address.
pub async fn count(metrics: &str, name: &str) -> u64 {
    let page = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await.unwrap();
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap().parse().unwrap()
}

/// Looks again and again whether it is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "not so: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A running server. Killed when dropped.
pub struct Server {
    pub folder: TempDir,
    pub port: u16,
    child: Child,
    /// For the commands beside it.
    settings: Vec<(OsString, OsString)>,
}

impl Server {
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &["serve"], settings)
    }

    pub fn start_in(folder: TempDir, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = command(folder.path(), arguments);
        command.env("SECRET_KEY", SECRET_KEY).env("PORT", port.to_string()).env("RATE_LIMITS", "off");
        command.envs(settings.iter().copied());
        Self::spawn(command, folder, port)
    }

    /// Waits until it answers.
    pub fn spawn(command: Command, folder: TempDir, port: u16) -> Self {
        let log = File::create(folder.path().join("log")).unwrap();
        Self::spawn_with(command, folder, port, log.into())
    }

    /// Its log goes into a pipe that nobody reads.
    pub fn spawn_silent(command: Command, folder: TempDir, port: u16) -> Self {
        File::create(folder.path().join("log")).unwrap();
        Self::spawn_with(command, folder, port, Stdio::piped())
    }

    fn spawn_with(mut command: Command, folder: TempDir, port: u16, log: Stdio) -> Self {
        let out = File::create(folder.path().join("out")).unwrap();
        let child = command.stdout(out).stderr(log).spawn().unwrap();
        let settings = settings_of(&command);
        let mut server = Self { folder, port, child, settings };
        server.await_answer();
        server
    }

    fn await_answer(&mut self) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status}: {}", self.log());
            }
            if self.answers() {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Tells it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.wait().success(), "{}", self.log());
    }

    /// Starts it anew in its folder and on its port, so that it is the same issuer. The log goes on.
    pub fn begin(&mut self, settings: &[(&str, &str)]) {
        let mut command = self.serve(settings);
        self.child = command.spawn().unwrap();
        self.settings = settings_of(&command);
        self.await_answer();
    }

    pub fn restart(&mut self, settings: &[(&str, &str)]) {
        self.stop();
        self.begin(settings);
    }

    /// The command that [`begin`](Self::begin) runs.
    pub fn serve(&self, settings: &[(&str, &str)]) -> Command {
        let append = |name| OpenOptions::new().append(true).open(self.folder.path().join(name)).unwrap();
        let mut command = command(self.folder.path(), &["serve"]);
        command.env("SECRET_KEY", SECRET_KEY).env("PORT", self.port.to_string()).env("RATE_LIMITS", "off");
        command.envs(settings.iter().copied());
        command.stdout(append("out")).stderr(append("log"));
        command
    }

    /// Runs a command beside it, with the same settings.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = command(self.folder.path(), arguments);
        finish(command.envs(self.settings.iter().cloned()).env("LOG", "error"), input)
    }

    /// What a command prints that has to succeed.
    pub fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, "");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn prints_json(&self, arguments: &[&str]) -> Vec<Value> {
        serde_json::from_str(&self.prints(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// A command that has to fail, how, and why.
    pub fn refuses(&self, arguments: &[&str], code: i32, why: &str) {
        let output = self.run(arguments, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }

    /// It takes the port before it is ready.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).is_ok() && read_all(&mut stream).starts_with("HTTP/1.1 200 ")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The log with the lines of all that was answered. They are written in order, by a thread of their own: once
    /// there is one of a request that is sent now, there are those of all before it.
    pub fn whole_log(&self) -> String {
        let answer = self.exchange(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let id = answer.split("x-request-id: ").nth(1).unwrap().split('\r').next().unwrap().to_owned();
        let begun = Instant::now();
        loop {
            let log = self.log();
            if log.contains(&id) {
                return log;
            }
            assert!(begun.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn out(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes the connection.
    pub fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        read_all(&mut stream)
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = reqwest::Client::new().post(self.url(path)).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let answer = reqwest::Client::new().get(self.url(path)).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub async fn register(&self, username: &str) -> Value {
        let (status, user) = self.post("/register", &json!({"username": username, "password": PASSWORD})).await;
        assert_eq!(status, 201, "{user}");
        user
    }

    pub async fn login(&self, username: &str, password: &str) -> (u16, Value) {
        self.post("/login", &json!({"username": username, "password": password})).await
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Lifts a limit that the shell had set.
    pub fn lift_limit(&self, name: &str) {
        let lift = format!("prlimit --pid {} --{name}=unlimited:unlimited", self.id());
        assert!(Command::new("sh").args(["-c", &lift]).status().unwrap().success());
    }

    /// What the system says of the process (proc(5)).
    pub fn of_proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    /// What everybody on the machine can read of it.
    pub fn arguments(&self) -> Vec<String> {
        arguments(self.child.id())
    }

    /// Peak memory in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM").into()
    }

    /// Memory in use, in KiB.
    pub fn memory_in_use(&self) -> u32 {
        self.memory("VmRSS")
    }

    fn memory(&self, line: &str) -> u32 {
        let status = self.of_proc("status");
        let line = status.lines().find(|found| found.starts_with(line)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        // A panic in the server fails the test that provoked it, unless it is failing already.
        if !std::thread::panicking() {
            assert!(
                !log.contains("panicked") && !log.contains("\"panic\"") && !log.contains("internal_error"),
                "{log}"
            );
        }
    }
}

fn settings_of(command: &Command) -> Vec<(OsString, OsString)> {
    command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

/// Reads until the other side closes, or breaks off.
pub fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
