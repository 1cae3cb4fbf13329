use super::{Conn, Error, Store};
use crate::model::{Audited, Entry, Time, UserId};

/// Which rows of the audit log.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Those of this target.
    pub target: Option<String>,
    /// Those of this event.
    pub event: Option<String>,
    /// Those before this row.
    pub before: Option<i64>,
}

impl Store {
    /// Rows of the audit log, the newest first.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn audit(&self, search: Search, at_most: i64) -> Result<Vec<Audited>, Error> {
        let Search { target, event, before } = search;
        let before = before.unwrap_or(i64::MAX);
        // One statement for each index: with a condition that may be none, SQLite would go through all rows.
        let rows = match (target, event) {
            (Some(target), event) => sqlx::query_as!(
                Audited,
                r#"SELECT id, at AS "at: Time", event, actor AS "actor: UserId", target, address, request_id, outcome,
                              count, detail
                       FROM audit WHERE target = $1 AND id < $2 AND (event = $3 OR CAST($3 AS TEXT) IS NULL)
                       ORDER BY id DESC LIMIT $4"#,
                target,
                before,
                event,
                at_most
            )
            .fetch_all(self.readers()?)
            .await,
            (None, Some(event)) => sqlx::query_as!(
                Audited,
                r#"SELECT id, at AS "at: Time", event, actor AS "actor: UserId", target, address, request_id, outcome,
                              count, detail
                       FROM audit WHERE event = $1 AND id < $2 ORDER BY id DESC LIMIT $3"#,
                event,
                before,
                at_most
            )
            .fetch_all(self.readers()?)
            .await,
            (None, None) => sqlx::query_as!(
                Audited,
                r#"SELECT id, at AS "at: Time", event, actor AS "actor: UserId", target, address, request_id, outcome,
                              count, detail
                       FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2"#,
                before,
                at_most
            )
            .fetch_all(self.readers()?)
            .await,
        };
        Ok(rows?)
    }

    /// Writes rows of what changed nothing.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn record(&self, entries: Vec<Entry>) -> Result<(), Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                for entry in &entries {
                    append(&mut *tx, entry).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Deletes some of the rows from before a moment. Answers how many.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn purge_audit(&self, before: Time, at_most: i64) -> Result<u64, Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                let purged = sqlx::query!(
                    "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 LIMIT $2)",
                    before,
                    at_most
                );
                Ok(purged.execute(tx).await?.rows_affected())
            })
        })
        .await
    }
}

/// Writes a row, in the transaction of what it tells of.
pub(super) async fn append(tx: &mut Conn, entry: &Entry) -> Result<(), Error> {
    let Entry { event, at, actor, target, client, admin: _, outcome, count, detail } = entry;
    let (address, request_id) =
        (client.map(|client| client.address.to_string()), client.map(|client| client.request.to_string()));
    sqlx::query!(
        "INSERT INTO audit (at, event, actor, target, address, request_id, outcome, count, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        at,
        event,
        actor,
        target,
        address,
        request_id,
        outcome,
        count,
        detail
    )
    .execute(tx)
    .await?;
    Ok(())
}
