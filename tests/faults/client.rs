//! Somebody with an account, who keeps a journal: what was acknowledged, and what was asked and has no answer.

mod check;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    dice::Dice,
    program::{PASSWORD, Server},
};

/// A connection for each request: one that waits is closed after ten seconds, and a request on its way then has no
/// answer, though nothing is wrong.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap()
}

/// How the server is reached, and whoever may disable accounts.
#[derive(Clone)]
pub struct Admin {
    base: String,
    access: String,
}

impl Admin {
    pub async fn new(server: &Server) -> Self {
        let add = server.run(&["user", "add", "root-admin", "--role", "admin"], PASSWORD);
        assert!(add.status.success(), "{}", String::from_utf8_lossy(&add.stderr));
        let (status, body) = server.login("root-admin", PASSWORD).await;
        assert_eq!(status, 200, "{body}");
        Self { base: server.url(""), access: body["access_token"].as_str().unwrap().to_owned() }
    }
}

/// A session, as its holder knows it.
#[derive(Debug, Clone)]
struct Session {
    access: String,
    /// The oldest first.
    refresh: Vec<String>,
}

impl Session {
    fn of(body: &Value) -> Self {
        let member = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: member("access_token"), refresh: vec![member("refresh_token")] }
    }

    fn latest(&self) -> &str {
        self.refresh.last().unwrap()
    }
}

/// What a client does. A number is that of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Register(String),
    Login,
    Refresh(usize),
    Logout(usize),
    /// Another password. This session stays, the others end.
    Change(usize, String),
    Disable,
    Enable,
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
            Self::Login => "login",
            Self::Refresh(_) => "refresh",
            Self::Logout(_) => "logout",
            Self::Change(..) => "password change",
            Self::Disable => "disable",
            Self::Enable => "enable",
        }
    }
}

/// How often a kind of step was acknowledged, had no answer, and of these was done all the same.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count {
    pub acknowledged: u64,
    pub unanswered: u64,
    pub done: u64,
}

pub type Counts = BTreeMap<&'static str, Count>;

/// What came back: nothing, or a status that is not «not now».
enum Answer {
    None,
    Some(u16, Value),
}

pub struct Client {
    http: reqwest::Client,
    admin: Admin,
    dice: Dice,
    name: String,
    id: String,
    password: String,
    is_disabled: bool,
    sessions: Vec<Session>,
    asked: Option<Step>,
    /// What must not come back: passwords, and sessions that ended.
    passwords: Vec<String>,
    over: Vec<Session>,
    /// How many of these were looked at since they came about.
    checked: usize,
    /// Accounts that were made.
    pub registered: Vec<String>,
    made: usize,
    pub counts: Counts,
    /// How many requests were refused with 503.
    pub unavailable: u64,
}

