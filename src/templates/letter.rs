//! Letters: what they are about, and what stands in them.

use std::fmt;

use minijinja::{Environment, Value, context};

use super::{TemplateError, Templates, host, render};
use crate::{error::Error, model::WORD_JOINER};

/// What a letter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// An account says that this is its address: prove it.
    Verify,
    /// The same, and the address is proved to be another account's: nothing to prove.
    VerifyTaken,
    /// Somebody forgot the password.
    Reset,
    /// To the address of before.
    EmailChanged,
    /// By its owner, or by a reset.
    PasswordChanged,
    /// The right password after many wrong ones, from where the account had not logged in.
    LoginAfterFailures,
    /// By its owner.
    AccountDeleted,
}

impl Letter {
    pub(super) const ALL: [Self; 7] = [
        Self::Verify,
        Self::VerifyTaken,
        Self::Reset,
        Self::EmailChanged,
        Self::PasswordChanged,
        Self::LoginAfterFailures,
        Self::AccountDeleted,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::VerifyTaken => "verify-taken",
            Self::Reset => "reset",
            Self::EmailChanged => "email-changed",
            Self::PasswordChanged => "password-changed",
            Self::LoginAfterFailures => "login-after-failures",
            Self::AccountDeleted => "account-deleted",
        }
    }

    /// Whether it is for nothing without a link or a code.
    pub(super) fn has_proof(self) -> bool {
        matches!(self, Self::Verify | Self::Reset)
    }
}

/// What stands in a letter.
#[derive(Clone)]
pub struct Values {
    /// The account that asked, or that it is about.
    pub username: String,
    /// To whom it goes.
    pub email: String,
    /// Where the proof is given.
    pub link: Option<String>,
    /// What can be typed instead.
    pub code: Option<String>,
    /// How long the link counts.
    pub link_minutes: u32,
    /// How long the code counts.
    pub code_minutes: u32,
    /// `PUBLIC_URL`
    pub issuer: String,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Values(…)")
    }
}

impl Values {
    fn context(&self) -> Value {
        context! {
            username => unlinked(&self.username),
            email => &self.email,
            link => &self.link,
            code => &self.code,
            link_lasts => in_words(self.link_minutes),
            code_lasts => in_words(self.code_minutes),
            issuer => &self.issuer,
            host => host(&self.issuer),
        }
    }
}

/// A letter, written.
#[derive(Clone)]
pub struct Written {
    /// One line.
    pub subject: String,
    /// The part for those who read text.
    pub text: String,
    /// The same in HTML.
    pub html: String,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written(…)")
    }
}

impl Templates {
    /// Writes a letter.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn letter(&self, letter: Letter, values: &Values) -> Result<Written, Error> {
        let context = values.context();
        let part = |kind: &str| self.render(&format!("mail/{}.{kind}", letter.name()), &context);
        Ok(Written { subject: one_line(&part("subject")?), text: part("txt")?, html: part("html")? })
    }
}

/// Renders all there is, so that a name that no value has is found now.
pub(super) fn try_out(own: &Environment) -> Result<(), TemplateError> {
    let values = Values {
        username: "jane".to_owned(),
        email: "jane@example.org".to_owned(),
        link: Some("https://login.example.com/verify?token=sample".to_owned()),
        code: Some("01234567".to_owned()),
        link_minutes: 30,
        code_minutes: 10,
        issuer: "https://login.example.com".to_owned(),
    };
    let bare = Values { link: None, code: None, ..values.clone() };
    for letter in Letter::ALL {
        for kind in ["subject", "txt", "html"] {
            let name = format!("mail/{}.{kind}", letter.name());
            let write = |values: &Values| {
                render(own, &name, &values.context()).map_err(|error| TemplateError::of(&name, &error))
            };
            let (whole, _) = (write(&values)?, write(&bare)?);
            let shows = |value: &Option<String>| value.as_ref().is_some_and(|value| whole.contains(value));
            if letter.has_proof() && kind != "subject" && !shows(&values.link) && !shows(&values.code) {
                return Err(TemplateError::new(&name, "shows neither {{ link }} nor {{ code }}"));
            }
            if whole.trim().is_empty() {
                return Err(TemplateError::new(&name, "is empty"));
            }
        }
    }
    Ok(())
}

/// A name that reads like a web address, so that no mail reader makes a link of it, in our letter: a word joiner, which
/// nobody sees, behind each sign that makes it one.
fn unlinked(name: &str) -> String {
    let joined = |c: char| [Some(c), matches!(c, '.' | '/' | ':').then_some(WORD_JOINER)];
    name.chars().flat_map(joined).flatten().collect()
}

/// A header ends where a line ends.
pub(super) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

pub(super) fn in_words(minutes: u32) -> String {
    let (number, unit) =
        if minutes >= 60 && minutes.is_multiple_of(60) { (minutes / 60, "hour") } else { (minutes, "minute") };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}
