//! Mails that tell of a change.

use super::{
    Conn, Error,
    email::{Address, proved_address},
};
use crate::model::{MailId, MailKind, Time, UserId};

/// A mail that tells of a change, if there is somebody to tell.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Its id.
    pub id: MailId,
    /// Now.
    pub created_at: Time,
    /// When it is worth nothing any more.
    pub expires_at: Time,
}

/// Which account a mail tells of.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// One that there is.
    Living(&'a UserId),
    /// One of this name that there is no more.
    Gone(&'a str),
}

/// Has an address told of a change. It has room in any case: what strangers ask for must not hide a theft.
pub(super) async fn tell(
    tx: &mut Conn,
    notice: Option<&Notice>,
    kind: MailKind,
    account: Of<'_>,
    address: &Address,
) -> Result<(), Error> {
    let Some(Notice { id, created_at, expires_at }) = notice else { return Ok(()) };
    let (user_id, username) = match account {
        Of::Living(id) => (Some(id), None),
        Of::Gone(name) => (None, Some(name)),
    };
    let Address { email, key } = address;
    sqlx::query!(
        "INSERT INTO outbox (id, kind, user_id, username, email, email_key, created_at, expires_at, attempts, next_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $7)",
        id,
        kind,
        user_id,
        username,
        email,
        key,
        created_at,
        expires_at
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Has the proved address of an account, if it has one, told of a change.
pub(super) async fn tell_owner(
    tx: &mut Conn,
    notice: Option<&Notice>,
    kind: MailKind,
    user_id: &UserId,
) -> Result<(), Error> {
    if notice.is_none() {
        return Ok(());
    }
    match proved_address(&mut *tx, user_id).await? {
        Some(address) => tell(tx, notice, kind, Of::Living(user_id), &address).await,
        None => Ok(()),
    }
}

/// Deletes an account, which it is settled may go, and all that belongs to it. Its proved address is told. What tells of
/// changes before stays: else who stole it could hide the theft by that.
pub(super) async fn erase(tx: &mut Conn, notice: Option<&Notice>, id: &UserId, username: &str) -> Result<(), Error> {
    let address = proved_address(&mut *tx, id).await?;
    sqlx::query!(
        "UPDATE outbox SET username = $2, user_id = NULL WHERE user_id = $1 AND kind NOT IN ('verify', 'reset')",
        id,
        username
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("DELETE FROM users WHERE id = $1", id).execute(&mut *tx).await?;
    match address {
        Some(address) => tell(tx, notice, MailKind::AccountDeleted, Of::Gone(username), &address).await,
        None => Ok(()),
    }
}
