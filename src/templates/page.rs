//! Pages: what they ask, and what they say.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use minijinja::{Environment, Value, context};

use super::{TemplateError, Templates, host, render};
use crate::error::Error;

/// A page, with what stands on it.
#[derive(Clone, Copy)]
pub enum Page<'a> {
    /// Asks whether the address is confirmed.
    Verify {
        /// Of the link.
        token: &'a str,
    },
    /// Asks for another password.
    Reset {
        /// Of the link.
        token: &'a str,
        /// The fewest characters that it must have.
        min_length: usize,
        /// What was wrong with the one before.
        refusal: Option<&'a str>,
    },
    /// The address is confirmed.
    Verified,
    /// The password is set.
    PasswordSet,
    /// It was not done.
    Problem {
        /// Why.
        trouble: Trouble,
        /// What went wrong, a sentence without its full stop.
        detail: &'a str,
        /// The request.
        request_id: &'a str,
    },
    /// What the demo would have sent.
    Mailbox {
        /// The newest first.
        mails: &'a [Shown],
    },
}

/// What there is to do about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Ask for another mail.
    Link,
    /// Try again.
    Later {
        /// After so many seconds.
        seconds: Option<u32>,
    },
    /// Nothing.
    Other,
}

/// A mail in the mailbox.
pub struct Shown {
    /// Its subject.
    pub subject: String,
    /// To whom.
    pub to: String,
    /// When, as people read it.
    pub at: String,
    /// The lines of its text, and whether one is a link to this server.
    pub lines: Vec<(String, bool)>,
}

/// A page may hold a token.
impl fmt::Debug for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({})", self.name())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(…)")
    }
}

impl Page<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Verify { .. } => "pages/verify.html",
            Self::Reset { .. } => "pages/reset.html",
            Self::Verified | Self::PasswordSet => "pages/done.html",
            Self::Problem { .. } => "pages/problem.html",
            Self::Mailbox { .. } => "pages/mailbox.html",
        }
    }

    fn context(&self) -> Value {
        match *self {
            Self::Verify { token } => context! { token },
            Self::Reset { token, min_length, refusal } => context! { token, min_length, refusal },
            Self::Verified => context! { done => "verified" },
            Self::PasswordSet => context! { done => "reset" },
            Self::Problem { trouble, detail, request_id } => {
                let (problem, seconds) = match trouble {
                    Trouble::Link => ("link", None),
                    Trouble::Later { seconds } => ("later", seconds),
                    Trouble::Other => ("other", None),
                };
                context! { problem, seconds, detail, request_id }
            }
            Self::Mailbox { mails } => context! { mails => mails.iter().map(Shown::context).collect::<Vec<_>>() },
        }
    }
}

impl Shown {
    fn context(&self) -> Value {
        let line = |(text, is_link): &(String, bool)| context! { text, is_link };
        let lines: Vec<Value> = self.lines.iter().map(line).collect();
        context! { subject => &self.subject, to => &self.to, at => &self.at, lines }
    }
}

/// The style of every page. The policy of the pages names it by its digest, and lets no other apply.
pub(super) struct Style {
    text: String,
    digest: String,
}

impl Style {
    pub(super) const NAME: &'static str = "pages/style.css";

    /// As a browser reads it: with one kind of line ends.
    ///
    /// # Errors
    /// It would end the element that it stands in.
    pub(super) fn new(text: &str) -> Result<Self, TemplateError> {
        if text.to_ascii_lowercase().contains("</style") {
            return Err(TemplateError::new(Self::NAME, "must not contain </style"));
        }
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "\u{fffd}");
        let digest = STANDARD.encode(digest(&SHA256, text.as_bytes()));
        Ok(Self { text, digest })
    }

    fn context(&self, issuer: &str) -> Value {
        context! { style => Value::from_safe_string(self.text.clone()), host => host(issuer) }
    }
}

impl Templates {
    /// Writes a page of the server that `issuer` names.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn page(&self, page: &Page, issuer: &str) -> Result<String, Error> {
        self.render(page.name(), &whole(page, &self.style, issuer))
    }

    /// The SHA-256 of the one style that the pages have, in base64.
    pub fn style_digest(&self) -> &str {
        &self.style.digest
    }
}

fn whole(page: &Page, style: &Style, issuer: &str) -> Value {
    context! { ..page.context(), ..style.context(issuer) }
}

/// Renders all there is, so that a name that no value has is found now.
pub(super) fn try_out(own: &Environment, style: &Style) -> Result<(), TemplateError> {
    let (token, detail, request_id) = ("sample-token", "It did not work", "sample");
    let problem = |trouble| Page::Problem { trouble, detail, request_id };
    let lines = vec![("https://login.example.com/".to_owned(), true), (String::new(), false)];
    let text = || "sample".to_owned();
    let mails = [Shown { subject: text(), to: text(), at: text(), lines }];
    for page in [
        Page::Verify { token },
        Page::Reset { token, min_length: 15, refusal: None },
        Page::Reset { token, min_length: 15, refusal: Some("is a sample") },
        Page::Verified,
        Page::PasswordSet,
        problem(Trouble::Link),
        problem(Trouble::Later { seconds: Some(1) }),
        problem(Trouble::Later { seconds: None }),
        problem(Trouble::Other),
        Page::Mailbox { mails: &[] },
        Page::Mailbox { mails: &mails },
    ] {
        let name = page.name();
        let text = render(own, name, &whole(&page, style, "https://login.example.com"));
        let text = text.map_err(|error| TemplateError::of(name, &error))?;
        if matches!(page, Page::Verify { .. } | Page::Reset { .. }) && !text.contains(token) {
            return Err(TemplateError::new(name, "does not hold {{ token }}"));
        }
    }
    Ok(())
}
