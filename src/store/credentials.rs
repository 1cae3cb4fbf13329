use super::{Error, Store};
use crate::model::{Credentials, PasswordHash, Roles, Time, User, UserId};

pub(super) struct Row {
    pub(super) id: UserId,
    pub(super) username: String,
    pub(super) email: Option<String>,
    pub(super) email_verified_at: Option<Time>,
    pub(super) password_hash: Option<PasswordHash>,
    pub(super) roles: Roles,
    pub(super) created_at: Time,
    pub(super) disabled_at: Option<Time>,
    pub(super) last_login_at: Option<Time>,
}

/// An account, with the name or the address by which it was looked for. None has an empty one.
struct Next {
    key: String,
    id: UserId,
    username: String,
    email: Option<String>,
    email_verified_at: Option<Time>,
    password_hash: Option<PasswordHash>,
    roles: Roles,
    created_at: Time,
    disabled_at: Option<Time>,
    last_login_at: Option<Time>,
}

impl From<Next> for Row {
    fn from(next: Next) -> Self {
        Self {
            id: next.id,
            username: next.username,
            email: next.email,
            email_verified_at: next.email_verified_at,
            password_hash: next.password_hash,
            roles: next.roles,
            created_at: next.created_at,
            disabled_at: next.disabled_at,
            last_login_at: next.last_login_at,
        }
    }
}

impl From<Row> for Credentials {
    fn from(row: Row) -> Self {
        Self {
            user: User {
                id: row.id,
                username: row.username,
                email: row.email,
                email_verified_at: row.email_verified_at,
                roles: row.roles,
                created_at: row.created_at,
                disabled_at: row.disabled_at,
                last_login_at: row.last_login_at,
            },
            password_hash: row.password_hash,
        }
    }
}

impl Store {
    /// The account that has this canonical name, or has proved this canonical address, and its hash.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn credentials(
        &self,
        username_key: Option<&str>,
        email_key: Option<&str>,
    ) -> Result<Option<Credentials>, Error> {
        let next = match email_key {
            Some(key) => self.next_address(key).await?,
            None => self.next_name(username_key.unwrap_or_default()).await?,
        };
        let wanted = email_key.or(username_key);
        Ok(next.filter(|next| wanted == Some(next.key.as_str())).map(|next| Row::from(next).into()))
    }

    /// The account of this name, or else of the one that comes after it: the work is the same whether it is there, else
    /// time would tell. After the last one, a row like the others.
    async fn next_name(&self, username_key: &str) -> Result<Option<Next>, Error> {
        let row = sqlx::query_as!(
            Next,
            r#"SELECT username_key AS "key!: String", id AS "id!: UserId", username AS "username!",
                      COALESCE(email, claimed_email) AS "email?: String",
                      email_verified_at AS "email_verified_at?: Time",
                      password_hash AS "password_hash?: PasswordHash", roles AS "roles!: Roles",
                      created_at AS "created_at!: Time", disabled_at AS "disabled_at?: Time",
                      last_login_at AS "last_login_at?: Time"
               FROM users WHERE username_key = (SELECT MIN(username_key) FROM users WHERE username_key >= $1)
               UNION ALL
               SELECT '', '00000000-0000-0000-0000-000000000000', 'somebody', 'somebody@example.org', 0,
                      '$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
                      'user', 0, NULL, 0
               ORDER BY 1 DESC LIMIT 1"#,
            username_key
        );
        Ok(row.fetch_optional(self.readers()?).await?)
    }

    /// The same of a proved address.
    async fn next_address(&self, email_key: &str) -> Result<Option<Next>, Error> {
        let row = sqlx::query_as!(
            Next,
            r#"SELECT email_key AS "key!: String", id AS "id!: UserId", username AS "username!",
                      email AS "email?: String", email_verified_at AS "email_verified_at?: Time",
                      password_hash AS "password_hash?: PasswordHash", roles AS "roles!: Roles",
                      created_at AS "created_at!: Time", disabled_at AS "disabled_at?: Time",
                      last_login_at AS "last_login_at?: Time"
               FROM users
               WHERE email_verified_at IS NOT NULL
                 AND email_key = (SELECT MIN(email_key) FROM users
                                  WHERE email_key >= $1 AND email_verified_at IS NOT NULL)
               UNION ALL
               SELECT '', '00000000-0000-0000-0000-000000000000', 'somebody', 'somebody@example.org', 0,
                      '$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
                      'user', 0, NULL, 0
               ORDER BY 1 DESC LIMIT 1"#,
            email_key
        );
        Ok(row.fetch_optional(self.readers()?).await?)
    }

    /// The account with this id, and its hash.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn credentials_by_id(&self, id: &UserId) -> Result<Option<Credentials>, Error> {
        let row = sqlx::query_as!(
            Row,
            r#"SELECT id AS "id: UserId", username, COALESCE(email, claimed_email) AS "email?: String",
                      email_verified_at AS "email_verified_at: Time",
                      password_hash AS "password_hash: PasswordHash", roles AS "roles: Roles",
                      created_at AS "created_at: Time", disabled_at AS "disabled_at: Time",
                      last_login_at AS "last_login_at: Time"
               FROM users WHERE id = $1"#,
            id
        )
        .fetch_optional(self.readers()?)
        .await?;
        Ok(row.map(Credentials::from))
    }
}
