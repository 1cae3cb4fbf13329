//! HTTP: what the server answers to whom. It knows no SQL, and no rule beyond who may call.
//!
//! This page is the route table, and the order of the layers around it.

mod account;
mod admin;
mod body;
mod context;
mod cors;
mod discovery;
mod docs;
mod document;
mod edge;
mod email;
mod guard;
mod health;
mod json;
pub mod metrics;
mod pages;
mod problem;
mod recovery;
pub mod serve;
mod session;

use std::sync::Arc;

use poem::{Endpoint, IntoEndpoint, IntoResponse, Response};
use poem_openapi::{
    ApiResponse, ExtraHeader, OpenApiService, Tags,
    registry::{MetaResponses, Registry},
};

use crate::{app::App, error::Error};
use edge::{Edge, Methods};

type Apis = (
    session::SessionApi,
    account::AccountApi,
    email::EmailApi,
    recovery::RecoveryApi,
    admin::AdminApi,
    discovery::DiscoveryApi,
    health::HealthApi,
    docs::DocsApi,
    pages::PagesApi,
);

#[derive(Tags)]
enum Tag {
    /// Log in, stay so, and end it.
    Session,
    /// Accounts.
    Account,
    /// The accounts of others; with the role `admin`.
    Admin,
    /// For services that verify tokens by themselves.
    Discovery,
    /// For whoever watches the process.
    Health,
}

/// It was done, and there is nothing to say.
#[derive(ApiResponse)]
enum Done {
    /// Done.
    #[oai(status = 204)]
    NoContent,
}

/// It was heard, and that is all that anybody is told.
#[derive(ApiResponse)]
enum Heard {
    /// If there is an account that this is for, a mail is on its way.
    #[oai(status = 202)]
    Accepted,
}

/// An answer that the document does not describe.
struct Undescribed(Response);

impl IntoResponse for Undescribed {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Undescribed {
    fn meta() -> MetaResponses {
        MetaResponses { responses: Vec::new() }
    }

    fn register(_: &mut Registry) {}
}

/// The server's answers, in their layers: `Edge` ⊃ routes ⊃ guard ⊃ body ⊃ rule.
///
/// # Errors
/// [`Error::Internal`] if the system has no random bytes, or routes of this app are counted already.
pub fn routes(app: Arc<App>) -> Result<impl Endpoint<Output = Response>, Error> {
    let mut methods = methods();
    if app.config.docs {
        methods.extend(docs::PATHS.map(|path| (path.to_owned(), "GET, HEAD".to_owned())));
    }
    let pages = pages::methods(&app);
    let paths = pages.keys().cloned().collect();
    methods.extend(pages);
    // Without a `Route` around it, which would route each request twice.
    Edge::new(service().into_endpoint(), app, methods, paths)
}

/// The document: what `GET /openapi.json` and `hallpass openapi` print.
pub fn spec() -> String {
    document::finish(&service().spec())
}

fn swagger_ui_html() -> String {
    let service = service();
    let generated = service.spec();
    service.swagger_ui_html().replacen(&generated, &document::finish(&generated), 1)
}

/// Of the interface. That of the program is told to nobody who has not logged in to the machine.
const VERSION: &str = "1";

fn service() -> OpenApiService<Apis, ()> {
    let apis = (
        session::SessionApi,
        account::AccountApi,
        email::EmailApi,
        recovery::RecoveryApi,
        admin::AdminApi,
        discovery::DiscoveryApi::default(),
        health::HealthApi::default(),
        docs::DocsApi::default(),
        pages::PagesApi,
    );
    let request_id = ExtraHeader::new("X-Request-Id").description("Stands in the server's log");
    // No server is named: Swagger UI asks where it came from.
    OpenApiService::new(apis, "Hallpass", VERSION)
        .description("A self-hosted authentication server. Log in, and send the access token as a bearer token.")
        .extra_response_header::<String, _>(request_id)
}

/// The methods of each path of the document. `HEAD` is wherever `GET` is.
fn methods() -> Methods {
    let document: serde_json::Value = serde_json::from_str(&spec()).unwrap_or_default();
    let paths = document.get("paths").and_then(|paths| paths.as_object()).into_iter().flatten();
    let list = |operations: &serde_json::Value| {
        let names = operations.as_object().into_iter().flat_map(|operations| operations.keys());
        names.map(|name| if name == "get" { "GET, HEAD".to_owned() } else { name.to_uppercase() }).collect::<Vec<_>>()
    };
    paths.map(|(path, operations)| (pattern(path), list(operations).join(", "))).collect()
}

/// What poem-openapi makes of a path of the document: parameters are numbered there.
fn pattern(path: &str) -> String {
    let mut count = 0;
    let segment = |segment: &str| {
        if !segment.starts_with('{') {
            return segment.to_owned();
        }
        count += 1;
        format!(":param{}", count - 1)
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
