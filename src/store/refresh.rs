use super::{Conn, Error, Store, audit::append, memory::Touched};
use crate::model::{Entry, Roles, Salt, SecretId, SessionId, Time, UserId};

/// What a session's refresh tokens are checked with.
#[derive(Debug, Clone)]
pub struct Check {
    /// Whose session it is.
    pub user_id: UserId,
    /// What their MACs cover.
    pub salt: Salt,
    /// Which `SECRET_KEY` made the current one.
    pub secret_id: SecretId,
    /// Of the current one.
    pub generation: i64,
}

/// A refresh token of the right MAC that came back.
#[derive(Debug, Clone)]
pub struct Return {
    /// Its session.
    pub id: SessionId,
    /// Its generation.
    pub generation: i64,
    /// Now.
    pub now: Time,
    /// When the next refresh token expires, unless the session does before.
    pub refresh_expires_at: Time,
    /// Which `SECRET_KEY` makes the next refresh token.
    pub secret_id: SecretId,
    /// The token before the current one is still served if the current one was made at this time or later.
    pub retry_since: Time,
    /// And not later than this: the clock may have been set back, by so much.
    pub retry_until: Time,
    /// The same while nobody has used the current one.
    pub lost_since: Time,
}

/// What the current tokens of a session are made of.
#[derive(Debug, Clone)]
pub struct Current {
    /// Whose it is.
    pub user_id: UserId,
    /// The account's name.
    pub username: String,
    /// What the account may do.
    pub roles: Roles,
    /// Counts its refresh tokens.
    pub generation: i64,
    /// Which `SECRET_KEY` makes the refresh token.
    pub secret_id: SecretId,
    /// When the session ends if it is not refreshed.
    pub refresh_expires_at: Time,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was the current one; there is a new one now.
    Rotated(Current),
    /// It was the one before; the current one is still the current one.
    Retried(Current),
    /// It had been used before: the session of this account was ended.
    Reused(UserId),
    /// The session is gone, ended or expired, or its account disabled.
    Refused,
}

impl Store {
    /// The salt of a session, read.
    pub(super) async fn read_salt(&self, id: &SessionId) -> Result<Option<Salt>, Error> {
        let salt = sqlx::query_scalar!(r#"SELECT salt AS "salt: Salt" FROM sessions WHERE id = $1"#, id);
        Ok(salt.fetch_optional(self.readers()?).await?)
    }

    /// What a session's refresh tokens are checked with.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn refresh_check(&self, id: &SessionId) -> Result<Option<Check>, Error> {
        let check = sqlx::query_as!(
            Check,
            r#"SELECT user_id AS "user_id: UserId", salt AS "salt: Salt", secret_id AS "secret_id: SecretId", generation
               FROM sessions WHERE id = $1"#,
            id
        );
        Ok(check.fetch_optional(self.readers()?).await?)
    }

    /// Rotates a session's refresh token, if the one that came back is the current one; ends the session if it is
    /// one of those before, for which there is an entry.
    ///
    /// One statement decides who of many rotates; the transaction holds the write lock, so nothing that was
    /// answered before (an end, a disabled account) can be overtaken. One that has expired ends: it does not come back
    /// with a clock that is set back.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn rotate_session(&self, back: Return, reused: Entry) -> Result<Outcome, Error> {
        // A reuse writes twice; if the second fails, the transaction is given up and the first with it.
        self.write_one(move |tx| {
            Box::pin(async move {
                let id = back.id.clone();
                let outcome = rotate(&mut *tx, back).await?;
                if let Outcome::Reused(user_id) = &outcome {
                    append(tx, &reused.on(user_id).about(&id)).await?;
                }
                let goes_on = matches!(outcome, Outcome::Rotated(_) | Outcome::Retried(_));
                let touched = if goes_on { Touched::sessions([id]) } else { Touched::ended([id]) };
                Ok((outcome, touched))
            })
        })
        .await
    }

    /// Records that somebody holds the tokens of this generation.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn record_successor(&self, id: SessionId, generation: i64, now: Time) -> Result<(), Error> {
        self.write_one(move |tx| {
            Box::pin(async move {
                sqlx::query!(
                    "UPDATE sessions SET successor_used_at = $3
                     WHERE id = $1 AND generation = $2 AND successor_used_at IS NULL",
                    id,
                    generation,
                    now
                )
                .execute(tx)
                .await?;
                Ok(((), Touched::sessions([id])))
            })
        })
        .await
    }
}

