use super::{Conn, Error, Store, audit::append};
use crate::model::{Entry, SecretId, StoredKey, Time};

/// A key to be added to the ring. It has no Debug form: what is encrypted in it is not to be printed.
#[derive(Clone)]
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

/// Who takes over from a key that is revoked.
pub struct Follower {
    /// The turns that are to come, if they are still to come: the first of them.
    pub pending: Vec<i64>,
    /// Otherwise this one.
    pub spare: NewKey,
}

/// A private key, encrypted under one secret and under the next.
pub struct Resealed {
    /// Of its row.
    pub position: i64,
    /// As it is stored.
    pub old: Vec<u8>,
    /// As it will be.
    pub new: Vec<u8>,
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
    /// It signs, and there is none to follow it. Nothing was changed.
    Signs,
    /// The `SECRET_KEY` was replaced since the next key was made. Nothing was changed.
    Changed,
}

impl Store {
    /// The check value of the `SECRET_KEY` that this database is used with. None: it has not been used.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn secret(&self) -> Result<Option<SecretId>, Error> {
        let id = sqlx::query_scalar!(r#"SELECT id AS "id: SecretId" FROM secrets WHERE replaced_at IS NULL"#);
        Ok(id.fetch_optional(self.readers()?).await?)
    }

    /// Notes which `SECRET_KEY` this database is used with, unless that was noted before. Answers which it is.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn adopt_secret(&self, id: SecretId, now: Time) -> Result<SecretId, Error> {
        self.write_aside(move |tx| {
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

    /// Replaces the noted `SECRET_KEY`, and with it what encrypts each private key: all or nothing. `sealed` has each
    /// key's old and new form. False: somebody replaced it, or changed the ring, since the old ones were read.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn replace_secret(
        &self,
        previous: SecretId,
        current: SecretId,
        sealed: Vec<Resealed>,
        entry: Entry,
    ) -> Result<bool, Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                let found = sqlx::query!(
                    r#"SELECT position AS "position!", sealed AS "sealed!" FROM signing_keys
                       WHERE sealed IS NOT NULL ORDER BY position"#
                )
                .fetch_all(&mut *tx)
                .await?;
                let is_same = found.len() == sealed.len()
                    && found
                        .iter()
                        .zip(&sealed)
                        .all(|(row, key)| row.position == key.position && row.sealed == key.old);
                let now = entry.at;
                let replaced = sqlx::query_scalar!(
                    r#"UPDATE secrets SET replaced_at = $2 WHERE id = $1 AND replaced_at IS NULL AND $3
                       RETURNING id AS "id!""#,
                    previous,
                    now,
                    is_same
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
                for Resealed { position, new, .. } in sealed {
                    sqlx::query!("UPDATE signing_keys SET sealed = $2 WHERE position = $1", position, new)
                        .execute(&mut *tx)
                        .await?;
                }
                append(tx, &entry).await?;
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
        Ok(keys.fetch_all(self.readers()?).await?)
    }

    /// Adds a key, unless one that is not revoked takes over after `unless_after`. False: there is one, or the
    /// `SECRET_KEY` was replaced.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn add_key(&self, new: NewKey, unless_after: Option<Time>, entry: Entry) -> Result<bool, Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                let newer = sqlx::query_scalar!(
                    r#"SELECT COUNT(*) AS "n!" FROM signing_keys
                       WHERE activates_at > $1 AND algorithm = $2 AND revoked_at IS NULL"#,
                    unless_after,
                    new.algorithm
                );
                if newer.fetch_one(&mut *tx).await? > 0 || !is_current(&mut *tx, &new.secret_id).await? {
                    return Ok(false);
                }
                let entry = entry.on(&new.kid);
                insert(&mut *tx, new).await?;
                append(tx, &entry).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Makes it this key's turn, and takes back the turns that were to follow. False: the key was revoked once, or
    /// the `SECRET_KEY` replaced; nothing was changed.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn switch_key(&self, new: NewKey, entry: Entry) -> Result<bool, Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                let revoked = sqlx::query_scalar!(
                    r#"SELECT COUNT(*) AS "n!" FROM signing_keys WHERE kid = $1 AND revoked_at IS NOT NULL"#,
                    new.kid
                );
                if revoked.fetch_one(&mut *tx).await? > 0 || !is_current(&mut *tx, &new.secret_id).await? {
                    return Ok(false);
                }
                sqlx::query!(
                    "DELETE FROM signing_keys WHERE activates_at > $1 AND created_at <= $1 AND revoked_at IS NULL",
                    new.activates_at
                )
                .execute(&mut *tx)
                .await?;
                // What was made later than now was made under another clock, and may have signed: until now.
                sqlx::query!(
                    "UPDATE signing_keys SET activates_at = $1 WHERE activates_at > $1 AND revoked_at IS NULL",
                    new.activates_at
                )
                .execute(&mut *tx)
                .await?;
                let entry = entry.on(&new.kid);
                insert(&mut *tx, new).await?;
                append(tx, &entry).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Has these turns, which were made later than now, begin then.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn settle_keys(&self, turns: Vec<(i64, Time)>, now: Time) -> Result<(), Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                for (position, begins_at) in turns {
                    sqlx::query!(
                        "UPDATE signing_keys SET activates_at = $2, created_at = $3
                         WHERE position = $1 AND created_at > $3 AND revoked_at IS NULL",
                        position,
                        begins_at,
                        now
                    )
                    .execute(&mut *tx)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Revokes a key and forgets its private half. If it is the one that signs, its follower takes over now.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn revoke_key(&self, kid: String, next: Option<Follower>, entry: Entry) -> Result<Revoked, Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                let revoked = revoke(&mut *tx, &kid, next, entry.at).await?;
                if revoked == Revoked::Done {
                    append(tx, &entry.on(&kid)).await?;
                }
                Ok(revoked)
            })
        })
        .await
    }

    /// Notes that tokens of these turns live longer than was thought when they were made.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn lengthen_keys(&self, positions: Vec<i64>, ttl: i64) -> Result<(), Error> {
        if positions.is_empty() {
            return Ok(());
        }
        self.write_aside(move |tx| {
            Box::pin(async move {
                for position in positions {
                    sqlx::query!(
                        "UPDATE signing_keys SET longest_ttl = $2 WHERE position = $1 AND longest_ttl < $2",
                        position,
                        ttl
                    )
                    .execute(&mut *tx)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Deletes turns that ended long ago. A revoked key of a secret stays: whoever sets that secret again would have it
    /// back.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn delete_keys(&self, positions: Vec<i64>) -> Result<(), Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                for position in positions {
                    sqlx::query!(
                        "DELETE FROM signing_keys
                         WHERE position = $1 AND (revoked_at IS NULL OR algorithm <> 'HS256')",
                        position
                    )
                    .execute(&mut *tx)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

async fn revoke(tx: &mut Conn, kid: &str, next: Option<Follower>, now: Time) -> Result<Revoked, Error> {
    let known = sqlx::query!(
        r#"SELECT COUNT(*) AS "turns!", COUNT(revoked_at) AS "revoked!" FROM signing_keys WHERE kid = $1"#,
        kid
    )
    .fetch_one(&mut *tx)
    .await?;
    if known.turns == known.revoked {
        return Ok(if known.turns == 0 { Revoked::Unknown } else { Revoked::Before });
    }
    let signing = sqlx::query_scalar!(
        "SELECT kid FROM signing_keys WHERE activates_at <= $1 AND revoked_at IS NULL
         ORDER BY activates_at DESC, position DESC LIMIT 1",
        now
    );
    let signs = signing.fetch_optional(&mut *tx).await?.is_none_or(|signing| signing == kid);
    let follower = if signs {
        let Some(next) = next else { return Ok(Revoked::Signs) };
        if !is_current(&mut *tx, &next.spare.secret_id).await? {
            return Ok(Revoked::Changed);
        }
        Some(next)
    } else {
        None
    };
    sqlx::query!("UPDATE signing_keys SET revoked_at = $2, sealed = NULL WHERE kid = $1", kid, now)
        .execute(&mut *tx)
        .await?;
    let Some(Follower { pending, spare }) = follower else { return Ok(Revoked::Done) };
    for position in pending {
        let promoted = sqlx::query_scalar!(
            r#"UPDATE signing_keys SET activates_at = $2
               WHERE position = $1 AND activates_at > $2 AND revoked_at IS NULL
               RETURNING position AS "position!""#,
            position,
            now
        );
        if promoted.fetch_optional(&mut *tx).await?.is_some() {
            return Ok(Revoked::Done);
        }
    }
    insert(tx, spare).await?;
    Ok(Revoked::Done)
}

/// Whether what is sealed under this secret can be read by a server that starts now.
async fn is_current(tx: &mut Conn, secret_id: &SecretId) -> Result<bool, Error> {
    let count =
        sqlx::query_scalar!(r#"SELECT COUNT(*) AS "n!" FROM secrets WHERE id = $1 AND replaced_at IS NULL"#, secret_id);
    Ok(count.fetch_one(tx).await? > 0)
}

async fn insert(tx: &mut Conn, new: NewKey) -> Result<(), Error> {
    let NewKey { kid, algorithm, sealed, secret_id: _, created_at, activates_at, longest_ttl } = new;
    sqlx::query!(
        "INSERT INTO signing_keys (kid, algorithm, sealed, created_at, activates_at, position, longest_ttl)
         VALUES ($1, $2, $3, $4, $5, (SELECT 1 + COALESCE(MAX(position), 0) FROM signing_keys), $6)",
        kid,
        algorithm,
        sealed,
        created_at,
        activates_at,
        longest_ttl
    )
    .execute(tx)
    .await?;
    Ok(())
}
