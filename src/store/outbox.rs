mod take;

pub use take::{Ready, Stamp, Take};

use super::{Conn, Error, Store, memory::Touched};
use crate::model::{Email, MailId, MailKind, Time, UserId};

/// The most mails that anybody may have asked for and that are not sent. One more is not taken.
const MOST: i64 = 10_000;

/// A mail to be sent.
#[derive(Debug, Clone)]
pub struct NewMail {
    /// Its id.
    pub id: MailId,
    /// What it is about.
    pub kind: MailKind,
    /// For which account. None: for who has the address when it is sent.
    pub user_id: Option<UserId>,
    /// Where it goes.
    pub email: Email,
    /// Now.
    pub created_at: Time,
    /// When it is worth nothing any more.
    pub expires_at: Time,
}

/// What comes of asking for a mail.
#[derive(Debug, Clone)]
pub enum Asked {
    /// This one.
    Mail(NewMail),
    /// None: too many were asked for.
    TooMany,
}

/// A mail whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its id.
    pub id: MailId,
    /// What it is about.
    pub kind: MailKind,
    /// Where it goes, as it is compared.
    pub email_key: String,
}

impl Store {
    /// Has a mail sent. Nothing is looked up: the work is the same for any address.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn ask_mail(&self, mail: Asked) -> Result<(), Error> {
        self.write_one(move |tx| {
            Box::pin(async move {
                enqueue(tx, &mail).await?;
                Ok(((), Touched::nothing()))
            })
        })
        .await
    }

    /// Some of the mails whose turn it is, in the order in which they were asked for.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn due_mails(&self, now: Time, at_most: i64) -> Result<Vec<Due>, Error> {
        let due = sqlx::query_as!(
            Due,
            r#"SELECT id AS "id: MailId", kind AS "kind: MailKind", email_key FROM outbox
               WHERE next_at <= $1 ORDER BY next_at, position LIMIT $2"#,
            now,
            at_most
        );
        Ok(due.fetch_all(self.readers()?).await?)
    }

    /// Notes that a mail was sent, or never will be.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn finish_mail(&self, id: MailId) -> Result<(), Error> {
        self.write_one(move |tx| {
            Box::pin(async move {
                remove(tx, &id).await?;
                Ok(((), Touched::nothing()))
            })
        })
        .await
    }

    /// Notes when the next turn of a mail is: because it was not sent, or because it is still being sent.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn put_off_mail(&self, id: MailId, next_at: Time) -> Result<(), Error> {
        self.write_one(move |tx| {
            Box::pin(async move {
                sqlx::query!("UPDATE outbox SET next_at = $2 WHERE id = $1", id, next_at).execute(tx).await?;
                Ok(((), Touched::nothing()))
            })
        })
        .await
    }

    /// Deletes mails that nobody sends any more.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn purge_mails(&self, before: Time) -> Result<u64, Error> {
        self.write_one(move |tx| {
            Box::pin(async move {
                let purged = sqlx::query!("DELETE FROM outbox WHERE expires_at < $1", before);
                Ok((purged.execute(tx).await?.rows_affected(), Touched::nothing()))
            })
        })
        .await
    }

    /// How many mails are not sent, and since when the oldest waits.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn waiting_mails(&self) -> Result<(i64, Option<Time>), Error> {
        let waiting = sqlx::query!(r#"SELECT COUNT(*) AS "count!", MIN(created_at) AS "oldest?: Time" FROM outbox"#);
        let waiting = waiting.fetch_one(self.readers()?).await?;
        Ok((waiting.count, waiting.oldest))
    }
}

/// Puts a mail into the outbox, unless that is full.
pub(super) async fn enqueue(tx: &mut Conn, mail: &Asked) -> Result<(), Error> {
    let Asked::Mail(NewMail { id, kind, user_id, email, created_at, expires_at }) = mail else {
        // A commit that changes nothing is quick: time would tell that others ask for mails to this address.
        sqlx::query!("UPDATE probe SET writes = writes + 1").execute(tx).await?;
        return Ok(());
    };
    let (address, key) = (email.display(), email.as_key());
    sqlx::query!(
        "INSERT INTO outbox (id, kind, user_id, email, email_key, created_at, expires_at, attempts, next_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, 0, $6
         WHERE (SELECT COUNT(*) FROM (SELECT 1 FROM outbox LIMIT $8) AS waiting) < $8",
        id,
        kind,
        user_id,
        address,
        key,
        created_at,
        expires_at,
        MOST
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn remove(tx: &mut Conn, id: &MailId) -> Result<(), Error> {
    sqlx::query!("DELETE FROM outbox WHERE id = $1", id).execute(tx).await?;
    Ok(())
}
