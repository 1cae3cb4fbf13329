//! What a mail says and to whom, when its turn has come.

use super::remove;
use crate::{
    model::{CodeHash, LinkHash, MailId, MailKind, Purpose, Time, UserId},
    store::{Conn, Error, Store},
};

/// What is kept of the link and the code that a mail carries, if it carries any.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// What they are good for.
    pub purpose: Purpose,
    /// Of the link.
    pub link_hash: LinkHash,
    /// Of the code.
    pub code_hash: CodeHash,
    /// Until when the link counts, if it is made now.
    pub link_expires_at: Time,
    /// Until when the code counts.
    pub code_expires_at: Time,
}

/// What came of taking a mail to send it.
#[derive(Debug, Clone)]
pub enum Take {
    /// Somebody else has taken it, or it is gone.
    Gone,
    /// There is nobody to send it to, or a newer one of its kind was sent. It is gone now.
    Dropped,
    /// It is worth nothing any more. It is gone now.
    Expired(MailKind, Option<UserId>),
    /// Send it, and say what came of it.
    Ready(Ready),
}

/// A mail that is to be sent now.
#[derive(Debug, Clone)]
pub struct Ready {
    /// What it is about.
    pub kind: MailKind,
    /// The account that it is about, if there still is one.
    pub user_id: Option<UserId>,
    /// Its name.
    pub username: String,
    /// Where it goes.
    pub to: String,
    /// Until when its link counts, if it carries one.
    pub link_expires_at: Time,
    /// Until when its code counts, if it carries one.
    pub code_expires_at: Time,
    /// How often it was tried, with this time.
    pub attempts: i64,
}

struct Row {
    position: i64,
    kind: MailKind,
    user_id: Option<UserId>,
    username: Option<String>,
    email: String,
    email_key: String,
    created_at: Time,
    expires_at: Time,
    attempts: i64,
    issued_at: Option<Time>,
}

struct Holder {
    id: UserId,
    username: String,
    email: String,
}

impl Store {
    /// Takes a mail whose turn it is, until `lease`: nobody else sends it so long, nor after a crash. Finds out to whom
    /// it goes, and notes what its link and its code are.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn take_mail(&self, id: MailId, now: Time, lease: Time, stamp: Option<Stamp>) -> Result<Take, Error> {
        self.write_aside(move |tx| {
            Box::pin(async move {
                let row = sqlx::query_as!(
                    Row,
                    r#"UPDATE outbox SET attempts = attempts + 1, next_at = $3
                       WHERE id = $1 AND next_at <= $2
                       RETURNING position AS "position!", kind AS "kind!: MailKind", user_id AS "user_id?: UserId",
                                 username AS "username?", email AS "email!", email_key AS "email_key!",
                                 created_at AS "created_at!: Time", expires_at AS "expires_at!: Time", attempts AS "attempts!",
                                 issued_at AS "issued_at?: Time""#,
                    id,
                    now,
                    lease
                );
                let Some(row) = row.fetch_optional(&mut *tx).await? else { return Ok(Take::Gone) };
                if row.expires_at <= now {
                    remove(tx, &id).await?;
                    return Ok(Take::Expired(row.kind, row.user_id));
                }
                let ready = prepare(&mut *tx, &id, row, stamp, now).await?;
                if ready.is_none() {
                    remove(tx, &id).await?;
                }
                Ok(ready.map_or(Take::Dropped, Take::Ready))
            })
        })
        .await
    }
}

/// Who gets it, and what it is about. None: nobody.
async fn prepare(
    tx: &mut Conn,
    id: &MailId,
    row: Row,
    stamp: Option<Stamp>,
    now: Time,
) -> Result<Option<Ready>, Error> {
    let (kind, holder) = match row.kind {
        MailKind::Verify => match claimant(&mut *tx, &row).await? {
            None => return Ok(None),
            Some(holder) => match owner(&mut *tx, &row.email_key).await? {
                None => (MailKind::Verify, holder),
                // Nobody waits for it who did not register.
                Some(_) if row.user_id.is_none() => return Ok(None),
                Some(owner) => (MailKind::VerifyTaken, Holder { email: owner.email, ..holder }),
            },
        },
        MailKind::Reset => {
            let holder = match owner(&mut *tx, &row.email_key).await? {
                Some(owner) if owner.is_disabled => None,
                Some(owner) => Some(Holder { id: owner.id, username: owner.username, email: owner.email }),
                None => newest_claimant(&mut *tx, &row.email_key).await?,
            };
            let Some(holder) = holder else { return Ok(None) };
            (MailKind::Reset, holder)
        }
        kind => {
            let username = match &row.user_id {
                Some(id) => {
                    let name = sqlx::query_scalar!("SELECT username FROM users WHERE id = $1", id);
                    name.fetch_optional(&mut *tx).await?
                }
                None => row.username,
            };
            let Row { user_id, email: to, expires_at, attempts, .. } = row;
            return Ok(username.map(|username| Ready {
                kind,
                user_id,
                username,
                to,
                link_expires_at: expires_at,
                code_expires_at: expires_at,
                attempts,
            }));
        }
    };
    let user_id = holder.id;
    let mut ready = Ready {
        kind,
        user_id: Some(user_id.clone()),
        username: holder.username,
        to: holder.email,
        link_expires_at: row.expires_at,
        code_expires_at: row.expires_at,
        attempts: row.attempts,
    };
    // Somebody else's address: there is nothing to prove.
    if kind == MailKind::VerifyTaken {
        return Ok(Some(ready));
    }
    let Some(stamp) = stamp else { return Ok(Some(ready)) };
    let expiry = if row.issued_at.is_none() {
        issue(&mut *tx, id, &row, &user_id, &stamp, now).await?
    } else {
        renew(tx, id, &stamp).await?
    };
    let Some((link_expires_at, code_expires_at)) = expiry else { return Ok(None) };
    (ready.link_expires_at, ready.code_expires_at) = (link_expires_at, code_expires_at);
    Ok(Some(ready))
}

