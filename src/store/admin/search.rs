//! Accounts that are looked for.

use crate::{
    model::{Roles, Time, User, UserId},
    store::{Error, Store},
};

/// An account that was searched for, and what it was found by: its canonical name or address.
#[derive(Debug, Clone)]
pub struct Found {
    /// The account.
    pub user: User,
    /// The name or the address.
    pub key: String,
}

struct Row {
    id: UserId,
    username: String,
    email: Option<String>,
    email_verified_at: Option<Time>,
    roles: Roles,
    created_at: Time,
    disabled_at: Option<Time>,
    last_login_at: Option<Time>,
    key: String,
}

impl From<Row> for Found {
    fn from(row: Row) -> Self {
        let user = User {
            id: row.id,
            username: row.username,
            email: row.email,
            email_verified_at: row.email_verified_at,
            roles: row.roles,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
            last_login_at: row.last_login_at,
        };
        Self { user, key: row.key }
    }
}

/// What stands after every key of accounts that begins with a prefix.
const END: char = '\u{10ffff}';

/// Comes before every character that a key may have.
const NEXT: char = '\u{1}';

impl Store {
    /// Accounts whose canonical name begins with this, by name, after one.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn users_named(&self, prefix: &str, after: Option<&str>, at_most: i64) -> Result<Vec<Found>, Error> {
        // One bound, so that it is the one of the index.
        let from = after.map_or_else(|| prefix.to_owned(), |after| format!("{after}{NEXT}"));
        let end = format!("{prefix}{END}");
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT id AS "id: UserId", username, COALESCE(email, claimed_email) AS "email?: String",
                      email_verified_at AS "email_verified_at: Time",
                      roles AS "roles: Roles", created_at AS "created_at: Time", disabled_at AS "disabled_at: Time",
                      last_login_at AS "last_login_at: Time", username_key AS key
               FROM users WHERE username_key >= $1 AND username_key < $2 ORDER BY username_key LIMIT $3"#,
            from,
            end,
            at_most
        )
        .fetch_all(self.readers()?)
        .await?;
        Ok(rows.into_iter().map(Found::from).collect())
    }

    /// Accounts whose canonical address begins with this and whose name does not begin with that, by address, after
    /// one.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn users_addressed(
        &self,
        prefix: &str,
        not_named: Option<&str>,
        after: Option<(&str, &UserId)>,
        at_most: i64,
    ) -> Result<Vec<Found>, Error> {
        let nobody = UserId::from_text(String::new());
        let (from, after) = after.unwrap_or((prefix, &nobody));
        let end = format!("{prefix}{END}");
        let not_to = not_named.map(|prefix| format!("{prefix}{END}"));
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT id AS "id: UserId", username, COALESCE(email, claimed_email) AS "email?: String",
                      email_verified_at AS "email_verified_at: Time",
                      roles AS "roles: Roles", created_at AS "created_at: Time", disabled_at AS "disabled_at: Time",
                      last_login_at AS "last_login_at: Time", COALESCE(email_key, claimed_email_key) AS "key!: String"
               FROM users
               WHERE COALESCE(email_key, claimed_email_key) IS NOT NULL
                 AND COALESCE(email_key, claimed_email_key) >= $1
                 AND (COALESCE(email_key, claimed_email_key), id) > ($1, $2)
                 AND COALESCE(email_key, claimed_email_key) < $3
                 AND (CAST($4 AS TEXT) IS NULL OR username_key < $4 OR username_key >= $5)
               ORDER BY COALESCE(email_key, claimed_email_key), id LIMIT $6"#,
            from,
            after,
            end,
            not_named,
            not_to,
            at_most
        )
        .fetch_all(self.readers()?)
        .await?;
        Ok(rows.into_iter().map(Found::from).collect())
    }
}
