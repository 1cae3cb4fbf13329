//! The pages behind the links of mails, for people and without scripts; outside the document.
//!
//! What scans mails opens their links: `GET` looks at nothing and changes nothing, and only the button does it. The
//! addresses in the pages are relative, so that they hold below a path of `PUBLIC_URL`, too.

use poem::{
    FromRequest, Request, RequestBody, Response, Result,
    error::NotFoundError,
    http::{StatusCode, header},
};
use poem_openapi::OpenApi;
use url::form_urlencoded;

use super::{
    Undescribed, body,
    context::Context,
    edge::Methods,
    problem::{Code, Problem},
};
use crate::{
    app::App,
    auth::{code::Proof, email, recovery},
    error::{Error, FieldError},
    mail::{Kept, Mailer},
    templates::{Page, Shown, Trouble},
};

const MAILBOX: &str = "/dev/mailbox";

/// The paths of the pages that this server has.
pub fn methods(app: &App) -> Methods {
    let pages = ["/verify", "/reset"].map(|path| (path.to_owned(), "GET, HEAD, POST".to_owned()));
    let mailbox = matches!(app.mailer, Mailer::Mailbox(_)).then(|| (MAILBOX.to_owned(), "GET, HEAD".to_owned()));
    pages.into_iter().chain(mailbox).collect()
}

/// See the module.
pub struct PagesApi;

#[OpenApi]
impl PagesApi {
    #[oai(path = "/verify", method = "get", operation_id = "get_verify_page", hidden)]
    async fn get_verify(&self, context: Context, link: Link) -> Result<Undescribed> {
        show(&context.app, StatusCode::OK, &Page::Verify { token: &link.token()? })
    }

    #[oai(path = "/verify", method = "post", operation_id = "post_verify_page", hidden)]
    async fn post_verify(&self, context: Context, link: Link, form: Form) -> Result<Undescribed> {
        let Context { app, now, client } = context;
        let proof = Proof::Link(form.token.map_or_else(|| link.token(), Ok)?);
        email::verify(&app, now, client, proof).await.map_err(Problem::from)?;
        show(&app, StatusCode::OK, &Page::Verified)
    }

    #[oai(path = "/reset", method = "get", operation_id = "get_reset_page", hidden)]
    async fn get_reset(&self, context: Context, link: Link) -> Result<Undescribed> {
        let min_length = context.app.config.password_min_length;
        let page = Page::Reset { token: &link.token()?, min_length, refusal: None };
        show(&context.app, StatusCode::OK, &page)
    }

    #[oai(path = "/reset", method = "post", operation_id = "post_reset_page", hidden)]
    async fn post_reset(&self, context: Context, link: Link, form: Form) -> Result<Undescribed> {
        let Context { app, now, client } = context;
        let token = form.token.map_or_else(|| link.token(), Ok)?;
        let (proof, password) = (Proof::Link(token.clone()), form.password.unwrap_or_default());
        match recovery::reset(&app, now, client, proof, password).await {
            Ok(()) => show(&app, StatusCode::OK, &Page::PasswordSet),
            Err(Error::Validation(errors)) => {
                let refusal = errors.first().map_or("cannot be this one", |error| error.detail.as_str());
                let min_length = app.config.password_min_length;
                let page = Page::Reset { token: &token, min_length, refusal: Some(refusal) };
                show(&app, StatusCode::UNPROCESSABLE_ENTITY, &page)
            }
            Err(error) => Err(Problem::from(error).into()),
        }
    }

    #[oai(path = "/dev/mailbox", method = "get", operation_id = "get_mailbox_page", hidden)]
    async fn get_mailbox(&self, context: Context) -> Result<Undescribed> {
        let app = &context.app;
        let Mailer::Mailbox(mailbox) = &app.mailer else { return Err(NotFoundError.into()) };
        let mails: Vec<Shown> = mailbox.list().iter().rev().map(|kept| shown(kept, &app.config.public_url)).collect();
        show(app, StatusCode::OK, &Page::Mailbox { mails: &mails })
    }
}

/// What the address of a page has of its mail's link.
struct Link(Option<String>);

impl Link {
    /// # Errors
    /// There is none: the link was cut on its way.
    fn token(&self) -> Result<String, Problem> {
        self.0.clone().ok_or_else(|| Error::InvalidCode.into())
    }
}

impl<'a> FromRequest<'a> for Link {
    /// Whatever stands beside it: mailers add names of their own to links.
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let query = request.uri().query().unwrap_or_default();
        let mut tokens = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "token");
        let token = tokens.next().map(|(_, token)| token.into_owned()).filter(|token| !token.is_empty());
        Ok(Self(token.filter(|_| tokens.next().is_none())))
    }
}

