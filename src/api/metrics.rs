//! What is counted of requests, and the page on which Prometheus reads all that is counted.
//!
//! Each request is counted on its way out, so everything that it takes is found beforehand: no lock, no text.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use poem::{
    Endpoint, EndpointExt, Request, Response,
    endpoint::make_sync,
    http::{Method, StatusCode, header},
};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

use super::problem::{Code, Problem};
use crate::{app::App, error::Error, metrics::Metrics};

/// In seconds: from what memory answers to the deadline.
const TIMES: [f64; 14] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The methods that are told apart.
static METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::DELETE, Method::PATCH, Method::PUT, Method::HEAD, Method::OPTIONS];

/// A method's name, if it is one of those: anything that a client sends may be one.
pub(super) fn name(method: &Method) -> &'static str {
    METHODS.iter().find(|known| *known == method).map_or("other", |known| known.as_str())
}

/// The statuses that there are, the frequent ones first.
const STATUSES: [u16; 24] = [
    200, 204, 201, 202, 304, 401, 400, 403, 404, 405, 406, 408, 409, 410, 413, 415, 422, 429, 499, 500, 503, 303, 307,
    308,
];

/// What is counted of requests.
pub(super) struct Requests {
    total: IntCounterVec,
    duration: HistogramVec,
    under_way: IntGauge,
    overloaded: IntCounter,
    storage_unavailable: IntCounter,
    too_many_attempts: IntCounter,
    internal_error: IntCounter,
    routes: HashMap<String, Route>,
    unknown: Route,
}

/// A route's counters, made when they are first needed.
struct Route {
    pattern: String,
    methods: [Counters; METHODS.len() + 1],
}

#[derive(Default)]
struct Counters {
    duration: OnceLock<Histogram>,
    statuses: [OnceLock<IntCounter>; STATUSES.len() + 1],
}

impl Route {
    fn new(pattern: &str) -> Self {
        Self { pattern: pattern.to_owned(), methods: Default::default() }
    }
}

impl Requests {
    /// Counts requests to these routes each by itself, and all others together.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is something of this name.
    pub(super) fn new<'a>(metrics: &Metrics, patterns: impl Iterator<Item = &'a String>) -> Result<Self, Error> {
        let total =
            Opts::new("hallpass_http_requests_total", "Requests that were answered, or left by the client (499).");
        let total = IntCounterVec::new(total, &["route", "method", "status"]).map_err(Error::internal)?;
        let duration = HistogramOpts::new("hallpass_http_request_duration_seconds", "What the answers took.");
        let duration =
            HistogramVec::new(duration.buckets(TIMES.to_vec()), &["route", "method"]).map_err(Error::internal)?;
        let under_way = IntGauge::new("hallpass_http_requests_in_flight", "Requests that are being answered.");
        let under_way = under_way.map_err(Error::internal)?;
        let refused =
            Opts::new("hallpass_http_refusals_total", "Requests refused with 429, 500 or 503, by the problem's code.");
        let refused = IntCounterVec::new(refused, &["code"]).map_err(Error::internal)?;
        let of = |code: Code| refused.with_label_values(&[code.name()]);
        let requests = Self {
            overloaded: of(Code::Overloaded),
            storage_unavailable: of(Code::StorageUnavailable),
            too_many_attempts: of(Code::TooManyAttempts),
            internal_error: of(Code::InternalError),
            routes: patterns.map(|pattern| (pattern.clone(), Route::new(pattern))).collect(),
            unknown: Route::new("unknown"),
            total,
            duration,
            under_way,
        };
        metrics.register([Box::new(requests.total.clone()) as _, Box::new(requests.duration.clone()) as _])?;
        metrics.register([Box::new(requests.under_way.clone()) as _, Box::new(refused) as _])?;
        Ok(requests)
    }

    /// A request has come.
    pub(super) fn begin(&self) {
        self.under_way.inc();
    }

    /// It was refused so.
    pub(super) fn refused(&self, problem: &Problem) {
        match problem.code {
            Code::Overloaded => self.overloaded.inc(),
            Code::StorageUnavailable => self.storage_unavailable.inc(),
            Code::TooManyAttempts => self.too_many_attempts.inc(),
            Code::InternalError => self.internal_error.inc(),
            _ => {}
        }
    }

    /// It is over.
    pub(super) fn end(&self, route: Option<&str>, method: &Method, status: u16, took: Duration) {
        self.under_way.dec();
        let route = route.and_then(|pattern| self.routes.get(pattern)).unwrap_or(&self.unknown);
        let place = METHODS.iter().position(|known| known == method);
        let Some(counters) = route.methods.get(place.unwrap_or(METHODS.len())) else { return };
        let duration =
            counters.duration.get_or_init(|| self.duration.with_label_values(&[&route.pattern, name(method)]));
        duration.observe(took.as_secs_f64());
        let place = STATUSES.iter().position(|known| *known == status);
        let Some(counter) = counters.statuses.get(place.unwrap_or(STATUSES.len())) else { return };
        let counter = counter.get_or_init(|| {
            let status = place.map_or_else(|| "other".to_owned(), |_| status.to_string());
            self.total.with_label_values(&[&route.pattern, name(method), &status])
        });
        counter.inc();
    }
}

/// The page, and nothing else. It belongs on a listener of its own: it asks nobody who he is.
pub fn page(app: Arc<App>) -> impl Endpoint<Output = Response> + 'static {
    make_sync(move |request: Request| {
        if request.uri().path() != "/metrics" {
            return Response::builder().status(StatusCode::NOT_FOUND).finish();
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let response = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED);
            return response.header(header::ALLOW, "GET, HEAD").finish();
        }
        match app.metrics.text() {
            Ok(text) => Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
            Err(error) => {
                tracing::error!(event = "internal_error", %error);
                Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish()
            }
        }
    })
    .map_to_response()
}
