//! What is asked when nothing is wrong any more.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, Session, Step};

impl Client {
    /// Finds out what became of the step that had no answer.
    pub async fn settle(&mut self) {
        let Some(step) = self.asked.take() else { return };
        let is_done = match &step {
            Step::Register(name) => {
                let again = self.register_as(name);
                let (status, body) = self.sure(again).await;
                assert!([201, 409].contains(&status), "{status} {body}");
                self.registered.push(name.clone());
                self.count_done(&step, status == 409);
                return;
            }
            // Nobody holds its tokens.
            Step::Login => return,
            Step::Refresh(n) => {
                let again = self.refresh_with(self.sessions[*n].latest());
                let (status, body) = self.sure(again).await;
                assert_eq!(status, 200, "{}: a refresh without an answer is served again: {body}", self.name);
                self.note(step, &body);
                return;
            }
            Step::Logout(n) => {
                let me = self.me(&self.sessions[*n]);
                self.sure(me).await.0 == 401
            }
            Step::Change(_, password) => {
                let (after, before) = (self.login_with(password), self.login_with(&self.password));
                let found = (self.sure(after).await.0, self.sure(before).await.0);
                assert!([(200, 401), (401, 200)].contains(&found), "one of the two, and one alone: {found:?}");
                found.0 == 200
            }
            Step::Disable | Step::Enable => {
                let account = self.account(Method::GET);
                let (status, body) = self.sure(account).await;
                assert_eq!(status, 200, "{body}");
                body["disabled_at"].is_null() == (step == Step::Enable)
            }
        };
        self.count_done(&step, is_done);
        if is_done {
            self.note(step, &Value::Null);
        }
    }

    fn count_done(&mut self, step: &Step, is_done: bool) {
        self.counts.entry(step.name()).or_default().done += u64::from(is_done);
    }

    /// Whether all that was acknowledged is there, and nothing that ended.
    pub async fn check(&mut self) {
        let login = self.login_with(&self.password);
        let (status, body) = self.sure(login).await;
        assert_eq!(status, if self.is_disabled { 401 } else { 200 }, "{}: {body}", self.name);
        if status == 200 {
            self.sessions.push(Session::of(&body));
        }
        for n in 0..self.sessions.len() {
            let (me, again) = (self.me(&self.sessions[n]), self.refresh_with(self.sessions[n].latest()));
            let (status, body) = self.sure(me).await;
            assert_eq!(status, 200, "{}: an open session is refused: {body}", self.name);
            let (status, body) = self.sure(again).await;
            assert_eq!(status, 200, "{}: the last refresh token is refused: {body}", self.name);
            self.note(Step::Refresh(n), &body);
        }
        self.replay().await;
        self.refuses_what_is_over().await;
        while self.sessions.len() > 3 {
            let logout = self.request(Method::POST, "/logout").bearer_auth(&self.sessions[0].access);
            assert_eq!(self.sure(logout).await.0, 204);
            self.note(Step::Logout(0), &Value::Null);
        }
    }

    /// Comes with a refresh token that was used long ago.
    async fn replay(&mut self) {
        let is_old = |session: &Session| session.refresh.len() > 4;
        let Some(n) = self.sessions.iter().position(is_old) else { return };
        let session = self.sessions.remove(n);
        let old = self.dice.below(session.refresh.len() - 2);
        let replay = self.refresh_with(&session.refresh[old]);
        let (status, body) = self.sure(replay).await;
        assert_eq!(status, 401, "{}: a used refresh token is taken: {body}", self.name);
        self.over.push(session);
    }

    /// What ended since the last time, and some of before.
    async fn refuses_what_is_over(&mut self) {
        let mut looked_at: Vec<usize> = (self.checked.min(self.over.len())..self.over.len()).collect();
        self.checked = self.over.len();
        for _ in 0..3.min(self.over.len()) {
            looked_at.push(self.dice.below(self.over.len()));
        }
        for n in looked_at {
            self.refuses_session(n).await;
        }
        if let Some(n) = self.passwords.len().checked_sub(1) {
            let password = if self.dice.below(2) == 0 { n } else { self.dice.below(n + 1) };
            self.refuses_password(password).await;
        }
    }

    async fn refuses_session(&mut self, n: usize) {
        let (me, again) = (self.me(&self.over[n]), self.refresh_with(self.over[n].latest()));
        let (status, body) = self.sure(me).await;
        assert_eq!((status, &body["code"]), (401, &json!("session_ended")), "{}: it ended", self.name);
        assert_eq!(self.sure(again).await.0, 401, "{}: it ended", self.name);
    }

    async fn refuses_password(&mut self, n: usize) {
        let login = self.login_with(&self.passwords[n]);
        assert_eq!(self.sure(login).await.0, 401, "{}: a password of before", self.name);
    }

    /// All that ended. How much that was: sessions, and passwords.
    pub async fn check_all(&mut self) -> (usize, usize) {
        for n in 0..self.over.len() {
            self.refuses_session(n).await;
        }
        for n in 0..self.passwords.len() {
            self.refuses_password(n).await;
        }
        (self.over.len(), self.passwords.len())
    }
}
