use super::{
    Asked, Conn, Error, Notice, Store,
    audit::append,
    code::{Try, consume, count_try, void_all},
    memory::Touched,
    notice::{Of, tell},
    outbox::enqueue,
};
use crate::model::{By, Email, Entry, MailKind, PasswordHash, Presented, Purpose, SessionId, Time, UserId};

/// An address that was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// Whose it is now.
    pub user_id: UserId,
    /// Whether another one was proved before.
    pub is_change: bool,
    /// Who claimed it, too, and does no more.
    pub others: Vec<UserId>,
}

impl Store {
    /// Makes the address that an account claims its own, for who shows that he reads what is mailed there. All others
    /// lose their claims to it, and the account its other codes. The address of before is told.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn verify_email(
        &self,
        shown: Presented,
        notice: Option<Notice>,
        by: By,
        now: Time,
    ) -> Result<Try<Proved>, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let Some(used) = consume(&mut *tx, Purpose::Verify, &shown, now).await? else {
                    let tried = match shown {
                        Presented::Link(_) => Try::Wrong,
                        Presented::Code { email_key, .. } => {
                            count_try(tx, Purpose::Verify, &email_key, &by, now).await?
                        }
                    };
                    return Ok((tried, Touched::nothing()));
                };
                let id = used.user_id;
                let before = proved_address(&mut *tx, &id).await?;
                let proved = sqlx::query_scalar!(
                    r#"UPDATE users
                       SET email = claimed_email, email_key = claimed_email_key, email_verified_at = $3,
                           claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL, claim_changed_at = NULL
                       WHERE id = $1 AND claimed_email_key = $2 AND disabled_at IS NULL
                         AND NOT EXISTS (SELECT 1 FROM users AS owner
                                         WHERE owner.email_key = $2 AND owner.email_verified_at IS NOT NULL)
                       RETURNING id AS "id!: UserId""#,
                    id,
                    used.email_key,
                    now
                );
                if proved.fetch_optional(&mut *tx).await?.is_none() {
                    return Ok((Try::Wrong, Touched::nothing()));
                }
                let others = take_from_others(&mut *tx, &id, &used.email_key, &by, now).await?;
                void_all(&mut *tx, &id).await?;
                if let Some(before) = &before {
                    tell(&mut *tx, notice.as_ref(), MailKind::EmailChanged, Of::Living(&id), before).await?;
                }
                append(tx, &by.does(event(before.as_ref()), now).on(&id)).await?;
                let touched = others.iter().cloned().fold(Touched::account(id.clone()), touching);
                Ok((Try::Right(Proved { user_id: id, is_change: before.is_some(), others }), touched))
            })
        })
        .await
    }

    /// Notes that an account, whose password was verified in this session, says that this is its address. What was mailed
    /// for it before is void. False: since then the password was changed, or the account or the session ended.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn claim_email(
        &self,
        id: UserId,
        verified: PasswordHash,
        session_id: SessionId,
        email: Email,
        mail: Option<Asked>,
        entry: Entry,
    ) -> Result<bool, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let (address, key) = (email.display(), email.as_key());
                let claimed = sqlx::query_scalar!(
                    r#"UPDATE users
                       SET claimed_email = $4, claimed_email_key = $5,
                           claim_changed_at = CASE WHEN claimed_email_key = $5 THEN claim_changed_at ELSE $6 END,
                           claimed_at = (SELECT CASE WHEN MAX(claims.claimed_at) >= $6 THEN MAX(claims.claimed_at) + 1
                                                     ELSE $6 END
                                         FROM users AS claims WHERE claims.claimed_email_key = $5)
                       WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
                         AND EXISTS (SELECT 1 FROM sessions WHERE sessions.id = $3 AND ended_at IS NULL)
                       RETURNING id AS "id!: UserId""#,
                    id,
                    verified,
                    session_id,
                    address,
                    key,
                    entry.at
                );
                if claimed.fetch_optional(&mut *tx).await?.is_none() {
                    return Ok((false, Touched::nothing()));
                }
                // The one that it has proved already: there is nothing to change any more.
                sqlx::query!(
                    "UPDATE users
                     SET claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL, claim_changed_at = NULL
                     WHERE id = $1 AND claimed_email_key = email_key",
                    id
                )
                .execute(&mut *tx)
                .await?;
                void_all(&mut *tx, &id).await?;
                if let Some(mail) = &mail {
                    enqueue(&mut *tx, mail).await?;
                }
                append(tx, &entry.on(&id).about(&session_id)).await?;
                Ok((true, Touched::account(id)))
            })
        })
        .await
    }
}

/// What it is to prove an address after that of before.
pub(super) fn event(before: Option<&Address>) -> &'static str {
    if before.is_some() { "email_changed" } else { "email_verified" }
}

/// An account, too.
pub(super) fn touching(touched: Touched, id: UserId) -> Touched {
    touched.and(Touched::account(id))
}

/// An address that was proved.
#[derive(PartialEq)]
pub(super) struct Address {
    /// As it is written.
    pub(super) email: String,
    /// As it is compared.
    pub(super) key: String,
}

/// The address that an account has proved.
pub(super) async fn proved_address(tx: &mut Conn, id: &UserId) -> Result<Option<Address>, Error> {
    let address = sqlx::query_as!(
        Address,
        r#"SELECT email AS "email!", email_key AS "key!" FROM users WHERE id = $1 AND email_verified_at IS NOT NULL"#,
        id
    );
    Ok(address.fetch_optional(tx).await?)
}

/// Takes an address that an account has proved from all others who claim it, with what was mailed there for them.
/// Answers who that was.
pub(super) async fn take_from_others(
    tx: &mut Conn,
    id: &UserId,
    email_key: &str,
    by: &By,
    now: Time,
) -> Result<Vec<UserId>, Error> {
    let others = sqlx::query_scalar!(
        r#"UPDATE users
           SET claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL, claim_changed_at = NULL
           WHERE claimed_email_key = $1 AND id <> $2 RETURNING id AS "id!: UserId""#,
        email_key,
        id
    );
    let others = others.fetch_all(&mut *tx).await?;
    sqlx::query!("DELETE FROM codes WHERE email_key = $1 AND user_id <> $2", email_key, id).execute(&mut *tx).await?;
    for other in &others {
        append(&mut *tx, &by.does("claim_lost", now).on(other)).await?;
    }
    Ok(others)
}
