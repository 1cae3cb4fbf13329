//! The guard of protected operations. It is the first argument of each: an anonymous caller reaches no parser.

use poem::{
    FromRequest, Request, RequestBody, Result,
    http::{HeaderMap, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, SecurityScheme, auth::Bearer, registry::Registry,
};

use super::{context::Context, problem::Problem};
use crate::{
    auth::session,
    model::{ADMIN, Principal},
};

/// Whoever presents a valid access token. To hold one is to have been checked.
///
/// `POST /login` makes such a token.
#[derive(SecurityScheme)]
#[oai(rename = "BearerAuth", ty = "bearer", bearer_format = "JWT", checker = "check")]
pub struct Caller(pub Principal);

/// Is not called at all without a bearer token; `edge` answers then.
async fn check(request: &Request, bearer: Bearer) -> Result<Principal> {
    let context = Context::of(request)?;
    let Context { app, now, client } = context;
    Ok(session::authenticate(app, *now, *client, &bearer.token).await.map_err(Problem::from)?)
}

/// A [`Caller`] who has the role `admin`. Nobody else reaches a parser, or is waited for with a body.
pub struct Admin(pub Principal);

impl<'a> ApiExtractor<'a> for Admin {
    const TYPES: &'static [ApiExtractorType] = Caller::TYPES;

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Caller::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Caller::security_schemes()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let Caller(caller) = Caller::from_request(request, body, options).await?;
        caller.require(ADMIN).map_err(Problem::from)?;
        Ok(Self(caller))
    }
}

/// The bearer token of a request, unjudged: for the operation that takes one that has expired.
pub struct Presented(pub Option<String>);

impl<'a> FromRequest<'a> for Presented {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        // Bytes that are no text are a token all the same, though none of ours.
        let text = |token| std::str::from_utf8(token).unwrap_or_default().trim_start().to_owned();
        Ok(Self(bearer(request.headers()).map(text)))
    }
}

/// What stands after the scheme (RFC 6750, section 2.1).
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}
