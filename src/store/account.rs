use std::sync::Arc;

use super::{
    Asked, Conn, Error, Notice, Store,
    admin::{is_taken, may_still},
    audit::append,
    code::void_for_new_password,
    memory::Touched,
    notice::{erase, tell_owner},
    outbox::enqueue,
    revocation::cut_off,
    session::{end_all_of, last_issue},
};
use crate::model::{
    ADMIN, Account, Email, Entry, MailKind, PasswordHash, Roles, SessionId, Time, User, UserId, Username,
};

/// What became of an account that was to be made.
#[derive(Debug, Clone)]
pub enum Insertion {
    /// It is there.
    Done(User),
    /// Another one has its name. Nothing was made.
    UsernameTaken,
    /// Another one has proved its address. Nothing was made.
    EmailTaken,
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// The address that it claims.
    pub email: Option<Email>,
    /// Whether it is told that another account has proved that: to operators alone.
    pub tells_of_email: bool,
    /// What is to be mailed to it.
    pub mail: Option<Asked>,
    /// What its password must match. None: it cannot log in yet.
    pub password_hash: Option<PasswordHash>,
    /// What it may do.
    pub roles: Roles,
    /// Now.
    pub created_at: Time,
}

impl Store {
    /// The account with this id, read.
    pub(super) async fn read_account(&self, id: &UserId) -> Result<Option<Arc<Account>>, Error> {
        let mut conn = self.readers()?.acquire().await?;
        Ok(by_id(&mut conn, id).await?.map(|user| Arc::new(user.into())))
    }

