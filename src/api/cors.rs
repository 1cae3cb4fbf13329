//! Cross-origin requests of browsers (Fetch, section 3.3): off, unless the settings list exact origins.
//!
//! A request of an unlisted origin is served like any other, without the headers that would let a page read
//! the answer. It is not refused: Swagger UI sends an `Origin` too.

use std::collections::HashSet;

use poem::{
    Request, Response,
    http::{HeaderValue, Method, StatusCode, header},
};

/// The origins that may read answers.
#[derive(Debug)]
pub struct Cors {
    origins: HashSet<HeaderValue>,
}

impl Cors {
    /// Exact origins, as a browser sends them.
    pub fn new(origins: &[String]) -> Self {
        Self { origins: origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect() }
    }

    /// The listed origin that a request comes from.
    pub fn origin(&self, request: &Request) -> Option<HeaderValue> {
        request.headers().get(header::ORIGIN).filter(|origin| self.origins.contains(*origin)).cloned()
    }

    /// The answer to a browser that asks before it sends a request.
    pub fn preflight(request: &Request, origin: Option<&HeaderValue>) -> Option<Response> {
        let asks = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && origin.is_some();
        asks.then(|| {
            Response::builder()
                .status(StatusCode::NO_CONTENT)
                .header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, DELETE")
                .header(header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type")
                .header(header::ACCESS_CONTROL_MAX_AGE, "600")
                .finish()
        })
    }

    /// Adds what lets the page of a listed origin read the answer.
    pub fn apply(&self, origin: Option<HeaderValue>, response: &mut Response) {
        if self.origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        // With or without an origin: the answers differ.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = HeaderValue::from_static("retry-after, www-authenticate, x-request-id");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}
