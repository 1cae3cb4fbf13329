//! An axum service that accepts Hallpass's access tokens, and asks Hallpass nothing about a single request.
//!
//! ```sh
//! ISSUER=http://127.0.0.1:8000 cargo run --example axum
//! ```
//!
//! It verifies with Hallpass's public keys and refuses what the revocation list names. Without a fresh list it
//! answers 503. For an issuer of https, reqwest needs a TLS feature.

use std::{
    collections::HashMap,
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Json, Router,
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet, KeyAlgorithm},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{net::TcpListener, sync::RwLock};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const POLL_EVERY: Duration = Duration::from_secs(2);
/// Of an access token, in seconds: older entries name none that has not expired.
const LONGEST_LIFE: i64 = 24 * 60 * 60;

struct Hallpass {
    issuer: String,
    audience: String,
    /// Under `ALGORITHM=HS256`. Whoever holds this key can also make tokens.
    secret: Option<String>,
    /// How old the list may be.
    stale_after: Duration,
    http: reqwest::Client,
    heard: RwLock<Heard>,
}

/// What Hallpass last told. Times are unix seconds of its clock.
#[derive(Default)]
struct Heard {
    keys: HashMap<String, (Algorithm, DecodingKey)>,
    sessions: HashMap<String, i64>,
    subjects: HashMap<String, i64>,
    as_of: Option<String>,
    asked_at: Option<Instant>,
}

#[derive(Deserialize)]
struct Revocations {
    as_of: String,
    sessions: Vec<Entry>,
    subjects: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "sid_hash", alias = "sub_hash")]
    hash: String,
    #[serde(alias = "ended_at", alias = "not_before")]
    at: String,
}

impl Hallpass {
    async fn follow(self: Arc<Self>) {
        loop {
            // Whatever the error is, the list grows stale.
            if let Err(error) = self.fetch().await {
                tracing::warn!("no keys or no revocation list: {error}");
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    async fn fetch(&self) -> Result<(), Failure> {
        let asked_at = Instant::now();
        let since = self.heard.read().await.as_of.as_ref().map_or(String::new(), |as_of| format!("?since={as_of}"));
        // With the list, and never for a request: a key is published before it signs.
        let set: JwkSet = self.get("jwks.json").await?;
        let news: Revocations = self.get(&format!("revocations{since}")).await?;
        let oldest = unix(&news.as_of)? - LONGEST_LIFE;
        let mut heard = self.heard.write().await;
        let Heard { keys, sessions, subjects, .. } = &mut *heard;
        *keys = set.keys.iter().filter_map(verifying_key).collect();
        for (known, new) in [(sessions, news.sessions), (subjects, news.subjects)] {
            for Entry { hash, at } in new {
                known.insert(hash, unix(&at)?);
            }
            known.retain(|_, at| *at >= oldest);
        }
        heard.as_of = Some(news.as_of);
        heard.asked_at = Some(asked_at);
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.http.get(format!("{}/.well-known/{path}", self.issuer)).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn verify(&self, token: &str) -> Result<Caller, StatusCode> {
        let heard = self.heard.read().await;
        if heard.asked_at.is_none_or(|at| at.elapsed() > self.stale_after) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let caller = self.open(token, &heard).ok_or(StatusCode::UNAUTHORIZED)?;
        let not_before = heard.subjects.get(&digest_of(&caller.sub));
        if heard.sessions.contains_key(&digest_of(&caller.sid)) || not_before.is_some_and(|at| caller.iat < *at) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok(caller)
    }

    fn open(&self, token: &str, heard: &Heard) -> Option<Caller> {
        let header = decode_header(token).ok().filter(|header| header.typ.as_deref() == Some("at+jwt"))?;
        let (algorithm, key) = match &self.secret {
            Some(secret) => (Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes())),
            None => heard.keys.get(&header.kid?)?.clone(),
        };
        // The key's algorithm, never the one that the token names.
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.leeway = 0;
        decode(token, &key, &validation).ok().map(|token| token.claims)
    }
}

fn verifying_key(jwk: &Jwk) -> Option<(String, (Algorithm, DecodingKey))> {
    let algorithm = match jwk.common.key_algorithm? {
        KeyAlgorithm::EdDSA => Algorithm::EdDSA,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        _ => return None,
    };
    Some((jwk.common.key_id.clone()?, (algorithm, DecodingKey::from_jwk(jwk).ok()?)))
}

fn digest_of(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())).chars().take(22).collect()
}

fn unix(rfc_3339: &str) -> Result<i64, Failure> {
    Ok(OffsetDateTime::parse(rfc_3339, &Rfc3339)?.unix_timestamp())
}

/// The bearer of a good token: its claims, each of them required.
#[derive(Deserialize)]
struct Caller {
    sub: String,
    sid: String,
    iat: i64,
    preferred_username: String,
    roles: Vec<String>,
}

impl FromRequestParts<Arc<Hallpass>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, hallpass: &Arc<Hallpass>) -> Result<Self, Response> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bearer = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let verified = match bearer {
            Some((_, token)) => hallpass.verify(token).await,
            None => Err(StatusCode::UNAUTHORIZED),
        };
        verified.map_err(|status| match status {
            StatusCode::UNAUTHORIZED => {
                let challenge = [(header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)];
                (status, challenge, Json(json!({"detail": "Invalid token"}))).into_response()
            }
            _ => (status, Json(json!({"detail": "Tokens cannot be judged now"}))).into_response(),
        })
    }
}

async fn hello(Caller { sub, preferred_username, roles, .. }: Caller) -> Json<Value> {
    Json(json!({"message": format!("Hello {preferred_username}"), "sub": sub, "roles": roles}))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt::init();
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let issuer = setting("ISSUER", "http://127.0.0.1:8000"); // Hallpass's PUBLIC_URL
    let hallpass = Arc::new(Hallpass {
        audience: setting("AUDIENCE", &issuer),
        issuer,
        secret: env::var("SECRET_KEY").ok().filter(|key| !key.is_empty()),
        stale_after: Duration::from_secs(setting("STALE_SECONDS", "30").parse()?),
        http: reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?,
        heard: RwLock::default(),
    });
    tokio::spawn(hallpass.clone().follow());
    let app = Router::new().route("/hello", get(hello)).with_state(hallpass);
    let listener = TcpListener::bind(("127.0.0.1", setting("PORT", "3000").parse()?)).await?;
    Ok(axum::serve(listener, app).await?)
}
