use super::{Error, Store};
use crate::model::{Credentials, Email, PasswordHash, Roles, Time, User, UserId, Username};

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// Its address, not proved.
    pub email: Option<Email>,
    /// What its password must match.
    pub password_hash: PasswordHash,
    /// What it may do.
    pub roles: Roles,
    /// Now.
    pub created_at: Time,
}

struct Row {
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
        let row = sqlx::query_as!(
            Row,
            r#"SELECT id AS "id: UserId", username, email, email_verified_at AS "email_verified_at: Time",
                      password_hash AS "password_hash: PasswordHash", roles AS "roles: Roles",
                      created_at AS "created_at: Time", disabled_at AS "disabled_at: Time",
                      last_login_at AS "last_login_at: Time"
               FROM users WHERE username_key = $1 OR (email_key = $2 AND email_verified_at IS NOT NULL)"#,
            username_key,
            email_key
        )
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.map(Credentials::from))
    }

    /// The account with this id.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn user_by_id(&self, id: &UserId) -> Result<Option<User>, Error> {
        let row = sqlx::query_as!(
            User,
            r#"SELECT id AS "id: UserId", username, email, email_verified_at AS "email_verified_at: Time",
                      roles AS "roles: Roles", created_at AS "created_at: Time", disabled_at AS "disabled_at: Time",
                      last_login_at AS "last_login_at: Time"
               FROM users WHERE id = $1"#,
            id
        )
        .fetch_optional(&self.readers)
        .await?;
        Ok(row)
    }

    /// Every account, by name.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let rows = sqlx::query_as!(
            User,
            r#"SELECT id AS "id: UserId", username, email, email_verified_at AS "email_verified_at: Time",
                      roles AS "roles: Roles", created_at AS "created_at: Time", disabled_at AS "disabled_at: Time",
                      last_login_at AS "last_login_at: Time"
               FROM users ORDER BY username_key"#
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows)
    }

    /// Makes an account. None: the name is taken.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn insert_user(&self, new: NewUser) -> Result<Option<User>, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let NewUser { id, username, email, password_hash, roles, created_at } = new;
                let (name, key) = (username.display(), username.as_key());
                let (address, address_key) = (email.as_ref().map(Email::display), email.as_ref().map(Email::as_key));
                // Each column says `!` or `?`: what sqlx infers for RETURNING is wrong both ways.
                let row = sqlx::query_as!(
                    User,
                    r#"INSERT INTO users (id, username, username_key, email, email_key, password_hash, roles, created_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                       ON CONFLICT (username_key) DO NOTHING
                       RETURNING id AS "id!: UserId", username AS "username!", email AS "email?",
                                 email_verified_at AS "email_verified_at?: Time", roles AS "roles!: Roles",
                                 created_at AS "created_at!: Time", disabled_at AS "disabled_at?: Time",
                                 last_login_at AS "last_login_at?: Time""#,
                    id,
                    name,
                    key,
                    address,
                    address_key,
                    password_hash,
                    roles,
                    created_at
                )
                .fetch_optional(tx)
                .await?;
                Ok(row)
            })
        })
        .await
    }

    /// Records a login, and the stronger hash that it made of the same password if there is one.
    ///
    /// False: since `verified` was read, the account was disabled, deleted or given another password.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn record_login(
        &self,
        id: UserId,
        verified: PasswordHash,
        stronger: Option<PasswordHash>,
        now: Time,
    ) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sqlx::query_scalar!(
                    r#"UPDATE users SET last_login_at = $3, password_hash = COALESCE($4, password_hash)
                       WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
                       RETURNING id AS "id!""#,
                    id,
                    verified,
                    now,
                    stronger
                )
                .fetch_optional(tx)
                .await?;
                Ok(row.is_some())
            })
        })
        .await
    }

    /// Gives an account another password. False: there is no such account.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn set_password(&self, id: UserId, hash: PasswordHash) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sqlx::query_scalar!(
                    r#"UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING id AS "id!""#,
                    id,
                    hash
                )
                .fetch_optional(tx)
                .await?;
                Ok(row.is_some())
            })
        })
        .await
    }

    /// Disables an account (the first moment stays), or with None enables it. False: there is no such account.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn set_disabled(&self, id: UserId, since: Option<Time>) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sqlx::query_scalar!(
                    r#"UPDATE users
                       SET disabled_at = CASE WHEN $2 IS NULL THEN NULL ELSE COALESCE(disabled_at, $2) END
                       WHERE id = $1 RETURNING id AS "id!""#,
                    id,
                    since
                )
                .fetch_optional(tx)
                .await?;
                Ok(row.is_some())
            })
        })
        .await
    }

    /// Deletes an account. False: there is none.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn delete_user(&self, id: UserId) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sqlx::query_scalar!(r#"DELETE FROM users WHERE id = $1 RETURNING id AS "id!""#, id)
                    .fetch_optional(tx)
                    .await?;
                Ok(row.is_some())
            })
        })
        .await
    }
}
