use super::{Conn, Error, Store};
use crate::model::{SecretId, StoredKey, Time};

/// A key to be added to the ring.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its id.
    pub kid: String,
    /// The name of its algorithm.
    pub algorithm: &'static str,
    /// The private key, encrypted; none for HS256.
    pub sealed: Option<Vec<u8>>,
    /// Which `SECRET_KEY` it belongs to.
    pub secret_id: SecretId,
    /// Now.
    pub created_at: Time,
    /// When it takes over.
    pub activates_at: Time,
    /// The life of the tokens that it will sign, in seconds.
    pub longest_ttl: i64,
}

/// What became of a key that was to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// Nothing that it signed counts any more.
    Done,
    /// It was revoked before.
    Before,
    /// There is no such key.
    Unknown,
}

impl Store {
    /// The check value of the `SECRET_KEY` that this database is used with. None: it has not been used.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn secret(&self) -> Result<Option<SecretId>, Error> {
        let id = sqlx::query_scalar!(r#"SELECT id AS "id: SecretId" FROM secrets WHERE replaced_at IS NULL"#);
        Ok(id.fetch_optional(&self.readers).await?)
    }

    /// Notes which `SECRET_KEY` this database is used with, unless that was noted before. Answers which it is.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn adopt_secret(&self, id: SecretId, now: Time) -> Result<SecretId, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!(
                    "INSERT INTO secrets (id, adopted_at)
                     SELECT $1, $2 WHERE NOT EXISTS (SELECT 1 FROM secrets WHERE replaced_at IS NULL)",
                    id,
                    now
                )
                .execute(&mut *tx)
                .await?;
                let current =
                    sqlx::query_scalar!(r#"SELECT id AS "id: SecretId" FROM secrets WHERE replaced_at IS NULL"#);
                Ok(current.fetch_one(tx).await?)
            })
        })
        .await
    }

    /// Replaces the noted `SECRET_KEY`, and with it what encrypts each private key: all or nothing. False: somebody
    /// replaced it, or changed the ring, since `sealed` was made.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn replace_secret(
        &self,
        previous: SecretId,
        current: SecretId,
        sealed: Vec<(String, Vec<u8>)>,
        now: Time,
    ) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let replaced = sqlx::query_scalar!(
                    r#"UPDATE secrets SET replaced_at = $2 WHERE id = $1 AND replaced_at IS NULL
                       AND (SELECT COUNT(*) FROM signing_keys WHERE sealed IS NOT NULL) = $3
                       RETURNING id AS "id!""#,
                    previous,
                    now,
                    // A ring of more keys than an i64 counts is none.
                    i64::try_from(sealed.len()).unwrap_or(-1)
                );
                if replaced.fetch_optional(&mut *tx).await?.is_none() {
                    return Ok(false);
                }
                sqlx::query!(
                    "INSERT INTO secrets (id, adopted_at) VALUES ($1, $2)
                     ON CONFLICT (id) DO UPDATE SET adopted_at = excluded.adopted_at, replaced_at = NULL",
                    current,
                    now
                )
                .execute(&mut *tx)
                .await?;
                for (kid, sealed) in sealed {
                    sqlx::query!(
                        "UPDATE signing_keys SET sealed = $2 WHERE kid = $1 AND sealed IS NOT NULL",
                        kid,
                        sealed
                    )
                    .execute(&mut *tx)
                    .await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// The whole ring, in the order in which the keys take over.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, Error> {
        let keys = sqlx::query_as!(
            StoredKey,
            r#"SELECT kid, algorithm, sealed, created_at AS "created_at: Time", activates_at AS "activates_at: Time",
                      position, longest_ttl, revoked_at AS "revoked_at: Time"
               FROM signing_keys ORDER BY activates_at, position"#
        );
        Ok(keys.fetch_all(&self.readers).await?)
    }

    /// Adds a key, unless one that is not revoked takes over after `unless_after`. False: there is one, or the
    /// `SECRET_KEY` was replaced.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn add_key(&self, new: NewKey, unless_after: Option<Time>) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let newer = sqlx::query_scalar!(
                    r#"SELECT COUNT(*) AS "n!" FROM signing_keys
                       WHERE activates_at > $1 AND algorithm = $2 AND revoked_at IS NULL"#,
                    unless_after,
                    new.algorithm
                );
                if newer.fetch_one(&mut *tx).await? > 0 {
                    return Ok(false);
                }
                insert(tx, new).await
            })
        })
        .await
    }

    /// Makes `new` the key that signs from its activation on, and takes back those that were to follow. A key that
    /// was in the ring before takes its turn again. False: it is revoked.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn switch_key(&self, new: NewKey) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!(
                    "DELETE FROM signing_keys WHERE activates_at > $1 AND revoked_at IS NULL",
                    new.activates_at
                )
                .execute(&mut *tx)
                .await?;
                let (kid, now, ttl) = (new.kid.clone(), new.activates_at, new.longest_ttl);
                insert(&mut *tx, new).await?;
                let key = sqlx::query_scalar!(
                    r#"UPDATE signing_keys
                       SET activates_at = $2, longest_ttl = CASE WHEN longest_ttl < $3 THEN $3 ELSE longest_ttl END,
                           position = 1 + (SELECT COALESCE(MAX(position), 0) FROM signing_keys)
                       WHERE kid = $1 AND revoked_at IS NULL RETURNING kid AS "kid!""#,
                    kid,
                    now,
                    ttl
                );
                Ok(key.fetch_optional(tx).await?.is_some())
            })
        })
        .await
    }

    /// Revokes a key and forgets its private half. With `next` it is the one that signs, and its
    /// follower takes over now: the one that was to do so anyway, or `next`.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn revoke_key(&self, kid: String, next: Option<NewKey>, now: Time) -> Result<Revoked, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let revoked = sqlx::query_scalar!(
                    r#"UPDATE signing_keys SET revoked_at = $2, sealed = NULL WHERE kid = $1 AND revoked_at IS NULL
                       RETURNING kid AS "kid!""#,
                    kid,
                    now
                );
                if revoked.fetch_optional(&mut *tx).await?.is_none() {
                    let known = sqlx::query_scalar!(r#"SELECT COUNT(*) AS "n!" FROM signing_keys WHERE kid = $1"#, kid);
                    let is_known = known.fetch_one(tx).await? > 0;
                    return Ok(if is_known { Revoked::Before } else { Revoked::Unknown });
                }
                let Some(next) = next else { return Ok(Revoked::Done) };
                let promoted = sqlx::query_scalar!(
                    r#"UPDATE signing_keys SET activates_at = $1
                       WHERE kid = (SELECT kid FROM signing_keys
                                    WHERE activates_at > $1 AND revoked_at IS NULL AND algorithm = $2
                                    ORDER BY activates_at, position LIMIT 1)
                       RETURNING kid AS "kid!""#,
                    now,
                    next.algorithm
                );
                if promoted.fetch_optional(&mut *tx).await?.is_none() {
                    insert(tx, next).await?;
                }
                Ok(Revoked::Done)
            })
        })
        .await
    }

    /// Notes that tokens live longer than they did when the keys were made.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn lengthen_keys(&self, ttl: i64) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query!("UPDATE signing_keys SET longest_ttl = $1 WHERE longest_ttl < $1", ttl)
                    .execute(tx)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Deletes keys that retired long ago.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn delete_keys(&self, kids: Vec<String>) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                for kid in kids {
                    sqlx::query!("DELETE FROM signing_keys WHERE kid = $1 AND revoked_at IS NULL", kid)
                        .execute(&mut *tx)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// Adds a key, unless it is there, or belongs to a secret that was replaced: nobody could decrypt it.
async fn insert(tx: &mut Conn, new: NewKey) -> Result<bool, Error> {
    let NewKey { kid, algorithm, sealed, secret_id, created_at, activates_at, longest_ttl } = new;
    let inserted = sqlx::query!(
        "INSERT INTO signing_keys (kid, algorithm, sealed, created_at, activates_at, position, longest_ttl)
         SELECT $1, $2, $3, $4, $5, (SELECT 1 + COALESCE(MAX(position), 0) FROM signing_keys), $6
         WHERE EXISTS (SELECT 1 FROM secrets WHERE id = $7 AND replaced_at IS NULL)
         ON CONFLICT (kid) DO NOTHING",
        kid,
        algorithm,
        sealed,
        created_at,
        activates_at,
        longest_ttl,
        secret_id
    );
    Ok(inserted.execute(tx).await?.rows_affected() > 0)
}
