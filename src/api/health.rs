use std::time::Duration;

use poem_openapi::{Object, OpenApi, payload::Json};

use super::{
    Tag,
    context::Context,
    problem::{Refusal, statuses},
};
use crate::error::Error;

/// A database that does not answer within this is not ready.
const PATIENCE: Duration = Duration::from_secs(1);

statuses! {
    Livez: 400, 500;
    Readyz: 400, 500, 503;
}

/// For whoever watches the process.
pub struct HealthApi;

/// How the process is.
#[derive(Object)]
struct Health {
    /// Always `ok`.
    status: String,
}

fn ok() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

#[OpenApi(tag = "Tag::Health")]
impl HealthApi {
    /// See whether the process answers. Asks nothing of the database.
    #[oai(path = "/livez", method = "get", operation_id = "get_livez")]
    async fn get_livez(&self) -> Result<Json<Health>, Refusal<Livez>> {
        Ok(ok())
    }

    /// See whether the database can be read and written.
    #[oai(path = "/readyz", method = "get", operation_id = "get_readyz")]
    async fn get_readyz(&self, context: Context) -> Result<Json<Health>, Refusal<Readyz>> {
        match tokio::time::timeout(PATIENCE, context.app.store.check()).await {
            Ok(checked) => checked.map_err(Error::from)?,
            Err(_) => return Err(Error::StorageUnavailable("no answer within a second".into()).into()),
        }
        Ok(ok())
    }
}
