use std::sync::Arc;

use super::{
    Conn, Current, Error, Notice, Store, admin::may_still, audit::append, memory::Touched, notice::tell_owner,
};
use crate::model::{
    By, Entry, MailKind, PasswordHash, Roles, Salt, SecretId, Session, SessionId, Standing, Time, UserId,
};

/// How far ahead of `now` another request's may be, in seconds: it may have come later and waited less.
const CLOCK: i64 = 60;

/// A session to be opened.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it will be.
    pub user_id: UserId,
    /// What its refresh tokens' MACs cover.
    pub salt: Salt,
    /// Which `SECRET_KEY` makes its first refresh token.
    pub secret_id: SecretId,
    /// Now.
    pub created_at: Time,
    /// When it ends if it is not refreshed.
    pub refresh_expires_at: Time,
    /// When it ends in any case.
    pub expires_at: Time,
    /// Where the login came from.
    pub ip: String,
    /// What the client called itself.
    pub user_agent: Option<String>,
    /// How many others of the account stay: the oldest end.
    pub others: i64,
}

/// A session that was opened.
#[derive(Debug)]
pub struct Begun {
    /// What its tokens are made of.
    pub current: Current,
    /// The oldest of too many, which it ended.
    pub displaced: Vec<SessionId>,
}

/// A login that opened a session.
#[derive(Debug)]
pub struct Login {
    /// The session.
    pub session_id: SessionId,
    /// The account.
    pub user_id: UserId,
    /// Its name, as it is compared.
    pub username_key: String,
    /// Its address, as it is compared, if it is proved.
    pub email_key: Option<String>,
    /// When.
    pub at: Time,
    /// From where.
    pub ip: String,
}

