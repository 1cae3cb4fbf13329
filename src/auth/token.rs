//! The access token: a JWT (RFC 7519) in the profile of RFC 9068, signed as a JWS (RFC 7515).

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Header, encode};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    keys::jws,
    random,
    ring::Ring,
    seen::{self, Seen},
};
use crate::{
    error::Error,
    json::{self, Shape},
    model::{Named, Roles, SessionId, Time, UserId},
    store::Heard,
};

/// A longer token is not looked at (draft-ietf-oauth-rfc8725bis, section 3.14).
const MAX_BYTES: usize = 8 * 1024;

/// How far ahead of ours the clock of another signer may be, in seconds. `exp` has no leeway.
const LEEWAY: i64 = 30;

/// No token lives longer, in seconds: the upper end of `ACCESS_TOKEN_EXPIRE_MINUTES`.
const MAX_LIFETIME: i64 = 24 * 60 * 60;

const TYPE: &str = "at+jwt";
const CLIENT_ID: &str = "hallpass";

/// Issues and verifies access tokens.
#[derive(Debug)]
pub struct Tokens {
    ring: RwLock<Held>,
    /// Counts the readings of the ring.
    readings: AtomicU64,
    pub(super) seen: Seen,
    issuer: String,
    audience: String,
    /// The life of a token, in seconds.
    lifetime: i64,
}

/// The keys, what was known to be written by others when they were read, and which reading it was.
#[derive(Debug)]
struct Held {
    ring: Arc<Ring>,
    heard: Option<Heard>,
    reading: u64,
}

/// A fresh access token.
pub struct AccessToken {
    /// The JWS in compact form.
    pub text: String,
    /// When it ends.
    pub expires_at: Time,
    /// Seconds until then.
    pub expires_in: i64,
}

/// The session that a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    /// The account.
    pub user_id: &'a UserId,
    /// Its name.
    pub username: &'a str,
    /// What it may do.
    pub roles: &'a Roles,
    /// The session.
    pub session_id: &'a SessionId,
    /// Which of the session's refresh tokens it goes with.
    pub generation: i64,
    /// When the session ends if it is not refreshed: no token outlives it.
    pub session_expires_at: Time,
}

/// What a well-signed token says. Whether the account and its session still are is another question.
#[derive(Debug)]
pub struct Verified {
    /// The account and the session.
    pub named: Arc<Named>,
    /// Which of the session's refresh tokens it goes with; none in tokens that somebody else signed with our key.
    pub generation: Option<i64>,
    /// The key that signed it.
    pub(super) kid: String,
    issued_at: i64,
    not_before: Option<i64>,
    pub(super) expires_at: Time,
}

#[cfg(test)]
impl Verified {
    /// What a token of this session says that this key has signed.
    pub(super) fn of(named: Named, kid: &str) -> Self {
        let (named, kid) = (named.into(), kid.to_owned());
        Self { named, generation: None, kid, issued_at: 0, not_before: None, expires_at: Time::from_unix(0) }
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    exp: i64,
    iat: i64,
    jti: &'a str,
    sid: &'a str,
    preferred_username: &'a str,
    roles: Vec<&'a str>,
}

/// The claims on the way in: each is required and has its type. A name given twice does not parse.
#[derive(Deserialize)]
struct Presented {
    iss: String,
    aud: String,
    // Read loosely: what is wrong with the subject has an answer of its own.
    #[serde(default)]
    sub: Value,
    client_id: String,
    exp: i64,
    iat: i64,
    #[serde(default, deserialize_with = "if_present")]
    nbf: Option<i64>,
    jti: String,
    sid: String,
}

/// A claim that may be missing, but not null.
fn if_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(deserializer).map(Some)
}

impl Tokens {
    /// Issues tokens that live `lifetime` seconds.
    pub fn new(ring: Ring, issuer: String, audience: String, lifetime: i64) -> Self {
        Self {
            ring: RwLock::new(Held { ring: ring.into(), heard: None, reading: 0 }),
            readings: AtomicU64::new(0),
            seen: Seen::default(),
            issuer,
            audience,
            lifetime,
        }
    }