/// What the forms of the pages send.
#[derive(Default)]
struct Form {
    token: Option<String>,
    password: Option<String>,
}

impl<'a> FromRequest<'a> for Form {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        body::check_media_type(request, &mime::APPLICATION_WWW_FORM_URLENCODED)?;
        let bytes = body::receive(request, body).await?;
        Ok(Self::parse(&bytes).map_err(Problem::from)?)
    }
}

impl Form {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(bytes) {
            let field = match name.as_ref() {
                "token" => &mut form.token,
                "password" => &mut form.password,
                _ => return Err(unlike_ours()),
            };
            // What is not UTF-8 has been replaced: nobody could type that password again.
            if value.contains(char::REPLACEMENT_CHARACTER) || field.replace(value.into_owned()).is_some() {
                return Err(unlike_ours());
            }
        }
        Ok(form)
    }
}

fn unlike_ours() -> Error {
    Error::Validation(vec![FieldError::new("", "must be what the page's form sends")])
}

/// A line with nothing but an address of this server is a link.
fn shown(kept: &Kept, issuer: &str) -> Shown {
    let mail = &kept.mail;
    let is_link = |line: &str| line.strip_prefix(issuer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    Shown {
        subject: mail.subject.clone(),
        to: mail.to.clone(),
        at: mail.at.to_string(),
        lines: mail.text.lines().map(|line| (line.to_owned(), is_link(line))).collect(),
    }
}

fn show(app: &App, status: StatusCode, page: &Page) -> Result<Undescribed> {
    let html = app.templates.page(page, &app.config.public_url).map_err(Problem::from)?;
    Ok(Undescribed(response(app, status, html)))
}

fn response(app: &App, status: StatusCode, html: String) -> Response {
    let style = app.templates.style_digest();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    let response = Response::builder().status(status).content_type("text/html; charset=utf-8");
    response.header(header::CONTENT_SECURITY_POLICY, policy).body(html)
}

/// A problem for people.
pub fn problem(app: &App, problem: &Problem, request_id: &str) -> Response {
    let trouble = match problem.code {
        Code::InvalidCode => Trouble::Link,
        Code::TooManyAttempts | Code::Overloaded | Code::StorageUnavailable | Code::RequestTimeout => {
            Trouble::Later { seconds: problem.retry_after }
        }
        _ => Trouble::Other,
    };
    let page = Page::Problem { trouble, detail: &problem.detail, request_id };
    // The templates that are built in do not fail; if they did, this would say it all the same.
    let html = app.templates.page(&page, &app.config.public_url).unwrap_or_else(|_| "It did not work.".to_owned());
    response(app, problem.status, html)
}

#[cfg(test)]
mod tests {
    use super::{Form, shown};
    use crate::{
        mail::{Kept, Mail},
        model::{MailKind, Time},
    };

    fn parse(text: &str) -> Option<(Option<String>, Option<String>)> {
        Form::parse(text.as_bytes()).ok().map(|form| (form.token, form.password))
    }

    #[test]
    fn a_form_has_the_fields_of_the_page_once_each() {
        let some = |text: &str| Some(text.to_owned());
        for (text, form) in [
            ("", (None, None)),
            ("token=a-_b", (some("a-_b"), None)),
            ("token=a&password=two+words%21+%F0%9F%8E%89", (some("a"), some("two words! \u{1f389}"))),
            ("password=", (None, some(""))),
        ] {
            assert_eq!(parse(text), Some(form), "{text}");
        }
        for text in ["token=a&token=a", "token=a&admin=1", "a", "password=%ff", "password=%ED%A0%80", "Token=a"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_is_a_link_if_it_leads_to_this_server() {
        let lines = [
            ("https://login.example.com/auth/verify?token=x", true),
            ("https://login.example.com/auth", true),
            ("https://login.example.com/author", false),
            ("https://login.example.com.evil.example/auth/verify", false),
            (" https://login.example.com/auth/", false),
            ("javascript:alert(1)", false),
            ("", false),
        ];
        let text = lines.map(|(line, _)| line).join("\n");
        let mail = Mail {
            id: uuid::Uuid::from_bytes([7; 16]).into(),
            kind: MailKind::Verify,
            to: "jane@example.org".to_owned(),
            at: Time::from_unix(1_795_424_400),
            subject: "Hello".to_owned(),
            text,
            html: String::new(),
        };
        let shown = shown(&Kept { mail, raw: Vec::new() }, "https://login.example.com/auth");
        let found: Vec<(&str, bool)> = shown.lines.iter().map(|(line, is)| (line.as_str(), *is)).collect();
        // The last line is empty, and so is none.
        assert_eq!(found, lines[..6]);
        assert_eq!(shown.at, "2026-11-23T09:00:00Z");
    }
}
