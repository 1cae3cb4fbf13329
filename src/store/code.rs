use super::{Conn, Error, Store, audit::append, memory::Touched};
use crate::model::{By, CodeHash, Credentials, LinkHash, Presented, Purpose, Time, UserId};

/// So many wrong codes void the one that was mailed.
const TRIES: i64 = 5;

/// What came of showing a link or a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Try<T> {
    /// It counts.
    Right(T),
    /// It does not.
    Wrong,
    /// It does not, and it was one wrong code too many: the right one is void, too. Its link is not.
    Voided(UserId),
}

/// Whose code it was, and for which address.
pub(super) struct Used {
    pub(super) user_id: UserId,
    pub(super) email_key: String,
}

impl Store {
    /// Whose link or code this is, without using it. A wrong code counts.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn try_code(
        &self,
        purpose: Purpose,
        shown: Presented,
        by: By,
        now: Time,
    ) -> Result<Try<Credentials>, Error> {
        let found = match shown {
            Presented::Link(ref hash) => match self.holder_by_link(purpose, hash, now).await? {
                Some((id, true)) => Some(id),
                Some((_, false)) => {
                    self.write_aside(move |tx| Box::pin(async move { void_late(tx, purpose, &shown, now).await }))
                        .await?;
                    None
                }
                None => None,
            },
            Presented::Code { ref email_key, ref current, ref previous } => {
                let (email_key, current, previous) = (email_key.clone(), current.clone(), previous.clone());
                let tried = self.write_aside(move |tx| {
                    Box::pin(async move {
                        if let Some(id) =
                            holder_by_code(&mut *tx, purpose, &email_key, &current, &previous, now).await?
                        {
                            return Ok(Try::Right(id));
                        }
                        void_late(&mut *tx, purpose, &shown, now).await?;
                        count_try(tx, purpose, &email_key, &by, now).await
                    })
                });
                match tried.await? {
                    Try::Right(id) => Some(id),
                    Try::Wrong => None,
                    Try::Voided(id) => return Ok(Try::Voided(id)),
                }
            }
        };
        let Some(id) = found else { return Ok(Try::Wrong) };
        // Deleted meanwhile: then there is no code, either.
        Ok(self.credentials_by_id(&id).await?.map_or(Try::Wrong, Try::Right))
    }

    /// Whose link it is, and whether it still counts.
    async fn holder_by_link(
        &self,
        purpose: Purpose,
        hash: &LinkHash,
        now: Time,
    ) -> Result<Option<(UserId, bool)>, Error> {
        let holder = sqlx::query!(
            r#"SELECT user_id AS "user_id: UserId", link_expires_at AS "expires_at: Time" FROM codes
               WHERE link_hash = $1 AND kind = $2"#,
            hash,
            purpose
        );
        let holder = holder.fetch_optional(self.readers()?).await?;
        Ok(holder.map(|row| (row.user_id, row.expires_at > now)))
    }

    /// Deletes codes whose links have expired.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn purge_codes(&self, now: Time) -> Result<u64, Error> {
        self.write_one(move |tx| {
            Box::pin(async move {
                let purged = sqlx::query!("DELETE FROM codes WHERE link_expires_at <= $1", now);
                Ok((purged.execute(tx).await?.rows_affected(), Touched::nothing()))
            })
        })
        .await
    }
}

async fn holder_by_code(
    tx: &mut Conn,
    purpose: Purpose,
    email_key: &str,
    current: &CodeHash,
    previous: &CodeHash,
    now: Time,
) -> Result<Option<UserId>, Error> {
    let holder = sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id!: UserId" FROM codes
           WHERE kind = $1 AND email_key = $2 AND code_hash IN ($3, $4) AND code_expires_at > $5
             AND user_id = COALESCE(
                 (SELECT id FROM users WHERE email_key = $2 AND email_verified_at IS NOT NULL),
                 (SELECT id FROM users WHERE claimed_email_key = $2 AND disabled_at IS NULL
                  ORDER BY claimed_at DESC, id DESC LIMIT 1))"#,
        purpose,
        email_key,
        current,
        previous,
        now
    );
    Ok(holder.fetch_optional(tx).await?)
}

/// Takes what somebody shows out of the table, if it counts. A code is for the verified owner of its address, and if
/// nobody has verified that, for the newest claim.
pub(super) async fn consume(
    tx: &mut Conn,
    purpose: Purpose,
    shown: &Presented,
    now: Time,
) -> Result<Option<Used>, Error> {
    let used = match shown {
        Presented::Link(hash) => {
            sqlx::query_as!(
                Used,
                r#"DELETE FROM codes WHERE link_hash = $1 AND kind = $2 AND link_expires_at > $3
                   RETURNING user_id AS "user_id!: UserId", email_key AS "email_key!""#,
                hash,
                purpose,
                now
            )
            .fetch_optional(&mut *tx)
            .await?
        }
        Presented::Code { email_key, current, previous } => {
            sqlx::query_as!(
                Used,
                r#"DELETE FROM codes
                   WHERE kind = $1 AND email_key = $2 AND code_hash IN ($3, $4) AND code_expires_at > $5
                     AND user_id = COALESCE(
                         (SELECT id FROM users WHERE email_key = $2 AND email_verified_at IS NOT NULL),
                         (SELECT id FROM users WHERE claimed_email_key = $2 AND disabled_at IS NULL
                          ORDER BY claimed_at DESC, id DESC LIMIT 1))
                   RETURNING user_id AS "user_id!: UserId", email_key AS "email_key!""#,
                purpose,
                email_key,
                current,
                previous,
                now
            )
            .fetch_optional(&mut *tx)
            .await?
        }
    };
    if used.is_none() {
        void_late(tx, purpose, shown, now).await?;
    }
    Ok(used)
}