    /// The keys of now.
    pub fn ring(&self) -> Arc<Ring> {
        // What a panic could have left behind is a whole ring.
        self.ring.read().unwrap_or_else(PoisonError::into_inner).ring.clone()
    }

    /// Whether nobody else has written since the keys were read. No, if that is not known.
    pub fn is_ring_of(&self, heard: Option<Heard>) -> bool {
        heard.is_some() && self.ring.read().unwrap_or_else(PoisonError::into_inner).heard == heard
    }

    /// Begins to read the keys.
    pub fn begin_reading(&self) -> u64 {
        self.readings.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// These keys from now on, which were read when this was known, or later; unless a reading that began later has
    /// ended before.
    pub fn set_ring(&self, reading: u64, ring: Arc<Ring>, heard: Option<Heard>) {
        let mut held = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if held.reading < reading {
            *held = Held { ring, heard, reading };
        }
    }

    /// Signs a token and verifies it. jsonwebtoken finds out at its first token what it was built without.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn self_test(&self, now: Time) -> Result<(), Error> {
        let (user_id, session_id) = (&random::id(now)?, &random::id(now)?);
        let (username, roles, session_expires_at) = ("self-test", &Roles::default(), now.plus(MAX_LIFETIME));
        let grant = Grant { user_id, username, roles, session_id, generation: 0, session_expires_at };
        let token = self.issue(now, grant)?;
        match self.verify(now, &token.text) {
            Ok(verified) if verified.named.user_id == *user_id => Ok(()),
            _ => Err(Error::internal("a fresh token does not verify")),
        }
    }

