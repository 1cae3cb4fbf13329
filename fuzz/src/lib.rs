//! What the targets share: settings, the keys of a secret, a server without a socket.

use std::{cell::RefCell, sync::Arc};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::{
    api,
    app::App,
    auth::{ring::Ring, secrets::Secrets, token::Tokens},
    clock::Clock,
    config::{Config, Values},
    model::{Cost, StoredKey, Time},
};
use poem::{Endpoint, EndpointExt, Request, Response, endpoint::BoxEndpoint};

pub const SECRET_KEY: &str = "k2v8QmZ4yPz1TgXh7NwRcB5sJd9LfAe3UuYoWi6Mx0E";

/// 2026-11-23T09:00:00Z
pub const NOW: Time = Time::from_unix(1_795_424_400);

/// Who issues tokens, and for whom.
pub const ISSUER: &str = "http://127.0.0.1:8000";

pub fn values() -> Values {
    [("SECRET_KEY", SECRET_KEY), ("RATE_LIMITS", "off")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

pub fn secrets() -> Secrets {
    Secrets::derive(&Config::from_values(&values()).unwrap()).unwrap()
}

/// Issues and verifies under HS256.
pub fn tokens(secrets: &Secrets) -> Tokens {
    let row = StoredKey {
        kid: secrets.current.hs256.kid.clone(),
        algorithm: "HS256".to_owned(),
        sealed: None,
        created_at: NOW,
        activates_at: NOW,
        position: 0,
        longest_ttl: 1_800,
        revoked_at: None,
    };
    let ring = Ring::open(vec![row], secrets, &secrets.current.id, &Ring::default());
    Tokens::new(ring, ISSUER.to_owned(), ISSUER.to_owned(), 1_800)
}

/// A token of these very bytes, signed as the holder of `SECRET_KEY` could sign it.
pub fn sign(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET_KEY.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A server that answers in this thread.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    endpoint: BoxEndpoint<'static, Response>,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut values = values();
        values.insert("DATABASE_URL".to_owned(), format!("sqlite://{}", folder.path().join("fuzz.db").display()));
        values.insert("TRUSTED_PROXIES".to_owned(), "127.0.0.0/8,10.0.0.0/8".to_owned());
        let mut config = Config::from_values(&values).unwrap();
        config.argon2 = Cost { memory_kib: 64, iterations: 1, parallelism: 1 };
        let app = runtime.block_on(App::build(config, Clock::System)).unwrap();
        let endpoint = api::routes(Arc::new(app)).unwrap().boxed();
        Self { runtime, endpoint, _folder: folder }
    }

    /// The status of an answer, and its body.
    pub fn answer(request: Request) -> (u16, Vec<u8>) {
        thread_local!(static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) });
        SERVER.with_borrow_mut(|server| {
            let Self { runtime, endpoint, .. } = server.get_or_insert_with(Self::start);
            runtime.block_on(async {
                let response = endpoint.get_response(request).await;
                (response.status().as_u16(), response.into_body().into_vec().await.unwrap())
            })
        })
    }
}
