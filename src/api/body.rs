//! The one way in for JSON.
//!
//! It reads no more than the limit, for no longer than the deadline, and tells apart what is not JSON (400)
//! from JSON that is not what the operation takes (422).

use std::time::Duration;

use futures_util::StreamExt;
use poem::{
    Request, RequestBody, Result,
    http::{StatusCode, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaRequest, Registry},
    types::Type,
};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::problem::{Code, Problem};
use crate::{
    error::{Error, FieldError},
    json::{self, Defect, Misfit},
};

/// The most bytes of a body.
pub const LIMIT: usize = 16 * 1024;

/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// A JSON body that has been read as a `T`.
pub struct Body<T>(pub T);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: "application/json", schema: Json::<T>::schema_ref() }],
            required: true,
        })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        check_media_type(request, &mime::APPLICATION_JSON)?;
        Ok(Self(parse(&receive(request, body).await?)?))
    }
}

/// The same, or no body at all.
pub struct OptionalBody<T>(pub Option<T>);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for OptionalBody<T> {
    const TYPES: &'static [ApiExtractorType] = Body::<T>::TYPES;
    const PARAM_IS_REQUIRED: bool = false;
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Body::<T>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Body::<T>::request_meta().map(|meta| MetaRequest { required: false, ..meta })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let bytes = receive(request, body).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        check_media_type(request, &mime::APPLICATION_JSON)?;
        Ok(Self(Some(parse(&bytes)?)))
    }
}

/// Reads it within the deadline.
pub(super) async fn receive(request: &Request, body: &mut RequestBody) -> Result<Zeroizing<Vec<u8>>> {
    tokio::time::timeout(DEADLINE, read(request, body)).await.map_err(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, Code::RequestTimeout, "The body did not arrive in time")
    })?
}

/// Sees to it that the body is what its media type says, in UTF-8 and as it is.
pub(super) fn check_media_type(request: &Request, wanted: &mime::Mime) -> Result<(), Problem> {
    let is_wanted = request.content_type().and_then(|text| text.parse::<mime::Mime>().ok()).is_some_and(|media| {
        media.essence_str() == wanted.essence_str()
            && media.get_param(mime::CHARSET).is_none_or(|set| set == mime::UTF_8)
    });
    let is_plain = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if is_wanted && is_plain {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::UnsupportedMediaType,
        format!("The body must be {} in UTF-8, not compressed", wanted.essence_str()),
    ))
}

async fn read(request: &Request, body: &mut RequestBody) -> Result<Zeroizing<Vec<u8>>> {
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, "The body is over 16 KiB");
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > LIMIT) {
        return Err(too_large().into());
    }
    // At its full size from the start: growing would leave copies of a password behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT));
    let mut chunks = body.take()?.into_bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| malformed("The body broke off"))?;
        if bytes.len() + chunk.len() > LIMIT {
            return Err(too_large().into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn malformed(detail: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::MalformedJson, detail)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    json::read(bytes).map_err(|misfit| {
        let field = match misfit {
            Misfit::Defect(Defect::Twice) => return malformed("A member is given twice"),
            Misfit::Defect(Defect::Malformed) => return malformed("The body is not JSON"),
            // JSON, and nothing that an operation takes.
            Misfit::Defect(Defect::OutOfRange) => FieldError::new("", "has a number that is out of range"),
            Misfit::NoObject => FieldError::new("", "must be an object with the members of this operation"),
            Misfit::Unknown => FieldError::new("", "has a member that the operation does not know"),
            Misfit::Member(field) => field,
        };
        Error::Validation(vec![field]).into()
    })
}

#[cfg(test)]
mod tests {
    use poem::http::StatusCode;
    use serde::Deserialize;

    use super::parse;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Form {
        name: String,
        tags: Option<Vec<String>>,
    }

    fn refusal(text: &str) -> (StatusCode, String) {
        let problem = parse::<Form>(text.as_bytes()).unwrap_err();
        let errors: Vec<String> = problem.errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect();
        (problem.status, errors.join(", "))
    }

    #[test]
    fn what_is_not_json_differs_from_what_is_not_wanted() {
        let ok = parse::<Form>(br#"{"name": "x", "tags": ["a"]}"#).unwrap();
        assert_eq!(ok, Form { name: "x".into(), tags: Some(vec!["a".into()]) });
        let deep = "[".repeat(10_000);
        for text in [
            "",
            "{",
            "nonsense",
            "{\"name\": \"\u{1}\"}",
            "{} {}",
            &deep,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","tags":[{"x":1,"x":2}]}"#,
            "\u{feff}{}",
            r#"{"name":"\ud800"}"#,
        ] {
            assert_eq!(refusal(text).0, StatusCode::BAD_REQUEST, "{text:.40}");
        }
        for (text, errors) in [
            ("null", ": must be an object with the members of this operation"),
            (r#"["x", []]"#, ": must be an object with the members of this operation"),
            ("{}", "/name: is required"),
            (r#"{"name": 1}"#, "/name: must be a string"),
            (r#"{"name": 1e400}"#, ": has a number that is out of range"),
            (r#"{"name": {"$ne": null}}"#, "/name: must be a string"),
            (r#"{"name": "x", "tags": "secret"}"#, "/tags: must be an array"),
            (r#"{"name": "x", "tags": ["a", 5]}"#, "/tags/1: must be a string"),
            (r#"{"name": "x", "secret": "secret"}"#, ": has a member that the operation does not know"),
        ] {
            assert_eq!(refusal(text), (StatusCode::UNPROCESSABLE_ENTITY, errors.to_owned()), "{text}");
        }
    }
}
