//! The guard of protected operations. It is the first argument of each: an anonymous caller reaches no parser.

use poem::{Request, Result};
use poem_openapi::{SecurityScheme, auth::Bearer};

use super::{context::Context, problem::Problem};
use crate::{auth::session, model::Principal};

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
