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

/// Has an address told of a change. It has room in any case: what strangers ask for must not hide a theft.
pub(super) async fn tell(
    tx: &mut Conn,
    notice: Option<&Notice>,
    kind: MailKind,
    user_id: &UserId,
    address: &Address,
) -> Result<(), Error> {
    let Some(Notice { id, created_at, expires_at }) = notice else { return Ok(()) };
    let Address { email, key } = address;
    sqlx::query!(
        "INSERT INTO outbox (id, kind, user_id, email, email_key, created_at, expires_at, attempts, next_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $6)",
        id,
        kind,
        user_id,
        email,
        key,
        created_at,
        expires_at
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Has an address told that its account is gone.
pub(super) async fn tell_of_end(
    tx: &mut Conn,
    notice: Option<&Notice>,
    username: &str,
    address: &Address,
) -> Result<(), Error> {
    let Some(Notice { id, created_at, expires_at }) = notice else { return Ok(()) };
    let (Address { email, key }, kind) = (address, MailKind::AccountDeleted);
    sqlx::query!(
        "INSERT INTO outbox (id, kind, username, email, email_key, created_at, expires_at, attempts, next_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $6)",
        id,
        kind,
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

/// Keeps what tells of changes of an account that is about to be deleted: else who stole it could hide the theft by that.
pub(super) async fn keep_notices(tx: &mut Conn, user_id: &UserId) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE outbox SET username = (SELECT users.username FROM users WHERE users.id = $1), user_id = NULL
         WHERE user_id = $1 AND kind NOT IN ('verify', 'reset')",
        user_id
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
    match proved_address(&mut *tx, user_id).await? {
        Some(address) => tell(tx, notice, kind, user_id, &address).await,
        None => Ok(()),
    }
}
