//! The outermost layer: what is true of every request and every answer.
//!
//! It names the request, logs it in one line, catches panics, ends what takes too long, writes problems, and
//! sets the headers that each answer has.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use poem::{
    Endpoint, PathPattern, Request, Response, Result,
    error::{MethodNotAllowedError, NotFoundError},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use poem_openapi::error::AuthorizationError;
use tracing::Instrument;

use super::{
    context::{Context, client_address},
    cors::Cors,
    problem::{Code, Problem},
};
use crate::{app::App, auth::random, error::Error, model::Client};

/// How long an answer may take, with the wait for a hash and for the database.
const DEADLINE: Duration = Duration::from_secs(30);

/// The methods of each path, for `Allow`.
pub type Methods = HashMap<String, String>;

/// See the module.
pub struct Edge<E> {
    inner: E,
    app: Arc<App>,
    cors: Cors,
    methods: Methods,
    headers: HeaderMap,
    ids: RequestIds,
}

impl<E: Endpoint<Output = Response>> Edge<E> {
    /// Wraps the router.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no random bytes.
    pub fn new(inner: E, app: Arc<App>, methods: Methods) -> Result<Self, Error> {
        let headers = standing_headers(app.config.is_https());
        let cors = Cors::new(&app.config.cors_origins);
        Ok(Self { inner, app, cors, methods, headers, ids: RequestIds::new()? })
    }

    async fn answer(&self, request: Request) -> Result<Response> {
        // RFC 6750, section 2: one credential a request. Who reads the first and who reads the last differ.
        if request.headers().get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
            let detail = "There must be one Authorization header";
            return Err(Problem::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, detail).into());
        }
        // `CONNECT host:port` has no path, which poem's router takes for granted.
        if request.uri().path_and_query().is_none() {
            return Err(NotFoundError.into());
        }
        let work = tokio::time::timeout(DEADLINE, self.inner.call(request));
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Problem::from(Error::Overloaded).into()),
            // The panic hook has logged where.
            Err(_) => Err(Problem::internal().into()),
        }
    }

    /// What an error of the framework is to the client.
    fn problem(&self, error: &poem::Error, route: &str, has_bearer: bool) -> Problem {
        if error.is::<AuthorizationError>() {
            // A bearer token of other bytes than a header can have as text is one all the same.
            return if has_bearer { Error::InvalidToken } else { Error::NotAuthenticated }.into();
        }
        if error.is::<NotFoundError>() {
            return Problem::new(StatusCode::NOT_FOUND, Code::NotFound, "There is nothing at this path");
        }
        if error.is::<MethodNotAllowedError>() {
            let detail = "The path does not have this method";
            return Problem {
                allow: self.methods.get(route).cloned().map(Into::into),
                ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, detail)
            };
        }
        if error.status().is_client_error() {
            let detail = "The path or the query cannot be read";
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code::ValidationFailed, detail);
        }
        Error::internal(error.to_string()).into()
    }

    fn finish(&self, outcome: Result<Response>, request_id: &str, has_bearer: bool) -> (Response, PathPattern) {
        let unknown = || PathPattern("-".into());
        let (mut response, route) = match outcome {
            Ok(response) => {
                let route = response.data().cloned().unwrap_or_else(unknown);
                (response, route)
            }
            Err(error) => {
                let route = error.data().cloned().filter(|_| !error.is::<NotFoundError>()).unwrap_or_else(unknown);
                let problem = error.data().cloned().unwrap_or_else(|| self.problem(&error, &route.0, has_bearer));
                (write(&problem, request_id), route)
            }
        };
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            if !headers.contains_key(name) {
                headers.insert(name, value.clone());
            }
        }
        insert(headers, header::HeaderName::from_static("x-request-id"), request_id);
        (response, route)
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let begun = Instant::now();
        let request_id = self.ids.next();
        let span = tracing::info_span!("request", id = request_id);
        let peer = request.remote_addr().as_socket_addr().map(std::net::SocketAddr::ip);
        let address = client_address(peer, request.headers(), &self.app.config.trusted_proxies);
        let context = Context { app: self.app.clone(), now: self.app.clock.now(), client: Client { address } };
        request.extensions_mut().insert(context);
        let method = request.method().clone();
        let origin = self.cors.origin(&request);
        let has_bearer = has_bearer(request.headers());

        async {
            let outcome = match Cors::preflight(&request, origin.as_ref()) {
                Some(response) => Ok(response),
                None => self.answer(request).await,
            };
            let (mut response, route) = self.finish(outcome, &request_id, has_bearer);
            self.cors.apply(origin, &mut response);
            tracing::info!(
                event = "request",
                %method,
                route = &*route.0,
                status = response.status().as_u16(),
                duration_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            );
            Ok(response)
        }
        .instrument(span)
        .await
    }
}

fn has_bearer(headers: &HeaderMap) -> bool {
    let scheme = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().get(..7));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
}

fn write(problem: &Problem, request_id: &str) -> Response {
    let mut response = Response::builder().status(problem.status).body(problem.write(request_id));
    let headers = response.headers_mut();
    insert(headers, header::CONTENT_TYPE, "application/problem+json");
    if let Some(challenge) = problem.challenge() {
        insert(headers, header::WWW_AUTHENTICATE, &challenge);
    }
    if let Some(seconds) = problem.retry_after {
        insert(headers, header::RETRY_AFTER, &seconds.to_string());
    }
    if let Some(allow) = &problem.allow {
        insert(headers, header::ALLOW, allow);
    }
    response
}

/// Sets a header to text of this program; text that is no header value is left out.
fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// What an answer has, unless it says otherwise.
fn standing_headers(is_https: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers
}

/// Names requests: random for this process, then counted.
struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Result<Self, Error> {
        Ok(Self { process: u64::from_ne_bytes(random::bytes()?), next: AtomicU64::new(1) })
    }

    fn next(&self) -> String {
        format!("{:016x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