impl Store {
    /// Records a login and opens its session: with the stronger hash that the login made of the same password if
    /// there is one, and with the oldest of too many sessions ended.
    ///
    /// The owner of a proved address is told, if there is a notice.
    ///
    /// Answers what its tokens are made of, with the account as it is now. None: since `verified` was read, it was
    /// disabled, deleted or given another password.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn open_session(
        &self,
        new: NewSession,
        verified: PasswordHash,
        stronger: Option<PasswordHash>,
        notice: Option<Notice>,
        by: By,
    ) -> Result<Option<Begun>, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let login = sqlx::query!(
                    r#"UPDATE users SET last_login_at = $3, password_hash = COALESCE($4, password_hash)
                       WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
                       RETURNING username AS "username!", roles AS "roles!: Roles""#,
                    new.user_id,
                    verified,
                    new.created_at,
                    stronger
                );
                let Some(account) = login.fetch_optional(&mut *tx).await? else {
                    return Ok((None, Touched::nothing()));
                };
                sqlx::query!(
                    "INSERT INTO sessions (id, user_id, salt, generation, rotated_at, secret_id, created_at,
                                           last_used_at, refresh_expires_at, expires_at, ip, user_agent)
                     VALUES ($1, $2, $3, 0, $4, $5, $4, $4, $6, $7, $8, $9)",
                    new.id,
                    new.user_id,
                    new.salt,
                    new.created_at,
                    new.secret_id,
                    new.refresh_expires_at,
                    new.expires_at,
                    new.ip,
                    new.user_agent
                )
                .execute(&mut *tx)
                .await?;
                // The new one is not asked for its age: a clock that was set back would make it the oldest.
                let displaced = sqlx::query_scalar!(
                    r#"UPDATE sessions SET ended_at = $3, refresh_expires_at = $3
                       WHERE id IN (SELECT id FROM sessions
                                    WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL AND refresh_expires_at > $3
                                    ORDER BY created_at DESC, id DESC LIMIT 1000 OFFSET $4)
                       RETURNING id AS "id!: SessionId""#,
                    new.user_id,
                    new.id,
                    new.created_at,
                    new.others
                )
                .fetch_all(&mut *tx)
                .await?;
                let entry = |event, id| by.does(event, new.created_at).on(&new.user_id).about(id);
                append(&mut *tx, &entry("login", &new.id)).await?;
                for id in &displaced {
                    append(&mut *tx, &entry("session_displaced", id)).await?;
                }
                tell_owner(tx, notice.as_ref(), MailKind::LoginAfterFailures, &new.user_id).await?;
                let touched = Touched::account(new.user_id.clone()).and(Touched::ended(displaced.clone()));
                let current = Current {
                    user_id: new.user_id,
                    username: account.username,
                    roles: account.roles,
                    generation: 0,
                    secret_id: new.secret_id,
                    refresh_expires_at: new.refresh_expires_at,
                };
                Ok((Some(Begun { current, displaced }), touched))
            })
        })
        .await
    }

    /// What a session is good for now, read.
    pub(super) async fn read_standing(&self, id: &SessionId) -> Result<Option<Arc<Standing>>, Error> {
        let row = sqlx::query!(
            r#"SELECT user_id AS "user_id: UserId", generation, successor_used_at AS "successor_used_at: Time",
                      last_used_at AS "last_used_at: Time", refresh_expires_at AS "refresh_expires_at: Time",
                      expires_at AS "expires_at: Time", ended_at AS "ended_at: Time"
               FROM sessions WHERE id = $1"#,
            id
        );
        let Some(row) = row.fetch_optional(self.readers()?).await? else { return Ok(None) };
        // Of no account of ours.
        let Some(owner) = row.user_id.to_bytes() else { return Ok(None) };
        Ok(Some(Arc::new(Standing {
            owner,
            generation: row.generation,
            is_successor_used: row.successor_used_at.is_some(),
            ends_at: row.ended_at.is_none().then(|| row.refresh_expires_at.min(row.expires_at)),
            last_used_at: row.last_used_at.unix().into(),
        })))
    }

    /// Records when sessions were last used.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn record_uses(&self, uses: Vec<(SessionId, Time)>) -> Result<(), Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                for (id, at) in uses {
                    sqlx::query!("UPDATE sessions SET last_used_at = $2 WHERE id = $1 AND last_used_at < $2", id, at)
                        .execute(&mut *tx)
                        .await?;
                }
                // Memory knew it first.
                Ok(((), Touched::nothing()))
            })
        })
        .await
    }

    /// The sessions of an account that are alive, the newest first.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn sessions_of(&self, user_id: &UserId, now: Time) -> Result<Vec<Session>, Error> {
        let sessions = sqlx::query_as!(
            Session,
            r#"SELECT id AS "id: SessionId", user_id AS "user_id: UserId", secret_id AS "secret_id: SecretId",
                      created_at AS "created_at: Time", last_used_at AS "last_used_at: Time",
                      refresh_expires_at AS "refresh_expires_at: Time", expires_at AS "expires_at: Time", ip, user_agent
               FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND refresh_expires_at > $2
               ORDER BY created_at DESC, id DESC"#,
            user_id,
            now
        );
        Ok(sessions.fetch_all(self.readers()?).await?)
    }

    /// The logins before that of a session, or the last ones: at most so many, the newest first.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn logins_before(&self, session: Option<SessionId>, at_most: i64) -> Result<Vec<Login>, Error> {
        // Ids are in the order of their time (UUIDv7), and all before this one.
        let before = session.unwrap_or_else(|| SessionId::from_text("~".to_owned()));
        let logins = sqlx::query_as!(
            Login,
            r#"SELECT s.id AS "session_id: SessionId", s.user_id AS "user_id: UserId", s.created_at AS "at: Time", s.ip,
                      u.username_key,
                      CASE WHEN u.email_verified_at IS NOT NULL THEN u.email_key END AS "email_key?: String"
               FROM sessions s JOIN users u ON u.id = s.user_id
               WHERE s.id < $1 ORDER BY s.id DESC LIMIT $2"#,
            before,
            at_most
        );
        Ok(logins.fetch_all(self.readers()?).await?)
    }

    /// Every session that is alive, with its account's name, the newest first.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn living_sessions(&self, now: Time) -> Result<Vec<(Session, String)>, Error> {
        let rows = sqlx::query!(
            r#"SELECT s.id AS "id: SessionId", s.user_id AS "user_id: UserId", s.secret_id AS "secret_id: SecretId",
                      s.created_at AS "created_at: Time", s.last_used_at AS "last_used_at: Time",
                      s.refresh_expires_at AS "refresh_expires_at: Time", s.expires_at AS "expires_at: Time",
                      s.ip, s.user_agent, u.username
               FROM sessions s JOIN users u ON u.id = s.user_id
               WHERE s.ended_at IS NULL AND s.refresh_expires_at > $1
               ORDER BY s.created_at DESC, s.id DESC"#,
            now
        )
        .fetch_all(self.readers()?)
        .await?;
        let sessions = rows.into_iter().map(|row| {
            let session = Session {
                id: row.id,
                user_id: row.user_id,
                secret_id: row.secret_id,
                created_at: row.created_at,
                last_used_at: row.last_used_at,
                refresh_expires_at: row.refresh_expires_at,
                expires_at: row.expires_at,
                ip: row.ip,
                user_agent: row.user_agent,
            };
            (session, row.username)
        });
        Ok(sessions.collect())
    }

    /// Ends a session, of this account if one is named. False: there is no such session, or it had ended.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn end_session(&self, user_id: Option<UserId>, id: SessionId, entry: Entry) -> Result<bool, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let ended = sqlx::query_scalar!(
                    r#"UPDATE sessions SET ended_at = $3, refresh_expires_at = $3
                       WHERE id = $1 AND (user_id = $2 OR CAST($2 AS TEXT) IS NULL) AND ended_at IS NULL
                       RETURNING user_id AS "user_id!: UserId""#,
                    id,
                    user_id,
                    entry.at
                )
                .fetch_optional(&mut *tx)
                .await?;
                if let Some(owner) = &ended {
                    append(tx, &entry.on(owner).about(&id)).await?;
                }
                // Also one that is not there any more: memory may have it.
                Ok((ended.is_some(), Touched::ended([id])))
            })
        })
        .await
    }

    /// Ends the sessions of an account, but for one. Answers how many. Also those that seem to have expired: the clock
    /// may be wrong, and be set right.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn end_sessions_of(
        &self,
        user_id: UserId,
        except: Option<SessionId>,
        entry: Entry,
    ) -> Result<usize, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                may_still(&mut *tx, entry.admin.as_ref()).await?;
                let ended = end_all_of(&mut *tx, &user_id, except.as_ref(), entry.at).await?;
                if !ended.is_empty() {
                    append(tx, &entry.on(&user_id).times(ended.len())).await?;
                }
                Ok((ended.len(), Touched::ended(ended)))
            })
        })
        .await
    }

    /// Ends every session. Answers how many.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn end_every_session(&self, entry: Entry) -> Result<u64, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let ended = sqlx::query!(
                    "UPDATE sessions SET ended_at = $1, refresh_expires_at = $1 WHERE ended_at IS NULL",
                    entry.at
                );
                let count = ended.execute(&mut *tx).await?.rows_affected();
                if count > 0 {
                    append(tx, &entry.times(usize::try_from(count).unwrap_or(usize::MAX))).await?;
                }
                Ok((count, Touched::anything()))
            })
        })
        .await
    }

    /// Deletes some of the sessions that ended or expired before a moment. Answers how many.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn purge_sessions(&self, before: Time, at_most: i64) -> Result<u64, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let purged = sqlx::query_scalar!(
                    r#"DELETE FROM sessions
                       WHERE id IN (SELECT id FROM sessions WHERE refresh_expires_at < $1 LIMIT $2)
                       RETURNING id AS "id!: SessionId""#,
                    before,
                    at_most
                )
                .fetch_all(tx)
                .await?;
                Ok((purged.len() as u64, Touched::ended(purged)))
            })
        })
        .await
    }
}