impl Client {
    /// Registers, while nothing is wrong.
    pub async fn new(server: &Server, admin: &Admin, number: usize) -> Self {
        let name = format!("client{number}");
        let user = server.register(&name).await;
        Self {
            http: http(),
            admin: admin.clone(),
            dice: Dice::new(u64::try_from(number).unwrap()),
            id: user["id"].as_str().unwrap().to_owned(),
            password: PASSWORD.to_owned(),
            is_disabled: false,
            sessions: Vec::new(),
            asked: None,
            passwords: Vec::new(),
            over: Vec::new(),
            checked: 0,
            registered: vec![name.clone()],
            name,
            made: 0,
            counts: Counts::new(),
            unavailable: 0,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.admin.base))
    }

    /// A request that may have no answer. Half an answer is one, if its status says all.
    async fn ask(&mut self, request: RequestBuilder) -> Answer {
        let Ok(answer) = request.send().await else { return Answer::None };
        let status = answer.status().as_u16();
        let Ok(bytes) = answer.bytes().await else {
            return if [200, 201, 204].contains(&status) { Answer::Some(status, Value::Null) } else { Answer::None };
        };
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status == 503 {
            assert_eq!(body["code"], "storage_unavailable", "{body}");
            self.unavailable += 1;
            return Answer::None;
        }
        Answer::Some(status, body)
    }

    /// A request that has to be answered.
    async fn sure(&mut self, request: RequestBuilder) -> (u16, Value) {
        match self.ask(request).await {
            Answer::Some(status, body) => (status, body),
            Answer::None => panic!("{}: no answer, and nothing is wrong any more", self.name),
        }
    }

    fn login_with(&self, password: &str) -> RequestBuilder {
        self.request(Method::POST, "/login").json(&json!({"username": self.name, "password": password}))
    }

    fn refresh_with(&self, token: &str) -> RequestBuilder {
        self.request(Method::POST, "/refresh").json(&json!({"refresh_token": token}))
    }

    fn register_as(&self, name: &str) -> RequestBuilder {
        self.request(Method::POST, "/register").json(&json!({"username": name, "password": PASSWORD}))
    }

    fn me(&self, session: &Session) -> RequestBuilder {
        self.request(Method::GET, "/me").bearer_auth(&session.access)
    }

    fn account(&self, method: Method) -> RequestBuilder {
        self.request(method, &format!("/admin/users/{}", self.id)).bearer_auth(&self.admin.access)
    }

    /// What to do next. Most steps need no hash: so more of the time goes into writing.
    fn choose(&mut self) -> Step {
        if self.is_disabled {
            return Step::Enable;
        }
        let Some(last) = self.sessions.len().checked_sub(1) else { return Step::Login };
        let session = self.dice.below(last + 1);
        match self.dice.below(20) {
            0 => {
                self.made += 1;
                Step::Register(format!("{}-{}", self.name, self.made))
            }
            1 | 2 => Step::Change(session, format!("password number {}", self.dice.below(usize::MAX))),
            3 => Step::Disable,
            4..=6 => Step::Logout(session),
            7..=9 if last < 3 => Step::Login,
            _ => Step::Refresh(session),
        }
    }

    async fn take(&mut self, step: &Step) -> Answer {
        let request = match step {
            Step::Register(name) => self.register_as(name),
            Step::Login => self.login_with(&self.password),
            Step::Refresh(n) => self.refresh_with(self.sessions[*n].latest()),
            Step::Logout(n) => self.request(Method::POST, "/logout").bearer_auth(&self.sessions[*n].access),
            Step::Change(n, password) => {
                let form = json!({"current_password": self.password, "new_password": password});
                self.request(Method::POST, "/password/change").bearer_auth(&self.sessions[*n].access).json(&form)
            }
            Step::Disable => self.account(Method::PATCH).json(&json!({"disabled": true})),
            Step::Enable => self.account(Method::PATCH).json(&json!({"disabled": false})),
        };
        self.ask(request).await
    }

    /// Works until something has no answer, or it is enough.
    pub async fn work(&mut self, enough: Arc<AtomicBool>) {
        while !enough.load(Ordering::Relaxed) {
            let step = self.choose();
            let count = self.counts.entry(step.name()).or_default();
            count.unanswered += 1;
            self.asked = Some(step.clone());
            let Answer::Some(status, body) = self.take(&step).await else { return };
            let wanted = match step {
                Step::Register(_) => 201,
                Step::Logout(_) | Step::Change(..) => 204,
                Step::Login | Step::Refresh(_) | Step::Disable | Step::Enable => 200,
            };
            assert_eq!(status, wanted, "{} {step:?}: {body}", self.name);
            if body.is_null() && matches!(step, Step::Login | Step::Refresh(_)) {
                // Done, but its tokens were on the way.
                return;
            }
            let count = self.counts.entry(step.name()).or_default();
            count.unanswered -= 1;
            count.acknowledged += 1;
            self.asked = None;
            self.note(step, &body);
        }
    }

    /// What is so once a step is done.
    fn note(&mut self, step: Step, body: &Value) {
        match step {
            Step::Register(name) => self.registered.push(name),
            Step::Login => self.sessions.push(Session::of(body)),
            Step::Refresh(n) => {
                let Session { access, mut refresh } = Session::of(body);
                self.sessions[n].access = access;
                self.sessions[n].refresh.append(&mut refresh);
            }
            Step::Logout(n) => self.over.push(self.sessions.remove(n)),
            Step::Change(n, password) => {
                let stays = self.sessions.remove(n);
                self.over.append(&mut self.sessions);
                self.sessions.push(stays);
                self.passwords.push(std::mem::replace(&mut self.password, password));
            }
            Step::Disable => {
                self.over.append(&mut self.sessions);
                self.is_disabled = true;
            }
            Step::Enable => self.is_disabled = false,
        }
    }
}

/// Settles and checks all of them, each by itself.
pub async fn settle(clients: &mut [Client]) {
    let each = clients.iter_mut().map(async |client| {
        client.settle().await;
        client.check().await;
    });
    futures_util::future::join_all(each).await;
}

/// What all of them counted.
pub fn counts(clients: &[Client]) -> Counts {
    let mut sum = Counts::new();
    for (name, count) in clients.iter().flat_map(|client| &client.counts) {
        let all: &mut Count = sum.entry(name).or_default();
        all.acknowledged += count.acknowledged;
        all.unanswered += count.unanswered;
        all.done += count.done;
    }
    sum
}

/// One line for each kind of step.
pub fn tell(counts: &Counts) {
    for (name, Count { acknowledged, unanswered, done }) in counts {
        let known = match *name {
            "login" | "refresh" => String::new(),
            _ => format!(", of which {done} were done"),
        };
        eprintln!("{name}: {acknowledged} acknowledged, {unanswered} without an answer{known}");
    }
}
