//! The outermost layer: what is true of every request and every answer.
//!
//! It names the request, logs it in one line, catches panics, ends what takes too long, writes problems, and
//! sets the headers that each answer has.

use std::{
    collections::HashMap,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{self, Poll},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use poem::{
    Endpoint, PathPattern, Request, Response, Result,
    error::{MethodNotAllowedError, NotFoundError, ParsePathError},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
};
use poem_openapi::error::{AuthorizationError, ParseParamError};
use tokio::time::sleep;
use tracing::Span;
use url::form_urlencoded;

use super::{
    context::{Context, client_address},
    cors::Cors,
    guard::bearer,
    metrics::{self, Requests},
    pages,
    problem::{Code, Problem},
};
use crate::{
    app::App,
    auth::random,
    error::{Error, FieldError},
    model::{Client, RequestId},
};

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
    /// The paths whose problems are pages.
    pages: Vec<String>,
    headers: HeaderMap,
    ids: RequestIds,
    /// None: nobody wants to know.
    requests: Option<Requests>,
}

impl<E: Endpoint<Output = Response>> Edge<E> {
    /// Wraps the router.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no random bytes, or two of what is counted are of one name.
    pub fn new(inner: E, app: Arc<App>, methods: Methods, pages: Vec<String>) -> Result<Self, Error> {
        let headers = standing_headers(app.config.is_https());
        let cors = Cors::new(&app.config.cors_origins);
        let requests = if app.metrics.is_on() { Some(Requests::new(&app.metrics, methods.keys())?) } else { None };
        Ok(Self { inner, app, cors, methods, pages, headers, ids: RequestIds::new()?, requests })
    }

    async fn answer(&self, request: Request, line: &Line<'_>) -> Result<Response> {
        check(&request)?;
        // Pinned where it is made: a request and what becomes of it are large, and would be moved a few times.
        let work = pin!(self.inner.call(request));
        let mut work = pin!(AssertUnwindSafe(in_time(work)).catch_unwind());
        match poll_fn(|task| line.span.in_scope(|| work.as_mut().poll(task))).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(Problem {
                detail: "The answer took too long; try again".into(),
                ..Problem::from(Error::Overloaded)
            }
            .into()),
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
        if error.is::<MethodNotAllowedError>()
            && let Some(allow) = self.methods.get(route)
        {
            let detail = "The path does not have this method";
            return Problem {
                allow: Some(allow.clone().into()),
                ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, detail)
            };
        }
        // A path without methods is one that was left out.
        if error.is::<NotFoundError>() || error.is::<MethodNotAllowedError>() {
            return Problem::new(StatusCode::NOT_FOUND, Code::NotFound, "There is nothing at this path");
        }
        if let Some(ParseParamError { name, .. }) = error.downcast_ref() {
            return invalid(format!("{name} in the query does not fit")).into();
        }
        if error.status().is_client_error() {
            return invalid("the path cannot be read").into();
        }
        Error::internal(error.to_string()).into()
    }

    /// Writes what is to be written, and tells the line of the log about it.
    fn finish(&self, outcome: Result<Response>, line: &mut Line<'_>, has_bearer: bool, is_page: bool) -> Response {
        let mut response = match outcome {
            Ok(response) => {
                line.route = response.data().cloned();
                response
            }
            Err(error) => {
                line.route = error.data().cloned().filter(|_| !error.is::<NotFoundError>());
                let route = line.route.as_ref().map_or("", |route: &PathPattern| &route.0);
                let problem = || self.problem(&error, route, has_bearer);
                let problem = error.data().cloned().unwrap_or_else(|| line.span.in_scope(problem));
                line.code = Some(problem.code.name());
                self.requests.iter().for_each(|requests| requests.refused(&problem));
                let body = if is_page {
                    pages::problem(&self.app, &problem, &line.request_id)
                } else {
                    let body = Response::builder().content_type("application/problem+json");
                    body.status(problem.status).body(problem.write(&line.request_id))
                };
                with_headers(body, &problem)
            }
        };
        line.status = response.status().as_u16();
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        insert(headers, X_REQUEST_ID, &line.request_id);
        response
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let id = self.ids.next();
        let request_id = id.to_string();
        let mut line = Line {
            span: tracing::info_span!("request", id = request_id),
            begun: Instant::now(),
            request_id,
            method: request.method().clone(),
            route: None,
            status: CLIENT_CLOSED_REQUEST,
            code: None,
            requests: self.requests.as_ref(),
        };
        self.requests.iter().for_each(Requests::begin);
        let peer = request.remote_addr().as_socket_addr().map(std::net::SocketAddr::ip);
        let address = client_address(peer, request.headers(), &self.app.config.trusted_proxies);
        let context =
            Context { app: self.app.clone(), now: self.app.clock.now(), client: Client { address, request: id } };
        request.extensions_mut().insert(context);
        let origin = self.cors.origin(&request);
        let has_bearer = bearer(request.headers()).is_some();
        let is_page = self.pages.iter().any(|page| page == request.uri().path());

        let outcome = match Cors::preflight(&request, origin.as_ref()) {
            Some(response) => Ok(response),
            None => self.answer(request, &line).await,
        };
        let mut response = self.finish(outcome, &mut line, has_bearer, is_page);
        self.cors.apply(origin, &mut response);
        Ok(response)
    }
}