    /// Signs a token for a session of an account.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn issue(&self, now: Time, grant: Grant<'_>) -> Result<AccessToken, Error> {
        let Grant { user_id, username, roles, session_id, generation, session_expires_at } = grant;
        let ring = self.ring();
        let key = ring.signing(now).ok_or_else(|| Error::internal("there is no signing key"))?;
        let expires_at = now.plus(self.lifetime).min(session_expires_at);
        let claims = Claims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: user_id.as_str(),
            client_id: CLIENT_ID,
            exp: expires_at.unix(),
            iat: now.unix(),
            // Within one second `iat` cannot tell a token of before a rotation from one of after it.
            jti: &format!("{}.{generation}", random::name()?),
            sid: session_id.as_str(),
            preferred_username: username,
            roles: roles.iter().collect(),
        };
        let mut header = Header::new(jws(key.algorithm));
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.kid.clone());
        let text = encode(&header, &claims, &key.encoding).map_err(Error::internal)?;
        Ok(AccessToken { text, expires_at, expires_in: expires_at.unix() - now.unix() })
    }

    /// Verifies a token: signature first, then claims, then `exp`.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], [`Error::InvalidTokenPayload`], [`Error::TokenExpired`]
    pub fn verify(&self, now: Time, token: &str) -> Result<Arc<Verified>, Error> {
        let (verified, expires_at) = self.judge(now, token)?;
        if expires_at <= now { Err(Error::TokenExpired) } else { Ok(verified) }
    }

    /// The same for a token that may have expired.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], [`Error::InvalidTokenPayload`]
    pub fn verify_past(&self, now: Time, token: &str) -> Result<Arc<Verified>, Error> {
        Ok(self.judge(now, token)?.0)
    }

    /// Forgets the tokens that have expired.
    pub fn forget_expired(&self, now: Time) {
        self.seen.forget_expired(now);
    }

    /// What a token says and when it ends. What does not depend on the moment is remembered: that a key signed it.
    fn judge(&self, now: Time, token: &str) -> Result<(Arc<Verified>, Time), Error> {
        if token.len() > MAX_BYTES {
            return Err(Error::InvalidToken);
        }
        let digest = seen::digest(token)?;
        let found = self.seen.find(&digest);
        let (verified, is_new) = match found {
            Some(verified) => (verified, false),
            None => (self.read(token).ok_or(Error::InvalidToken)?.into(), true),
        };
        // The key may have been revoked since.
        let expires_at = self.check(now, &verified).ok_or(Error::InvalidToken)?;
        if verified.named.user_id.as_str().is_empty() {
            return Err(Error::InvalidTokenPayload);
        }
        if is_new {
            self.seen.remember(digest, &verified);
        }
        Ok((verified, expires_at))
    }

    /// When it ends, if a key of now may have signed it and its times fit.
    fn check(&self, now: Time, verified: &Verified) -> Option<Time> {
        let ring = self.ring();
        let entry = ring.find(&verified.kid)?;
        let soon = now.plus(LEEWAY).unix();
        let is_timely = verified.issued_at <= soon
            && verified.not_before.is_none_or(|nbf| nbf <= soon)
            && verified.expires_at.unix() <= verified.issued_at.saturating_add(MAX_LIFETIME);
        // Whatever was revoked under a clock that was ahead and had taken over by it: the key that signs is not over.
        let signs = ring.signs(entry, now);
        // At the latest with the last one of its key.
        let last = entry.forgotten_at.filter(|_| !signs);
        let expires_at = last.map_or(verified.expires_at, |at| at.min(verified.expires_at));
        (is_timely && (signs || entry.may_have_signed(verified.issued_at))).then_some(expires_at)
    }

    /// Reads a token: signature first, then those claims that do not depend on the moment.
    fn read(&self, token: &str) -> Option<Verified> {
        let (claims, kid) = self.open(token)?;
        let is_ours = claims.iss == self.issuer
            && claims.aud == self.audience
            && claims.client_id == CLIENT_ID
            && !claims.jti.is_empty()
            && !claims.sid.is_empty();
        let subject = if let Value::String(subject) = claims.sub { subject } else { String::new() };
        is_ours.then(|| Verified {
            named: Named::new(UserId::from_text(subject), SessionId::from_text(claims.sid)).into(),
            generation: claims.jti.rsplit_once('.').and_then(|(_, generation)| generation.parse().ok()),
            kid,
            issued_at: claims.iat,
            not_before: claims.nbf,
            expires_at: Time::from_unix(claims.exp),
        })
    }

    /// The claims of a token that one of the keys has signed, and that key. jsonwebtoken judges the signature; its
    /// judgement of claims reads the clock, and lets pass what is missing or has another type.
    fn open(&self, token: &str) -> Option<(Presented, String)> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header: Map<String, Value> = object(header)?;
        let member = |name| header.get(name).and_then(Value::as_str);
        let ring = self.ring();
        let entry = ring.find(member("kid")?)?;
        let is_ours = member("alg") == Some(entry.key.algorithm.name())
            && member("typ").is_some_and(is_access_token)
            // RFC 7515, section 4.1.11: no extension is understood here, so none may be critical.
            && !header.contains_key("crit")
            && !header.contains_key("b64");
        if !is_ours || !entry.key.has_signed(message.as_bytes(), signature) {
            return None;
        }
        Some((object(payload)?, entry.key.kid.clone()))
    }
}

/// A part of a token: an object in which no name stands twice, so that every service reads the same in it.
fn object<T: DeserializeOwned>(part: &str) -> Option<T> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    (json::check(&bytes) == Ok(Shape::Object)).then(|| serde_json::from_slice(&bytes).ok())?
}

/// RFC 9068, section 2.1: the media type, with or without `application/`, in any case (RFC 2045).
fn is_access_token(typ: &str) -> bool {
    let name = match typ.split_at_checked("application/".len()) {
        Some((prefix, name)) if prefix.eq_ignore_ascii_case("application/") => name,
        _ => typ,
    };
    name.eq_ignore_ascii_case(TYPE)
}