    /// Makes an account, and has mail sent to the address that it claims.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn insert_user(&self, new: NewUser, entry: Entry) -> Result<Insertion, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                may_still(&mut *tx, entry.admin.as_ref()).await?;
                let NewUser { id, username, email, tells_of_email, mail, password_hash, roles, created_at } = new;
                if tells_of_email
                    && let Some(email) = &email
                    && is_taken(&mut *tx, &id, email).await?
                {
                    return Ok((Insertion::EmailTaken, Touched::nothing()));
                }
                let (name, key) = (username.display(), username.as_key());
                let (address, address_key) = (email.as_ref().map(Email::display), email.as_ref().map(Email::as_key));
                // Each column says `!` or `?`: what sqlx infers for RETURNING is wrong both ways.
                let row = sqlx::query_as!(
                    User,
                    r#"INSERT INTO users (id, username, username_key, claimed_email, claimed_email_key, claimed_at,
                                          password_hash, roles, created_at)
                       VALUES ($1, $2, $3, $4, $5,
                               (SELECT CASE WHEN CAST($5 AS TEXT) IS NULL THEN NULL
                                            WHEN MAX(claimed_at) >= $8 THEN MAX(claimed_at) + 1 ELSE $8 END
                                FROM users WHERE claimed_email_key = $5),
                               $6, $7, $8)
                       ON CONFLICT (username_key) DO NOTHING
                       RETURNING id AS "id!: UserId", username AS "username!", claimed_email AS "email?",
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
                .fetch_optional(&mut *tx)
                .await?;
                let Some(user) = row else { return Ok((Insertion::UsernameTaken, Touched::nothing())) };
                append(&mut *tx, &entry.on(&user.id)).await?;
                if let Some(mail) = &mail {
                    enqueue(tx, mail).await?;
                }
                // A new one, which nobody remembers.
                Ok((Insertion::Done(user), Touched::nothing()))
            })
        })
        .await
    }

    /// Gives an account another password and ends its sessions. The owner of a proved address is told. False: there is no
    /// such account.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn set_password(
        &self,
        id: UserId,
        hash: PasswordHash,
        notice: Option<Notice>,
        entry: Entry,
    ) -> Result<bool, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let row = sqlx::query_scalar!(
                    r#"UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING id AS "id!""#,
                    id,
                    hash
                );
                if row.fetch_optional(&mut *tx).await?.is_none() {
                    return Ok((false, Touched::nothing()));
                }
                void_for_new_password(&mut *tx, &id).await?;
                tell_owner(&mut *tx, notice.as_ref(), MailKind::PasswordChanged, &id).await?;
                let ended = end_all_of(&mut *tx, &id, None, entry.at).await?;
                append(tx, &entry.on(&id)).await?;
                Ok((true, Touched::account(id).and(Touched::ended(ended))))
            })
        })
        .await
    }

    /// Gives an account another password in place of the verified one, and ends its sessions but for this one. The owner
    /// of a proved address is told.
    ///
    /// False: since they were read, the password was changed, or the account or this session ended.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn change_password(
        &self,
        id: UserId,
        verified: PasswordHash,
        hash: PasswordHash,
        session_id: SessionId,
        notice: Option<Notice>,
        entry: Entry,
    ) -> Result<bool, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let row = sqlx::query_scalar!(
                    r#"UPDATE users SET password_hash = $3
                       WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
                         AND EXISTS (SELECT 1 FROM sessions WHERE sessions.id = $4 AND ended_at IS NULL)
                       RETURNING id AS "id!""#,
                    id,
                    verified,
                    hash,
                    session_id
                );
                if row.fetch_optional(&mut *tx).await?.is_none() {
                    return Ok((false, Touched::nothing()));
                }
                void_for_new_password(&mut *tx, &id).await?;
                tell_owner(&mut *tx, notice.as_ref(), MailKind::PasswordChanged, &id).await?;
                let ended = end_all_of(&mut *tx, &id, Some(&session_id), entry.at).await?;
                append(tx, &entry.on(&id).about(&session_id)).await?;
                Ok((true, Touched::account(id).and(Touched::ended(ended))))
            })
        })
        .await
    }

    /// Deletes an account whose password was verified in this session, unless it is the last admin that can log in. Its
    /// proved address is told.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn delete_own(
        &self,
        id: UserId,
        verified: PasswordHash,
        session_id: SessionId,
        notice: Option<Notice>,
        entry: Entry,
    ) -> Result<Deletion, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                let left = |deletion| Ok((deletion, Touched::nothing()));
                let Some(user) = by_id(&mut *tx, &id).await? else { return left(Deletion::Changed) };
                if user.roles.has(ADMIN) && !has_other_admin(&mut *tx, &id).await? {
                    return left(Deletion::LastAdmin);
                }
                // Its sessions go with it.
                let last = last_issue(&mut *tx, &id, entry.at).await?;
                // Whether it goes. What belongs to it must be seen to before it is gone.
                let row = sqlx::query_scalar!(
                    r#"UPDATE users SET password_hash = NULL
                       WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
                         AND EXISTS (SELECT 1 FROM sessions WHERE sessions.id = $3 AND ended_at IS NULL)
                       RETURNING id AS "id!""#,
                    id,
                    verified,
                    session_id
                );
                if row.fetch_optional(&mut *tx).await?.is_none() {
                    return left(Deletion::Changed);
                }
                let ended = end_all_of(&mut *tx, &id, None, entry.at).await?;
                erase(&mut *tx, notice.as_ref(), &id, &user.username).await?;
                cut_off(&mut *tx, &id, last).await?;
                append(tx, &entry.on(&id)).await?;
                Ok((Deletion::Done, Touched::account(id).and(Touched::ended(ended))))
            })
        })
        .await
    }
}

/// What became of an account whose owner deleted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Done,
    /// It is the last admin that can log in, and stays.
    LastAdmin,
    /// Since its password was verified, that was changed, or the session ended.
    Changed,
}

/// Whether another admin can log in.
async fn has_other_admin(tx: &mut Conn, id: &UserId) -> Result<bool, Error> {
    let others = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "n!" FROM users AS other
           WHERE ' ' || other.roles || ' ' LIKE '% admin %' AND other.disabled_at IS NULL
             AND other.password_hash IS NOT NULL AND other.id <> $1"#,
        id
    );
    Ok(others.fetch_one(tx).await? > 0)
}

/// The account with this id.
pub(super) async fn by_id(tx: &mut Conn, id: &UserId) -> Result<Option<User>, Error> {
    let user = sqlx::query_as!(
        User,
        r#"SELECT id AS "id: UserId", username, COALESCE(email, claimed_email) AS "email?: String",
                  email_verified_at AS "email_verified_at: Time",
                  roles AS "roles: Roles", created_at AS "created_at: Time", disabled_at AS "disabled_at: Time",
                  last_login_at AS "last_login_at: Time"
           FROM users WHERE id = $1"#,
        id
    );
    Ok(user.fetch_optional(tx).await?)
}
