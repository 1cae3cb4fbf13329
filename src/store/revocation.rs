use super::{Conn, Error, Store};
use crate::model::{SessionId, Time, UserId};

/// What ended, for services that verify by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Each session that was ended, and when.
    pub sessions: Vec<(SessionId, Time)>,
    /// Each account of which no token counts that was issued before a second, and that second.
    pub subjects: Vec<(UserId, Time)>,
}

impl Store {
    /// What ended at this moment or after it.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn revocations(&self, since: Time) -> Result<Revocations, Error> {
        // Of one moment: a deleted account's sessions are gone, and its own entry stands for them.
        let mut conn = self.readers()?.begin().await?;
        let sessions = sqlx::query!(
            r#"SELECT id AS "id: SessionId", ended_at AS "ended_at!: Time" FROM sessions
               WHERE ended_at >= $1 ORDER BY ended_at, id"#,
            since
        )
        .fetch_all(&mut *conn)
        .await?;
        let subjects = sqlx::query!(
            r#"SELECT user_id AS "user_id: UserId", not_before AS "not_before: Time" FROM subject_cutoffs
               WHERE not_before > $1 ORDER BY not_before, user_id"#,
            since
        )
        .fetch_all(&mut *conn)
        .await?;
        conn.rollback().await?;
        Ok(Revocations {
            sessions: sessions.into_iter().map(|row| (row.id, row.ended_at)).collect(),
            subjects: subjects.into_iter().map(|row| (row.user_id, row.not_before)).collect(),
        })
    }

    /// Forgets accounts' ends that no living token can be older than.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn purge_cutoffs(&self, before: Time) -> Result<u64, Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                let purged = sqlx::query!("DELETE FROM subject_cutoffs WHERE not_before < $1", before);
                Ok(purged.execute(tx).await?.rows_affected())
            })
        })
        .await
    }
}

/// Notes that an account's tokens of up to this second say what is no longer so.
pub(super) async fn cut_off(tx: &mut Conn, user_id: &UserId, last_issue: Time) -> Result<(), Error> {
    // Rounded up: a token that was issued earlier in this second has the same `iat` as one issued later in it.
    let not_before = last_issue.plus(1);
    sqlx::query!(
        "INSERT INTO subject_cutoffs (user_id, not_before) VALUES ($1, $2)
         ON CONFLICT (user_id) DO UPDATE
         SET not_before = CASE WHEN subject_cutoffs.not_before < excluded.not_before THEN excluded.not_before
                               ELSE subject_cutoffs.not_before END",
        user_id,
        not_before
    )
    .execute(tx)
    .await?;
    Ok(())
}
