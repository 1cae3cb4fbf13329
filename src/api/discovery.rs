use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest::{self, SHA256};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::body::Bytes;
use poem::{FromRequest, IntoResponse, Request, RequestBody, Response, http::header};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::Query,
    payload::{Json, Payload},
    registry::{MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};

use super::{
    Tag,
    context::Context,
    problem::{Refusal, statuses},
};
use crate::{
    auth::{
        revocation::{self, Entry, List},
        ring::Published,
        rotation,
    },
    error::{Error, FieldError},
    model::Time,
};

statuses! {
    Keys: 400, 500;
    Revoked: 400, 422, 500, 503;
}

/// For services that verify access tokens by themselves.
#[derive(Default)]
pub struct DiscoveryApi {
    written: Mutex<Written>,
}

/// A set of public keys (RFC 7517, section 5).
#[derive(Object)]
struct KeySet {
    /// None under HS256.
    keys: Vec<PublicKey>,
}

/// A public key (RFC 7517, section 4).
#[derive(Object)]
struct PublicKey {
    /// `OKP` or `EC`.
    kty: String,
    /// Always `sig`.
    #[oai(rename = "use")]
    usage: String,
    /// `EdDSA` or `ES256`.
    alg: String,
    /// The thumbprint (RFC 7638).
    kid: String,
    /// `Ed25519` or `P-256`.
    crv: String,
    /// The key, or its first coordinate.
    x: String,
    /// The second coordinate, on `P-256`.
    #[oai(skip_serializing_if_is_none)]
    y: Option<String>,
}

impl From<Published> for PublicKey {
    fn from(Published { kid, algorithm, jwk }: Published) -> Self {
        Self {
            kty: jwk.kty.to_owned(),
            usage: "sig".to_owned(),
            alg: algorithm.name().to_owned(),
            kid,
            crv: jwk.crv.to_owned(),
            x: jwk.x,
            y: jwk.y,
        }
    }
}

/// What ended within one life of an access token.
#[derive(Object)]
struct Revocations {
    /// When the list was made (RFC 3339): the next `since`.
    as_of: String,
    /// Sessions that were ended. A token whose `sid` is among them is void.
    sessions: Vec<RevokedSession>,
    /// Accounts that were disabled, deleted, or given other roles. A token whose `sub` is among them, and whose `iat`
    /// is before `not_before`, is void.
    subjects: Vec<RevokedSubject>,
}

/// A session that was ended.
#[derive(Object)]
struct RevokedSession {
    /// The first 22 characters of base64url(SHA-256(`sid`)).
    sid_hash: String,
    /// When (RFC 3339).
    ended_at: String,
}

/// An account whose earlier tokens are void.
#[derive(Object)]
struct RevokedSubject {
    /// The first 22 characters of base64url(SHA-256(`sub`)).
    sub_hash: String,
    /// The first second whose tokens count (RFC 3339).
    not_before: String,
}

