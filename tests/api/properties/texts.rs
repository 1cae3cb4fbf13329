//! What is handed out and comes back: refresh tokens, cursors, ids, times.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::{
    auth::{cursor, refresh::RefreshToken, secrets::Secrets},
    config::Config,
    model::{Salt, SessionId, Time},
};
use poem::http::Method;
use proptest::{prelude::*, strategy::ValueTree};

use super::{SECRET_KEY, TestApp, secrets, values};

proptest! {
    #[test]
    fn a_refresh_token_reads_as_what_it_was_issued_for(id: [u8; 16], generation in 0..=i64::MAX, salt: [u8; 16]) {
        let (secrets, session) = (secrets(), SessionId::from_bytes(id));
        let salt = Salt::from_bytes(salt);
        let text = RefreshToken::issue(&secrets, &secrets.current.id, &session, generation, &salt).unwrap();
        let read = RefreshToken::parse(&text).unwrap();
        prop_assert_eq!((&read.session_id, read.generation), (&session, generation));
        prop_assert_eq!(text.len(), 76);
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    }

    /// 57 bytes, of which the first says which version it is, and a number without its highest bit.
    #[test]
    fn a_refresh_token_has_one_spelling(
        bytes in prop::collection::vec(any::<u8>(), 54..60), version in 0..3_u8, tail in "[A-Za-z0-9+/=_.-]{0,2}",
    ) {
        let mut bytes = bytes;
        bytes[0] = version;
        let text = URL_SAFE_NO_PAD.encode(&bytes);
        let is_one = bytes.len() == 57 && version == 1 && bytes[17] < 0x80;
        prop_assert_eq!(RefreshToken::parse(&text).is_some(), is_one);
        let other = format!("{text}{tail}");
        let reads = RefreshToken::parse(&other).is_some();
        prop_assert!(!reads || URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.decode(&other).unwrap()) == other);
        let padded = format!("{text}=");
        prop_assert!(RefreshToken::parse(&padded).is_none());
    }

    #[test]
    fn a_cursor_is_read_in_its_list_and_as_it_was_written(
        place in "\\PC{0,80}", bit in 0..4_000_usize, tail in "[A-Za-z0-9=_-]{1,3}",
    ) {
        let secrets = secrets();
        let cursor = cursor::write(&secrets, "users", &place);
        prop_assert_eq!(&cursor::read(&secrets, "users", &cursor).unwrap(), &place);
        prop_assert!(cursor::read(&secrets, "audit", &cursor).is_err());
        prop_assert!(cursor::read(&secrets, "user", &cursor).is_err());
        let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        let at = bit % (8 * bytes.len());
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(cursor::read(&secrets, "users", &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        let longer = format!("{cursor}{tail}");
        prop_assert!(cursor::read(&secrets, "users", &longer).is_err());
        prop_assert!(cursor::read(&secrets, "users", &place).is_err());
        let mut others = values(&[]);
        others.insert("SECRET_KEY".to_owned(), SECRET_KEY.to_lowercase());
        let other = Secrets::derive(&Config::from_values(&others).unwrap()).unwrap();
        prop_assert!(cursor::read(&other, "users", &cursor).is_err());
    }

    #[test]
    fn an_id_has_one_text(bytes: [u8; 16], other in "\\PC{0,40}|[0-9a-fA-F-]{30,40}") {
        let id = SessionId::from_bytes(bytes);
        prop_assert_eq!(SessionId::from_text(id.to_string()).to_bytes(), Some(bytes));
        prop_assert!(id.as_str().len() == 36 && !id.as_str().contains(|c: char| c.is_ascii_uppercase()));
        if let Some(bytes) = SessionId::from_text(other.clone()).to_bytes() {
            prop_assert_eq!(SessionId::from_bytes(bytes).to_string(), other);
        }
        let text = id.as_str();
        for other in [text.to_uppercase(), text.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}")] {
            prop_assert!(other == id.as_str() || SessionId::from_text(other).to_bytes().is_none());
        }
    }

    #[test]
    fn a_time_reads_as_it_is_written(seconds in 0..253_402_300_799_i64, other in "\\PC{0,30}|[0-9TZ:+. -]{10,30}") {
        let time = Time::from_unix(seconds);
        prop_assert_eq!(Time::parse(&time.to_string()), Some(time));
        if let Some(time) = Time::parse(&other) {
            prop_assert_eq!(Time::parse(&time.to_string()), Some(time));
        }
    }
}

/// Whatever is asked for by id, nobody's session but one's own is ended, and nothing breaks.
#[tokio::test]
async fn a_session_is_ended_by_its_own_id_alone() {
    let app = TestApp::new().await;
    let (john, jane) = (app.as_session("john").await, app.as_session("jane").await);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop_oneof![
        "[0-9a-fA-F-]{1,40}",
        "[!-~&&[^/?#%]]{1,40}",
        "(%[0-9a-fA-F]{2}){1,12}",
        Just(jane.sid()),
        Just(john.sid().to_uppercase()),
        Just(format!("{}%00", john.sid())),
        Just(format!("{}%20", john.sid())),
        Just(format!("%7B{}%7D", john.sid())),
    ];
    for _ in 0..200 {
        let id = strategy.new_tree(&mut runner).unwrap().current();
        let Ok(uri) = format!("/sessions/{id}").parse::<poem::http::Uri>() else { continue };
        let answer = app.call(Method::DELETE, &uri.to_string(), &john.access, None).await;
        assert!([204, 404, 422].contains(&answer.status), "{uri}: {}", answer.text());
        assert_eq!(app.verdict(&john.access).await, "ok", "{uri}");
        assert_eq!(app.verdict(&jane.access).await, "ok", "{uri}");
    }
    assert_eq!(app.delete(&format!("/sessions/{}", john.sid()), &john.access).await.status, 204);
    assert_eq!(app.verdict(&john.access).await, "session_ended");
}
