//! What the server under test gave back: answers, tokens, letters.

use hallpass::{mail::Kept, model::MailKind};
use poem::http::HeaderMap;
use serde_json::{Value, json};

/// A mail, as its reader sees it.
#[derive(Debug, Clone)]
pub struct Letter {
    pub kind: MailKind,
    pub to: String,
    pub text: String,
    /// Behind its link.
    pub token: String,
    pub code: String,
    pub raw: String,
}

impl Letter {
    pub fn of(kept: &Kept) -> Self {
        let text = kept.mail.text.clone();
        let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let after = text.split("?token=").nth(1).unwrap_or_default();
        let token = after.split(|c| !is_of_token(c)).next().unwrap_or_default().to_owned();
        let is_code = |word: &&str| word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit());
        let code = text.split(|c| !is_of_token(c)).find(is_code).unwrap_or_default().to_owned();
        let raw = String::from_utf8(kept.raw.clone()).unwrap();
        Self { kind: kept.mail.kind, to: kept.mail.to.clone(), text, token, code, raw }
    }

    /// The proof of its link.
    pub fn link(&self) -> Value {
        json!({"token": self.token})
    }

    /// The proof of its code, for the address that it was mailed to.
    pub fn code(&self) -> Value {
        json!({"email": self.to, "code": self.code})
    }
}

/// What `/login` and `/refresh` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub access: String,
    pub refresh: String,
}

impl Pair {
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }

    /// The id of its session.
    pub fn sid(&self) -> String {
        super::forge::parts(&self.access).1["sid"].as_str().unwrap().to_owned()
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts a problem: status, code, and the exact detail if there is one.
    #[track_caller]
    pub fn refuses(&self, status: u16, code: &str, detail: &str) {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        if !detail.is_empty() {
            assert_eq!(problem["detail"], detail);
        }
    }

    /// `pointer: detail` of each value that was refused.
    pub fn invalid(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|e| format!("{}: {}", e["pointer"].as_str().unwrap(), e["detail"].as_str().unwrap()))
            .collect()
    }

    /// The body without what differs from request to request.
    pub fn body_without_id(&self) -> Value {
        let mut body = self.json();
        body.as_object_mut().unwrap().remove("request_id");
        body
    }
}