async fn rotate(tx: &mut Conn, back: Return) -> Result<Outcome, Error> {
    let Return { id, generation, now, refresh_expires_at, secret_id, retry_since, retry_until, lost_since } = back;
    let next = generation + 1;
    let rotated = sqlx::query_as!(
        Current,
        r#"UPDATE sessions
           SET generation = $3, rotated_at = $4, successor_used_at = NULL, secret_id = $5,
               last_used_at = CASE WHEN last_used_at < $4 THEN $4 ELSE last_used_at END,
               refresh_expires_at = CASE WHEN $6 < expires_at THEN $6 ELSE expires_at END
           WHERE id = $1 AND generation = $2 AND ended_at IS NULL AND refresh_expires_at > $4
             AND EXISTS (SELECT 1 FROM users WHERE users.id = sessions.user_id AND disabled_at IS NULL)
           RETURNING user_id AS "user_id!: UserId", generation AS "generation!",
                     (SELECT username FROM users WHERE users.id = sessions.user_id) AS "username!",
                     (SELECT roles FROM users WHERE users.id = sessions.user_id) AS "roles!: Roles",
                     secret_id AS "secret_id!: SecretId", refresh_expires_at AS "refresh_expires_at!: Time""#,
        id,
        generation,
        next,
        now,
        secret_id,
        refresh_expires_at
    );
    if let Some(current) = rotated.fetch_optional(&mut *tx).await? {
        return Ok(Outcome::Rotated(current));
    }
    let retried = sqlx::query_as!(
        Current,
        r#"UPDATE sessions SET last_used_at = CASE WHEN last_used_at < $3 THEN $3 ELSE last_used_at END
           WHERE id = $1 AND generation = $2 AND ended_at IS NULL AND refresh_expires_at > $3
             AND ((rotated_at >= $4 AND rotated_at <= $6) OR (successor_used_at IS NULL AND rotated_at >= $5))
             AND EXISTS (SELECT 1 FROM users WHERE users.id = sessions.user_id AND disabled_at IS NULL)
           RETURNING user_id AS "user_id!: UserId", generation AS "generation!",
                     (SELECT username FROM users WHERE users.id = sessions.user_id) AS "username!",
                     (SELECT roles FROM users WHERE users.id = sessions.user_id) AS "roles!: Roles",
                     secret_id AS "secret_id!: SecretId", refresh_expires_at AS "refresh_expires_at!: Time""#,
        id,
        next,
        now,
        retry_since,
        lost_since,
        retry_until
    );
    if let Some(current) = retried.fetch_optional(&mut *tx).await? {
        return Ok(Outcome::Retried(current));
    }
    // Of another generation than the current one, and not to be served: used before, or of a database that was
    // restored since.
    let reused = sqlx::query_scalar!(
        r#"UPDATE sessions SET ended_at = $3, refresh_expires_at = $3
           WHERE id = $1 AND generation <> $2 AND ended_at IS NULL AND refresh_expires_at > $3
           RETURNING user_id AS "user_id!: UserId""#,
        id,
        generation,
        now
    );
    if let Some(user_id) = reused.fetch_optional(&mut *tx).await? {
        return Ok(Outcome::Reused(user_id));
    }
    // Who was told that a session has expired is not told otherwise when the clock is set back.
    sqlx::query!(
        "UPDATE sessions SET ended_at = refresh_expires_at
         WHERE id = $1 AND ended_at IS NULL AND refresh_expires_at <= $2",
        id,
        now
    )
    .execute(tx)
    .await?;
    Ok(Outcome::Refused)
}
