//! What people read: the letters of mails, and the pages behind their links.
//!
//! Each template is built in, and replaced by a file of its name in `MAIL_TEMPLATES`. What an operator wrote is
//! tried out at the start, in every way in which it is used.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use minijinja::{
    AutoEscape, Environment, HtmlEscape, Output, State, UndefinedBehavior, Value, context, escape_formatter,
    syntax::SyntaxConfig,
};
use url::Url;

use crate::error::Error;

macro_rules! built_in {
    ($($name:literal)+) => { &[$(($name, include_str!(concat!("../templates/", $name)))),+] };
}

/// Every template: its name, and its text unless the operator has another one.
const BUILT_IN: &[(&str, &str)] = built_in! {
    "mail/layout.html"
    "mail/verify.subject"
    "mail/verify.txt"
    "mail/verify.html"
    "mail/verify-taken.subject"
    "mail/verify-taken.txt"
    "mail/verify-taken.html"
    "mail/reset.subject"
    "mail/reset.txt"
    "mail/reset.html"
    "mail/email-changed.subject"
    "mail/email-changed.txt"
    "mail/email-changed.html"
    "mail/password-changed.subject"
    "mail/password-changed.txt"
    "mail/password-changed.html"
};

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
}

impl Letter {
    const ALL: [Self; 5] = [Self::Verify, Self::VerifyTaken, Self::Reset, Self::EmailChanged, Self::PasswordChanged];

    fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::VerifyTaken => "verify-taken",
            Self::Reset => "reset",
            Self::EmailChanged => "email-changed",
            Self::PasswordChanged => "password-changed",
        }
    }

    /// Whether it is for nothing without a link or a code.
    fn has_proof(self) -> bool {
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
            username => &self.username,
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

/// A template of the operator that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TemplateError {
    /// The template, or where it would stand.
    pub file: String,
    /// Where in it.
    pub line: Option<usize>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MAIL_TEMPLATES: {}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.why)
    }
}

impl TemplateError {
    fn new(file: &str, why: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), line: None, why: why.to_string() }
    }

    fn of(file: &str, error: &minijinja::Error) -> Self {
        let why = error.detail().map_or_else(|| error.kind().to_string(), |why| format!("{}: {why}", error.kind()));
        Self { file: error.name().unwrap_or(file).to_owned(), line: error.line(), why }
    }
}

/// See the module.
pub struct Templates {
    built_in: Environment<'static>,
    /// With what the operator replaced.
    own: Option<Environment<'static>>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("own", &self.own.is_some()).finish_non_exhaustive()
    }
}

impl Templates {
    /// The templates that are built in, and in their place those of a folder, which are tried out.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn load(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let built_in = BUILT_IN.iter().map(|(name, text)| (*name, (*text).to_owned()));
        let built_in = environment(built_in)?;
        let Some(folder) = folder else { return Ok(Self { built_in, own: None }) };
        let mut sources = Vec::new();
        for (name, text) in BUILT_IN {
            sources.push((*name, read(folder, name)?.unwrap_or_else(|| (*text).to_owned())));
        }
        refuse_strangers(folder)?;
        let own = environment(sources.into_iter())?;
        try_out(&own)?;
        Ok(Self { built_in, own: Some(own) })
    }

    /// Writes a letter.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn letter(&self, letter: Letter, values: &Values) -> Result<Written, Error> {
        let context = values.context();
        let part = |kind: &str| self.render(&format!("mail/{}.{kind}", letter.name()), &context);
        Ok(Written { subject: one_line(&part("subject")?), text: part("txt")?, html: part("html")? })
    }

    /// What was tried out may still fail with other values. Then the one that is built in does.
    fn render(&self, name: &str, context: &Value) -> Result<String, Error> {
        if let Some(own) = &self.own {
            match render(own, name, context) {
                Ok(text) => return Ok(text),
                // Without its detail, which may hold a value.
                Err(error) => {
                    let (file, line) = (error.name().unwrap_or(name), error.line());
                    tracing::error!(event = "template_failed", file, line, reason = %error.kind());
                }
            }
        }
        render(&self.built_in, name, context).map_err(Error::internal)
    }
}

fn render(environment: &Environment, name: &str, context: &Value) -> Result<String, minijinja::Error> {
    environment.get_template(name)?.render(context)
}

fn environment(sources: impl Iterator<Item = (&'static str, String)>) -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    // Its errors would carry what stands in the letter.
    environment.set_debug(false);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| TemplateError::of("", &error))?);
    environment.set_formatter(format);
    for (name, text) in sources {
        environment.add_template_owned(name, text).map_err(|error| TemplateError::of(name, &error))?;
    }
    Ok(environment)
}

/// minijinja's own, but that a slash stays one: escaped, it would make of an address what filters of mail take for a
/// disguise.
fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    match value.as_str() {
        Some(text) if matches!(state.auto_escape(), AutoEscape::Html) && !value.is_safe() => {
            Ok(out.write_str(&HtmlEscape(text).to_string().replace("&#x2f;", "/"))?)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// The operator's file of this name, if there is one.
fn read(folder: &Path, name: &str) -> Result<Option<String>, TemplateError> {
    match fs::read_to_string(folder.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(TemplateError::new(name, "is not UTF-8")),
        Err(error) => Err(TemplateError::new(name, format!("cannot be read: {error}"))),
    }
}

/// A file whose name is nearly that of a template would be left out in silence.
fn refuse_strangers(folder: &Path) -> Result<(), TemplateError> {
    let is_known = |path: &Path| BUILT_IN.iter().any(|(name, _)| Path::new(name) == path);
    let is_template =
        |path: &Path| path.extension().is_some_and(|kind| ["txt", "html", "subject", "css"].iter().any(|k| kind == *k));
    for inside in ["", "mail", "pages"] {
        for path in list(folder, inside)? {
            if is_template(&path) && !is_known(&path) {
                let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                let why = format!("is not the name of a template; these are {}", names.join(", "));
                return Err(TemplateError::new(&path.display().to_string(), why));
            }
        }
    }
    Ok(())
}

/// What a folder inside the operator's holds, if it is there, in order.
fn list(folder: &Path, inside: &str) -> Result<Vec<PathBuf>, TemplateError> {
    let entries = match fs::read_dir(folder.join(inside)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries,
    };
    let names = entries.and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
    let mut names = names.map_err(|error| TemplateError::new(inside, format!("cannot be read: {error}")))?;
    names.sort();
    Ok(names.into_iter().map(|name| Path::new(inside).join(name)).collect())
}

/// Renders all there is, so that a name that no value has is found now.
fn try_out(own: &Environment) -> Result<(), TemplateError> {
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

/// A header ends where a line ends.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// What people know the server by.
fn host(issuer: &str) -> String {
    let url = Url::parse(issuer).ok();
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| issuer.to_owned())
}

fn in_words(minutes: u32) -> String {
    let (number, unit) =
        if minutes >= 60 && minutes.is_multiple_of(60) { (minutes / 60, "hour") } else { (minutes, "minute") };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