/// What is wrong with a path or a query: they have no place in the body that could be pointed to.
fn invalid(detail: impl std::fmt::Display) -> Error {
    Error::Validation(vec![FieldError::new("", detail)])
}

/// Refuses what no operation is to see.
fn check(request: &Request) -> Result<()> {
    // RFC 6750, section 2: one credential a request. Who reads the first and who reads the last differ.
    if request.headers().get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        let detail = "There must be one Authorization header";
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, detail).into());
    }
    // `CONNECT host:port` has no path, which poem's router takes for granted.
    if request.uri().path_and_query().is_none() {
        return Err(NotFoundError.into());
    }
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    // poem's router leaves out a parameter that is no text.
    if path.contains('%') && percent_decode_str(path).decode_utf8().is_err() {
        return Err(ParsePathError.into());
    }
    // Nothing has a name with a NUL, and not every database takes one.
    if path.contains("%00") {
        return Err(NotFoundError.into());
    }
    if query.contains("%00") {
        return Err(Problem::from(invalid("the query has a NUL")).into());
    }
    // RFC 6750, section 2.3. None is taken from there; who keeps both would have one checked and another one used.
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    if request.headers().contains_key(header::AUTHORIZATION) && names.any(|name| name == "access_token") {
        let detail = "There must be one access token, in the Authorization header";
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, detail).into());
    }
    Ok(())
}

/// What comes of it before the deadline.
async fn in_time<F: Future>(mut work: Pin<&mut F>) -> Option<F::Output> {
    // Most answers are there at the first look, and need no timer.
    let mut timer = None;
    let look = |task: &mut task::Context| match work.as_mut().poll(task) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.get_or_insert_with(|| Box::pin(sleep(DEADLINE))).as_mut().poll(task).map(|()| None),
    };
    poll_fn(look).await
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What nginx notes when the client hung up before it was answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A request's line in the log. Written when it is dropped, so also when nobody waits for the answer any more.
struct Line<'a> {
    span: Span,
    begun: Instant,
    request_id: String,
    method: Method,
    route: Option<PathPattern>,
    status: u16,
    code: Option<String>,
    requests: Option<&'a Requests>,
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let route = self.route.as_ref().map(|route| &*route.0);
        // Where nobody wants to know, the clock is not asked either.
        let took = || self.begun.elapsed();
        if let Some(requests) = self.requests {
            requests.end(route, &self.method, self.status, took());
        }
        tracing::info!(
            parent: &self.span,
            event = "request",
            method = metrics::name(&self.method),
            route = route.unwrap_or("-"),
            status = self.status,
            code = self.code,
            duration_us = u64::try_from(took().as_micros()).unwrap_or(u64::MAX),
        );
    }
}

fn with_headers(mut response: Response, problem: &Problem) -> Response {
    let headers = response.headers_mut();
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
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
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

    fn next(&self) -> RequestId {
        RequestId { process: self.process, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use poem::{Endpoint, EndpointExt, Request, Response, endpoint::make, http::StatusCode};

    use super::Edge;
    use crate::{
        app::App,
        clock::Clock,
        config::{Config, Values},
    };

    async fn behind_the_edge<E: Endpoint>(endpoint: E, before: impl FnOnce()) -> (StatusCode, String) {
        let folder = tempfile::tempdir().unwrap();
        let mut values = Values::new();
        values.insert("SECRET_KEY".to_owned(), "k2v8QmZ4yPz1TgXh7NwRcB5sJd9LfAe3UuYoWi6Mx0E".to_owned());
        values.insert("METRICS_ADDR".to_owned(), "127.0.0.1:9100".to_owned());
        let mut config = Config::from_values(&values).unwrap();
        config.database = folder.path().join("test.db");
        let app = Arc::new(App::build(config, Clock::System).await.unwrap());
        let edge = Edge::new(endpoint.map_to_response(), app.clone(), super::Methods::new(), Vec::new()).unwrap();
        before();
        let response = edge.get_response(Request::default()).await;
        let status = response.status();
        let code = if status == StatusCode::INTERNAL_SERVER_ERROR { "internal_error" } else { "overloaded" };
        let counted = format!("hallpass_http_refusals_total{{code=\"{code}\"}} 1\n");
        assert!(app.metrics.text().unwrap().contains(&counted), "{code}");
        (status, response.into_body().into_string().await.unwrap())
    }

    #[tokio::test]
    async fn a_panic_and_the_error_of_a_library_tell_nothing() {
        let panics = make(async |_| -> poem::Result<Response> { panic!("canary") });
        let fails = make(async |_| -> poem::Result<Response> {
            Err(poem::Error::new(io::Error::other("canary"), StatusCode::INTERNAL_SERVER_ERROR))
        });
        let string = make(async |_| -> poem::Result<Response> {
            Err(poem::Error::from_string("canary", StatusCode::BAD_GATEWAY))
        });
        for (status, body) in [
            behind_the_edge(panics, || ()).await,
            behind_the_edge(fails, || ()).await,
            behind_the_edge(string, || ()).await,
        ] {
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(body.contains("internal_error") && !body.contains("canary"), "{body}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_given_up() {
        let hangs = make(async |_| -> poem::Result<Response> { std::future::pending().await });
        let (status, body) = behind_the_edge(hangs, tokio::time::pause).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("The answer took too long"), "{body}");
    }
}
