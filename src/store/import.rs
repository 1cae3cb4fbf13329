use super::{Conn, Error, Store, audit::append, credentials::Row, memory::Touched};
use crate::model::{Credentials, Email, Entry, PasswordHash, Roles, Time, UserId, Username};

/// An account that comes from somewhere else.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// Its id here.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// Its address.
    pub email: Option<Email>,
    /// When the address was proved, or taken for proved.
    pub email_verified_at: Option<Time>,
    /// What its password must match.
    pub password_hash: Option<PasswordHash>,
    /// What it may do.
    pub roles: Roles,
    /// When it was made.
    pub created_at: Time,
    /// Since when it may not log in.
    pub disabled_at: Option<Time>,
}

/// What became of it, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is there.
    Added,
    /// There is an account of this name, which stays as it is.
    NameTaken,
    /// Another account has proved its address.
    AddressTaken,
}

impl Store {
    /// Makes accounts in one transaction, each if its name and its proved address are free, and says what became of
    /// each. All transactions of an import share one row of the audit log, which counts the accounts: `row` is what the
    /// one before answered.
    ///
    /// # Errors
    /// [`Error`]: none was made.
    pub async fn import(
        &self,
        newcomers: Vec<Newcomer>,
        entry: Entry,
        row: Option<i64>,
    ) -> Result<(Vec<Arrival>, Option<i64>), Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let mut arrivals = Vec::with_capacity(newcomers.len());
                for newcomer in &newcomers {
                    arrivals.push(if insert(&mut *tx, newcomer).await? {
                        Arrival::Added
                    } else if has_name(&mut *tx, newcomer.username.as_key()).await? {
                        Arrival::NameTaken
                    } else {
                        Arrival::AddressTaken
                    });
                }
                let added = arrivals.iter().filter(|arrival| **arrival == Arrival::Added).count();
                let row = if added > 0 { Some(note(tx, entry.times(added), row).await?) } else { row };
                // New ones, which nobody remembers.
                Ok(((arrivals, row), Touched::nothing()))
            })
        })
        .await
    }

    /// What would become of them, each by itself.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn foresee(&self, newcomers: &[Newcomer]) -> Result<Vec<Arrival>, Error> {
        let mut conn = self.readers()?.acquire().await?;
        let mut arrivals = Vec::with_capacity(newcomers.len());
        for newcomer in newcomers {
            let proved = newcomer.email.as_ref().filter(|_| newcomer.email_verified_at.is_some());
            let is_taken = match proved {
                Some(email) => has_proved(&mut conn, email.as_key()).await?,
                None => false,
            };
            arrivals.push(match (has_name(&mut conn, newcomer.username.as_key()).await?, is_taken) {
                (true, _) => Arrival::NameTaken,
                (false, true) => Arrival::AddressTaken,
                (false, false) => Arrival::Added,
            });
        }
        Ok(arrivals)
    }

    /// The accounts whose canonical names come after this one, in their order, and their hashes; at most so many.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn credentials_after(&self, key: &str, most: i64) -> Result<Vec<Credentials>, Error> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT id AS "id: UserId", username, COALESCE(email, claimed_email) AS "email?: String",
                      email_verified_at AS "email_verified_at: Time",
                      password_hash AS "password_hash: PasswordHash", roles AS "roles: Roles",
                      created_at AS "created_at: Time", disabled_at AS "disabled_at: Time",
                      last_login_at AS "last_login_at: Time"
               FROM users WHERE username_key > $1 ORDER BY username_key LIMIT $2"#,
            key,
            most
        );
        Ok(rows.fetch_all(self.readers()?).await?.into_iter().map(Credentials::from).collect())
    }
}

/// Makes it. False: its name or its proved address is taken. An address that it has not proved is a claim of the day it was
/// made; those that others have to an address that it has proved give them nothing, and stay.
async fn insert(tx: &mut Conn, newcomer: &Newcomer) -> Result<bool, Error> {
    let Newcomer { id, username, email, email_verified_at, password_hash, roles, created_at, disabled_at } = newcomer;
    let (name, key) = (username.display(), username.as_key());
    let (address, address_key) = (email.as_ref().map(Email::display), email.as_ref().map(Email::as_key));
    let done = sqlx::query!(
        "INSERT INTO users (id, username, username_key, email, email_key, email_verified_at, claimed_email,
                            claimed_email_key, claimed_at, password_hash, roles, created_at, disabled_at)
         VALUES ($1, $2, $3, CASE WHEN CAST($6 AS BIGINT) IS NOT NULL THEN $4 END,
                 CASE WHEN CAST($6 AS BIGINT) IS NOT NULL THEN $5 END, $6,
                 CASE WHEN CAST($6 AS BIGINT) IS NULL THEN $4 END, CASE WHEN CAST($6 AS BIGINT) IS NULL THEN $5 END,
                 CASE WHEN CAST($6 AS BIGINT) IS NULL AND CAST($5 AS TEXT) IS NOT NULL THEN CAST($9 AS BIGINT) END,
                 $7, $8, $9, $10)
         ON CONFLICT DO NOTHING",
        id,
        name,
        key,
        address,
        address_key,
        email_verified_at,
        password_hash,
        roles,
        created_at,
        disabled_at
    );
    Ok(done.execute(tx).await?.rows_affected() > 0)
}

/// Counts accounts in a row of the audit log, and answers which.
async fn note(tx: &mut Conn, entry: Entry, row: Option<i64>) -> Result<i64, Error> {
    if let Some(row) = row {
        let added = sqlx::query!("UPDATE audit SET count = count + $2 WHERE id = $1", row, entry.count);
        added.execute(tx).await?;
        return Ok(row);
    }
    append(&mut *tx, &entry).await?;
    Ok(sqlx::query_scalar!(r#"SELECT MAX(id) AS "id!: i64" FROM audit"#).fetch_one(tx).await?)
}

async fn has_name(conn: &mut Conn, key: &str) -> Result<bool, Error> {
    let named = sqlx::query_scalar!(r#"SELECT COUNT(*) AS "n!" FROM users WHERE username_key = $1"#, key);
    Ok(named.fetch_one(conn).await? > 0)
}

async fn has_proved(conn: &mut Conn, key: &str) -> Result<bool, Error> {
    let proved = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "n!" FROM users WHERE email_key = $1 AND email_verified_at IS NOT NULL"#,
        key
    );
    Ok(proved.fetch_one(conn).await? > 0)
}
