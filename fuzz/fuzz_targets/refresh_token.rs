//! What is read has one spelling; what is issued is read as what it was issued for.
#![no_main]

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::{
    auth::{refresh::RefreshToken, secrets::Secrets},
    model::{Salt, SessionId},
};
use hallpass_fuzz::secrets;
use libfuzzer_sys::fuzz_target;

static SECRETS: LazyLock<Secrets> = LazyLock::new(secrets);

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(token) = RefreshToken::parse(text)
    {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&bytes), text);
        assert!(bytes.len() == 57 && bytes[0] == 1 && token.generation >= 0);
        assert_eq!(token.session_id.to_bytes().unwrap(), bytes[1..17]);
    }
    let Some((id, rest)) = data.split_first_chunk::<16>() else { return };
    let Some((generation, rest)) = rest.split_first_chunk::<8>() else { return };
    let (id, generation) = (SessionId::from_bytes(*id), i64::from_be_bytes(*generation));
    let mut salt = [0; 16];
    salt.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let salt = Salt::from_bytes(salt);
    match RefreshToken::issue(&SECRETS, &SECRETS.current.id, &id, generation, &salt) {
        Ok(text) => {
            let token = RefreshToken::parse(&text).unwrap();
            assert_eq!((token.session_id, token.generation), (id, generation));
        }
        Err(_) => assert!(generation < 0),
    }
});