/// Notes the first link and code of a mail, in the place of those before. None: a later mail has been sent.
async fn issue(
    tx: &mut Conn,
    id: &MailId,
    row: &Row,
    user_id: &UserId,
    stamp: &Stamp,
    now: Time,
) -> Result<Option<(Time, Time)>, Error> {
    let Stamp { purpose, link_hash, code_hash, link_expires_at, code_expires_at } = stamp;
    let issued = sqlx::query_scalar!(
        r#"INSERT INTO codes (user_id, kind, mail_id, position, email_key, link_hash, code_hash, attempts, created_at,
                              link_expires_at, code_expires_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10)
           ON CONFLICT (user_id, kind) DO UPDATE
           SET mail_id = excluded.mail_id, position = excluded.position, email_key = excluded.email_key,
               link_hash = excluded.link_hash, code_hash = excluded.code_hash, attempts = 0,
               created_at = excluded.created_at, link_expires_at = excluded.link_expires_at,
               code_expires_at = excluded.code_expires_at
           WHERE codes.position < excluded.position
           RETURNING user_id AS "user_id!: UserId""#,
        user_id,
        purpose,
        id,
        row.position,
        row.email_key,
        link_hash,
        code_hash,
        row.created_at,
        link_expires_at,
        code_expires_at
    );
    if issued.fetch_optional(&mut *tx).await?.is_none() {
        return Ok(None);
    }
    // From here on it is worth what its link is worth.
    sqlx::query!("UPDATE outbox SET issued_at = $2, expires_at = $3 WHERE id = $1", id, now, link_expires_at)
        .execute(tx)
        .await?;
    Ok(Some((*link_expires_at, *code_expires_at)))
}

/// Another try to send the same link and code. Under another `SECRET_KEY` they are others. The code counts from now on,
/// unless wrong tries have voided it; the link as long as it did. None: used, or void.
async fn renew(tx: &mut Conn, id: &MailId, stamp: &Stamp) -> Result<Option<(Time, Time)>, Error> {
    let renewed = sqlx::query!(
        r#"UPDATE codes
           SET link_hash = $2, code_hash = CASE WHEN code_hash IS NULL THEN code_hash ELSE $3 END,
               code_expires_at = CASE WHEN $4 < link_expires_at THEN $4 ELSE link_expires_at END
           WHERE mail_id = $1
           RETURNING link_expires_at AS "link_expires_at!: Time", code_expires_at AS "code_expires_at!: Time""#,
        id,
        stamp.link_hash,
        stamp.code_hash,
        stamp.code_expires_at
    );
    Ok(renewed.fetch_optional(tx).await?.map(|row| (row.link_expires_at, row.code_expires_at)))
}

struct Owner {
    id: UserId,
    username: String,
    email: String,
    is_disabled: bool,
}

/// Who has proved an address.
async fn owner(tx: &mut Conn, email_key: &str) -> Result<Option<Owner>, Error> {
    let owner = sqlx::query_as!(
        Owner,
        r#"SELECT id AS "id: UserId", username, email AS "email!", disabled_at IS NOT NULL AS "is_disabled!: bool"
           FROM users WHERE email_key = $1 AND email_verified_at IS NOT NULL"#,
        email_key
    );
    Ok(owner.fetch_optional(tx).await?)
}

/// The account that a mail of [`MailKind::Verify`] is for, if it still claims the address.
async fn claimant(tx: &mut Conn, row: &Row) -> Result<Option<Holder>, Error> {
    let Some(id) = &row.user_id else { return newest_claimant(tx, &row.email_key).await };
    let holder = sqlx::query_as!(
        Holder,
        r#"SELECT id AS "id: UserId", username, claimed_email AS "email!" FROM users
           WHERE id = $1 AND claimed_email_key = $2 AND disabled_at IS NULL"#,
        id,
        row.email_key
    );
    Ok(holder.fetch_optional(tx).await?)
}

/// Who claimed an address last.
async fn newest_claimant(tx: &mut Conn, email_key: &str) -> Result<Option<Holder>, Error> {
    let holder = sqlx::query_as!(
        Holder,
        r#"SELECT id AS "id: UserId", username, claimed_email AS "email!" FROM users
           WHERE claimed_email_key = $1 AND disabled_at IS NULL ORDER BY claimed_at DESC, id DESC LIMIT 1"#,
        email_key
    );
    Ok(holder.fetch_optional(tx).await?)
}