/// A moment at or after which no token of this account was issued yet: now, or if somebody's `now` was later and
/// came first, that. Each issue of a token moves `last_used_at` of its session up to its own `iat`.
pub(super) async fn last_issue(tx: &mut Conn, user_id: &UserId, now: Time) -> Result<Time, Error> {
    let last =
        sqlx::query_scalar!(r#"SELECT MAX(last_used_at) AS "last?: Time" FROM sessions WHERE user_id = $1"#, user_id);
    // One of further ahead is of a clock that was wrong: that would void the account's tokens until then.
    Ok(last.fetch_one(tx).await?.map_or(now, |last| last.clamp(now, now.plus(CLOCK))))
}

/// Ends the sessions of an account, but for one. Answers which.
pub(super) async fn end_all_of(
    tx: &mut Conn,
    user_id: &UserId,
    except: Option<&SessionId>,
    now: Time,
) -> Result<Vec<SessionId>, Error> {
    let ended = sqlx::query_scalar!(
        r#"UPDATE sessions SET ended_at = $3, refresh_expires_at = $3
           WHERE user_id = $1 AND (id <> $2 OR CAST($2 AS TEXT) IS NULL) AND ended_at IS NULL
           RETURNING id AS "id!: SessionId""#,
        user_id,
        except,
        now
    );
    Ok(ended.fetch_all(tx).await?)
}
