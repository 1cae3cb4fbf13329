use super::{
    Error, Notice, Store,
    audit::append,
    code::{consume, void_all},
    email::{Address, event, proved_address, take_from_others, touching},
    memory::Touched,
    notice::{Of, tell},
    session::end_all_of,
};
use crate::model::{By, MailKind, PasswordHash, Presented, Purpose, Time, UserId};

/// An account that its owner came back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Which.
    pub user_id: UserId,
    /// The address that it has proved now.
    pub email: String,
    /// Whether its address was a claim until now.
    pub has_proved: bool,
    /// Who claimed it, too, and does no more.
    pub others: Vec<UserId>,
}

impl Store {
    /// Gives an account another password, for who shows that he reads what is mailed to its address, or to the one that it
    /// claims, which is proved by that. Nothing that was set before opens it any more: its sessions end, its claim and
    /// all that was mailed for it is void. Its owner is told.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn reset_password(
        &self,
        shown: Presented,
        hash: PasswordHash,
        notices: Option<[Notice; 2]>,
        by: By,
        now: Time,
    ) -> Result<Option<Recovery>, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let Some(used) = consume(&mut *tx, Purpose::Reset, &shown, now).await? else {
                    return Ok((None, Touched::nothing()));
                };
                let (id, key) = (used.user_id, used.email_key);
                let before = proved_address(&mut *tx, &id).await?;
                let reset = sqlx::query_scalar!(
                    r#"UPDATE users
                       SET password_hash = $2,
                           email = CASE WHEN email_key = $3 THEN email ELSE claimed_email END,
                           email_verified_at = CASE WHEN email_key = $3 THEN email_verified_at ELSE $4 END,
                           email_key = $3, claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL,
                           claim_changed_at = NULL
                       WHERE id = $1 AND disabled_at IS NULL
                         AND (email_key = $3
                              OR (claimed_email_key = $3
                                  AND NOT EXISTS (SELECT 1 FROM users AS owner
                                                  WHERE owner.email_key = $3 AND owner.email_verified_at IS NOT NULL)))
                       RETURNING email AS "email!""#,
                    id,
                    hash,
                    key,
                    now
                );
                let Some(email) = reset.fetch_optional(&mut *tx).await? else {
                    return Ok((None, Touched::nothing()));
                };
                let others = take_from_others(&mut *tx, &id, &key, &by, now).await?;
                void_all(&mut *tx, &id).await?;
                // What was asked for before and is not sent yet.
                sqlx::query!(
                    "DELETE FROM outbox WHERE kind IN ('reset', 'verify') AND (user_id = $1 OR email_key = $2)",
                    id,
                    key
                )
                .execute(&mut *tx)
                .await?;
                let address = Address { email, key };
                let has_proved = before.as_ref() != Some(&address);
                append(&mut *tx, &by.does("password_reset", now).on(&id)).await?;
                if has_proved {
                    append(&mut *tx, &by.does(event(before.as_ref()), now).on(&id)).await?;
                }
                if let Some([password, email]) = &notices {
                    tell(&mut *tx, Some(password), MailKind::PasswordChanged, Of::Living(&id), &address).await?;
                    if let Some(before) = before.filter(|_| has_proved) {
                        tell(&mut *tx, Some(email), MailKind::EmailChanged, Of::Living(&id), &before).await?;
                    }
                }
                let ended = end_all_of(tx, &id, None, now).await?;
                let touched = Touched::account(id.clone()).and(Touched::ended(ended));
                let touched = others.iter().cloned().fold(touched, touching);
                Ok((Some(Recovery { user_id: id, email: address.email, has_proved, others }), touched))
            })
        })
        .await
    }
}
