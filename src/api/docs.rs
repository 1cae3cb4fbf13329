//! The generated document, and Swagger UI, whole in the binary: it works offline.

use std::io::Write;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use poem::{
    Request, Response,
    error::NotFoundError,
    http::{HeaderMap, StatusCode, header},
};
use poem_openapi::OpenApi;
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::{Undescribed, context::Context, problem::Problem};
use crate::error::Error;

/// Where the template of Swagger UI starts it.
const START: &str = "SwaggerUIBundle({\n        dom_id: '#ui',";

/// The same, and whoever executes `POST /login` or `POST /refresh` is authorized.
const AUTHORIZING_START: &str = "window.ui = SwaggerUIBundle({
        responseInterceptor: (response) => {
            const { pathname } = new URL(response.url, window.location.href);
            const token = response.obj && response.obj.access_token;
            if (response.status === 200 && token && /[/](login|refresh)$/.test(pathname)) {
                window.ui.preauthorizeApiKey('BearerAuth', token);
            }
            return response;
        },
        tryItOutEnabled: true,
        dom_id: '#ui',";

/// What stands outside the document.
#[derive(Default)]
pub struct DocsApi {
    document: OnceCell<Page>,
    swagger_ui: OnceCell<Page>,
}

/// Its paths.
pub const PATHS: [&str; 3] = ["/", "/docs", "/openapi.json"];

#[OpenApi]
impl DocsApi {
    #[oai(path = "/", method = "get", operation_id = "get_root", hidden)]
    async fn get_root(&self, context: Context) -> poem::Result<Undescribed> {
        if !context.app.config.docs {
            return Err(NotFoundError.into());
        }
        let response = Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header(header::LOCATION, "/docs");
        Ok(Undescribed(response.finish()))
    }

    #[oai(path = "/docs", method = "get", operation_id = "get_docs", hidden)]
    async fn get_docs(&self, request: &Request, context: Context) -> poem::Result<Undescribed> {
        page(&self.swagger_ui, swagger_ui, request, &context).await
    }

    #[oai(path = "/openapi.json", method = "get", operation_id = "get_document", hidden)]
    async fn get_document(&self, request: &Request, context: Context) -> poem::Result<Undescribed> {
        page(&self.document, document, request, &context).await
    }
}

/// Where the head of the template starts.
const HEAD: &str = "<head>\n";

/// The same, with an empty icon: without one, browsers ask for `/favicon.ico` and complain that there is none.
const HEAD_WITH_ICON: &str = "<head>\n    <link rel=\"icon\" href=\"data:,\">\n";

/// A page that is made once, compressed once, and named by its digest.
struct Page {
    // Shared by all who read it, however slowly.
    plain: Bytes,
    gzip: Bytes,
    content_type: &'static str,
    policy: Option<String>,
    etag: String,
}

impl Page {
    fn new(text: String, content_type: &'static str, policy: Option<String>) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail; if it did, the page would be served as it is.
        let gzip = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()).unwrap_or_default();
        // Weak: plain and compressed are the same page.
        let etag = format!("W/\"{}\"", hash(text.as_bytes()));
        Self { plain: text.into(), gzip: gzip.into(), content_type, policy, etag }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let wants = |name, what: &str| {
            let values = request.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).map(str::trim).any(|item| item == what)
        };
        let mut response = Response::builder()
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::VARY, "Accept-Encoding");
        if let Some(policy) = &self.policy {
            response = response.header(header::CONTENT_SECURITY_POLICY, policy);
        }
        if wants(header::IF_NONE_MATCH, &self.etag) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        let response = response.content_type(self.content_type);
        if wants(header::ACCEPT_ENCODING, "gzip") && !self.gzip.is_empty() {
            response.header(header::CONTENT_ENCODING, "gzip").body(self.gzip.clone())
        } else {
            response.body(self.plain.clone())
        }
    }
}

fn document() -> Page {
    Page::new(super::spec(), "application/json", None)
}

fn swagger_ui() -> Page {
    let html = adapt(&super::swagger_ui_html());
    let policy = policy(&html);
    Page::new(html, "text/html; charset=utf-8", Some(policy))
}

/// Makes the page when it is first asked for, off the async workers: that takes longer than the server takes to
/// start.
async fn page(
    cell: &OnceCell<Page>,
    make: fn() -> Page,
    request: &Request,
    context: &Context,
) -> poem::Result<Undescribed> {
    if !context.app.config.docs {
        return Err(NotFoundError.into());
    }
    let ready = cell.get_or_try_init(|| async { spawn_blocking(make).await }).await;
    let page = ready.map_err(|error| Problem::from(Error::internal(error)))?;
    Ok(Undescribed(page.answer(request.headers())))
}

/// `tests/api/openapi.rs` sees whether the template is still the one that this changes.
fn adapt(html: &str) -> String {
    html.replacen("<title>Swagger UI</title>", "<title>Hallpass</title>", 1).replacen(HEAD, HEAD_WITH_ICON, 1).replacen(
        START,
        AUTHORIZING_START,
        1,
    )
}

/// Lets run and apply what stands in the page, by digest, and nothing else.
fn policy(html: &str) -> String {
    let hashes = |tag: &str| {
        let (open, close) = (format!("<{tag} "), format!("</{tag}>"));
        let (bare, mut rest, mut found) = (format!("<{tag}>"), html, Vec::new());
        // One element after the other: what looks like a tag inside a script is part of the script.
        while let Some(at) = [rest.find(&open), rest.find(&bare)].into_iter().flatten().min() {
            let Some((_, inside)) = rest.get(at..).and_then(|from| from.split_once('>')) else { break };
            let Some((inside, after)) = inside.split_once(&close) else { break };
            found.push(format!("'sha256-{}'", hash(inside.as_bytes())));
            rest = after;
        }
        found.join(" ")
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hashes("script"),
        hashes("style")
    )
}

fn hash(bytes: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, bytes))
}
