use std::time::{Duration, Instant};

use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};

use super::{
    Tag,
    context::Context,
    json::Json,
    problem::{Refusal, statuses},
};
use crate::error::Error;

/// A database that does not answer within this is not ready.
const PATIENCE: Duration = Duration::from_secs(1);

statuses! {
    Livez: 400, 500;
    Readyz: 400, 500, 503;
}

/// How long what was found holds: anybody may ask, and finding out is a write.
const VALIDITY: Duration = Duration::from_secs(1);

/// For whoever watches the process.
#[derive(Default)]
pub struct HealthApi {
    /// When the database was last tried, and whether it could be used.
    last: Mutex<Option<(Instant, bool)>>,
}

/// How the process is.
#[derive(Object, Serialize)]
struct Health {
    /// Always `ok`.
    status: String,
}

fn ok() -> Json<Health> {
    Json::new(&Health { status: "ok".to_owned() })
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
        let mut last = self.last.lock().await;
        if let Some((at, is_ready)) = *last
            && at.elapsed() < VALIDITY
        {
            let tried = || Error::StorageUnavailable("it was tried within the last second".into());
            return if is_ready { Ok(ok()) } else { Err(tried().into()) };
        }
        let checked = match timeout(PATIENCE, context.app.store.check()).await {
            // Whatever the reason, it is not ready.
            Ok(checked) => checked.map_err(|error| Error::StorageUnavailable(Box::new(error))),
            Err(_) => Err(Error::StorageUnavailable("no answer within a second".into())),
        };
        *last = Some((Instant::now(), checked.is_ok()));
        Ok(checked.map(|()| ok())?)
    }
}