/// What had expired when it was shown does not count when the clock has been set back, either.
async fn void_late(tx: &mut Conn, purpose: Purpose, shown: &Presented, now: Time) -> Result<(), Error> {
    match shown {
        Presented::Link(hash) => {
            sqlx::query!(
                "DELETE FROM codes WHERE link_hash = $1 AND kind = $2 AND link_expires_at <= $3",
                hash,
                purpose,
                now
            )
            .execute(tx)
            .await?
        }
        // Its link may still count.
        Presented::Code { email_key, current, previous } => {
            sqlx::query!(
                "UPDATE codes SET code_hash = NULL
                 WHERE kind = $1 AND email_key = $2 AND code_hash IN ($3, $4) AND code_expires_at <= $5",
                purpose,
                email_key,
                current,
                previous,
                now
            )
            .execute(tx)
            .await?
        }
    };
    Ok(())
}

/// Counts a wrong code against the one that was mailed to this address. As long as one is tried the writer does nothing
/// else, so that guesses at once are counted one by one.
pub(super) async fn count_try<T>(
    tx: &mut Conn,
    purpose: Purpose,
    email_key: &str,
    by: &By,
    now: Time,
) -> Result<Try<T>, Error> {
    let counted = sqlx::query!(
        r#"UPDATE codes
           SET attempts = attempts + 1, code_hash = CASE WHEN attempts + 1 < $4 THEN code_hash END
           WHERE kind = $1 AND email_key = $2 AND code_hash IS NOT NULL AND code_expires_at > $3
             AND user_id = COALESCE(
                 (SELECT id FROM users WHERE email_key = $2 AND email_verified_at IS NOT NULL),
                 (SELECT id FROM users WHERE claimed_email_key = $2 AND disabled_at IS NULL
                  ORDER BY claimed_at DESC, id DESC LIMIT 1))
           RETURNING user_id AS "user_id!: UserId", attempts AS "attempts!""#,
        purpose,
        email_key,
        now,
        TRIES
    );
    let Some(counted) = counted.fetch_optional(&mut *tx).await? else {
        // A commit that changes nothing is quick: time would tell which addresses have a code.
        sqlx::query!("UPDATE probe SET writes = writes + 1").execute(tx).await?;
        return Ok(Try::Wrong);
    };
    if counted.attempts < TRIES {
        return Ok(Try::Wrong);
    }
    append(tx, &by.does("code_voided", now).on(&counted.user_id).refused(purpose.name())).await?;
    Ok(Try::Voided(counted.user_id))
}

/// Voids all that was mailed for an account.
pub(super) async fn void_all(tx: &mut Conn, user_id: &UserId) -> Result<(), Error> {
    sqlx::query!("DELETE FROM codes WHERE user_id = $1", user_id).execute(tx).await?;
    Ok(())
}

/// Voids what was mailed for an account, but to this address.
pub(super) async fn void_others(tx: &mut Conn, user_id: &UserId, email_key: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        "DELETE FROM codes WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR email_key <> $2)",
        user_id,
        email_key
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What another password voids: resets, a change of the proved address that is under way, and a claim that took the place
/// of the first. Whoever knew the password of before may have asked for each. The first claim stays: it is of who
/// registered.
pub(super) async fn void_for_new_password(tx: &mut Conn, user_id: &UserId) -> Result<(), Error> {
    // Asked for and not sent yet, if it would be for this account.
    sqlx::query!(
        "DELETE FROM outbox
         WHERE kind = 'reset' AND email_key IN (
             SELECT email_key FROM users WHERE id = $1 AND email_key IS NOT NULL
             UNION ALL
             SELECT claimed_email_key FROM users AS claim
             WHERE id = $1 AND claimed_email_key IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM users AS owner
                               WHERE owner.email_key = claim.claimed_email_key AND owner.email_verified_at IS NOT NULL)
               AND NOT EXISTS (SELECT 1 FROM users AS later
                               WHERE later.claimed_email_key = claim.claimed_email_key
                                 AND later.claimed_at > claim.claimed_at AND later.disabled_at IS NULL))",
        user_id
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "DELETE FROM codes WHERE user_id = $1
           AND (kind = 'reset' OR EXISTS (SELECT 1 FROM users WHERE users.id = $1
                                            AND (users.email_key IS NOT NULL OR users.claim_changed_at IS NOT NULL)))",
        user_id
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "UPDATE users
         SET claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL, claim_changed_at = NULL
         WHERE id = $1 AND (email_key IS NOT NULL OR claim_changed_at IS NOT NULL)",
        user_id
    )
    .execute(tx)
    .await?;
    Ok(())
}
