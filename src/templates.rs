//! What people read: the letters of mails, and the pages behind their links.
//!
//! Each template is built in, and replaced by a file of its name in `MAIL_TEMPLATES`. What an operator wrote is
//! tried out at the start, in every way in which it is used.

mod letter;
mod page;

use std::{
    borrow::Cow,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use minijinja::{
    AutoEscape, Environment, HtmlEscape, Output, State, UndefinedBehavior, Value, escape_formatter,
    syntax::SyntaxConfig,
};
use url::Url;

use crate::error::Error;
pub use letter::{Letter, Values, Written};
use page::Style;
pub use page::{Page, Shown, Trouble};

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
    "mail/login-after-failures.subject"
    "mail/login-after-failures.txt"
    "mail/login-after-failures.html"
    "mail/account-deleted.subject"
    "mail/account-deleted.txt"
    "mail/account-deleted.html"
    "pages/layout.html"
    "pages/style.css"
    "pages/verify.html"
    "pages/reset.html"
    "pages/done.html"
    "pages/problem.html"
    "pages/mailbox.html"
};

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
    style: Style,
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
        let (built_in, style) = environment(BUILT_IN.iter().map(|(name, text)| (*name, (*text).into())))?;
        let Some(folder) = folder else { return Ok(Self { built_in, own: None, style }) };
        let mut sources = Vec::new();
        for (name, text) in BUILT_IN {
            sources.push((*name, read(folder, name)?.map_or(Cow::Borrowed(*text), Cow::Owned)));
        }
        refuse_strangers(folder)?;
        let (own, style) = environment(sources.into_iter())?;
        letter::try_out(&own)?;
        page::try_out(&own, &style)?;
        Ok(Self { built_in, own: Some(own), style })
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

fn environment(
    sources: impl Iterator<Item = (&'static str, Cow<'static, str>)>,
) -> Result<(Environment<'static>, Style), TemplateError> {
    let mut environment = Environment::new();
    // Its errors would carry what stands in the letter.
    environment.set_debug(false);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| TemplateError::of("", &error))?);
    environment.set_formatter(format);
    let mut style = Style::new("")?;
    for (name, text) in sources {
        if name == Style::NAME {
            style = Style::new(&text)?;
            continue;
        }
        environment.add_template_owned(name, text).map_err(|error| TemplateError::of(name, &error))?;
    }
    Ok((environment, style))
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

/// What people know the server by.
fn host(issuer: &str) -> String {
    let url = Url::parse(issuer).ok();
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| issuer.to_owned())
}

#[cfg(test)]
mod tests;