#[derive(ApiResponse)]
enum KeySetAnswer {
    /// The keys.
    #[oai(status = 200)]
    Found(
        Json<KeySet>,
        /// How long it may be kept.
        #[oai(header = "Cache-Control")]
        String,
        /// Public, to pages of any origin.
        #[oai(header = "Access-Control-Allow-Origin")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RevocationsAnswer {
    /// What ended.
    #[oai(status = 200)]
    Found(
        Prepared<Revocations>,
        /// For `If-None-Match`.
        #[oai(header = "ETag")]
        String,
        /// How long it may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// Nothing has ended since the list of this `If-None-Match`.
    #[oai(status = 304)]
    NotModified(
        /// The same.
        #[oai(header = "ETag")]
        String,
        /// How long it may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// The entity tags that the client holds, without what says that they are weak: they are compared so (RFC 9110,
/// section 8.8.3.2).
struct Held(Vec<String>);

impl<'a> FromRequest<'a> for Held {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let values = request.headers().get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        Ok(Self(values.flat_map(|value| value.split(',')).map(|tag| opaque(tag.trim()).to_owned()).collect()))
    }
}

impl Held {
    fn has(&self, etag: &str) -> bool {
        self.0.iter().any(|held| held == "*" || held == opaque(etag))
    }
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// JSON of a `T` that was written before, shared by all who read it, however slowly.
struct Prepared<T>(Bytes, PhantomData<T>);

impl<T: Type> Payload for Prepared<T> {
    const CONTENT_TYPE: &'static str = Json::<T>::CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type> IntoResponse for Prepared<T> {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(self.0)
    }
}

/// What was written of one list.
#[derive(Default)]
struct Written {
    as_of: Time,
    answers: HashMap<Option<Time>, (Bytes, String)>,
}

impl Written {
    /// The body and its entity tag, written once a list and beginning.
    fn of(&mut self, list: &List, from: Option<Time>) -> (Bytes, String) {
        if self.as_of != list.as_of {
            *self = Self { as_of: list.as_of, answers: HashMap::new() };
        }
        self.answers.entry(from).or_insert_with(|| write(list, from)).clone()
    }
}

fn write(list: &List, from: Option<Time>) -> (Bytes, String) {
    let (sessions, subjects) = (list.sessions(from), list.subjects(from));
    let session = |entry: &Entry| RevokedSession { sid_hash: entry.hash.clone(), ended_at: entry.at.to_string() };
    let subject = |entry: &Entry| RevokedSubject { sub_hash: entry.hash.clone(), not_before: entry.at.to_string() };
    let revocations = Revocations {
        as_of: list.as_of.to_string(),
        sessions: sessions.iter().map(session).collect(),
        subjects: subjects.iter().map(subject).collect(),
    };
    (revocations.to_json_string().into(), etag(sessions, subjects))
}

fn max_age(seconds: i64) -> String {
    format!("public, max-age={seconds}")
}

/// Weak: two lists of the same entries are the same list, whenever they were made.
fn etag(sessions: &[Entry], subjects: &[Entry]) -> String {
    let mut context = digest::Context::new(&SHA256);
    for entries in [sessions, subjects] {
        context.update(&entries.len().to_be_bytes());
        for Entry { hash, at } in entries {
            context.update(hash.as_bytes());
            context.update(&at.unix().to_be_bytes());
        }
    }
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(context.finish()))
}

#[OpenApi(tag = "Tag::Discovery")]
impl DiscoveryApi {
    /// Get the public keys that verify access tokens. A key is here before it signs, and until what it signed has
    /// expired.
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "get_jwks")]
    async fn get_jwks(&self, context: Context) -> Result<KeySetAnswer, Refusal<Keys>> {
        let keys = context.app.tokens.ring().published(context.now).into_iter().map(PublicKey::from).collect();
        Ok(KeySetAnswer::Found(Json(KeySet { keys }), max_age(rotation::CACHE_LIFE), "*".to_owned()))
    }

    /// Get what ended, to refuse tokens that are well signed and void.
    #[oai(path = "/.well-known/revocations", method = "get", operation_id = "get_revocations")]
    async fn get_revocations(
        &self,
        context: Context,
        held: Held,
        /// The `as_of` of the list before (RFC 3339): leave out what ended more than a minute earlier. What was
        /// listed may be listed again.
        since: Query<Option<String>>,
    ) -> Result<RevocationsAnswer, Refusal<Revoked>> {
        let not_a_time = || Error::Validation(vec![FieldError::new("", "since must be a time of RFC 3339")]);
        let since = since.0.map(|text| Time::parse(&text).ok_or_else(not_a_time)).transpose()?;
        let list = revocation::list(&context.app, context.now).await?;
        let (body, etag) = self.written.lock().unwrap_or_else(PoisonError::into_inner).of(&list, list.from(since));
        let cache = max_age(revocation::CACHE_LIFE);
        if held.has(&etag) {
            return Ok(RevocationsAnswer::NotModified(etag, cache));
        }
        Ok(RevocationsAnswer::Found(Prepared(body, PhantomData), etag, cache))
    }
}
