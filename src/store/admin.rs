mod search;

pub use search::Found;

use super::{
    Conn, Error, Notice, Store,
    account::by_id,
    audit::append,
    code::{void_all, void_others},
    email::proved_address,
    memory::Touched,
    notice::{Of, erase, tell},
    revocation::cut_off,
    session::{end_all_of, last_issue},
};
use crate::model::{ADMIN, By, Email, Entry, MailKind, Roles, SessionId, Time, User, UserId};

/// What an operator changes of an account. What is not named stays.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Whether it may not log in. Its sessions end.
    pub disabled: Option<bool>,
    /// What it may do.
    pub roles: Option<NewRoles>,
    /// Its address, not proved; or none.
    pub email: Option<Option<Email>>,
    /// Whether there may be no admin left.
    pub last_admin: LastAdmin,
}

impl Changes {
    /// It may not log in, or it may again.
    pub fn disabled(is_disabled: bool) -> Self {
        Self { disabled: Some(is_disabled), ..Self::default() }
    }

    /// Other roles.
    pub fn roles(new: NewRoles) -> Self {
        Self { roles: Some(new), ..Self::default() }
    }

    /// The same, and what becomes of the last admin.
    #[must_use]
    pub fn with(self, last_admin: LastAdmin) -> Self {
        Self { last_admin, ..self }
    }
}

/// Other roles than an account has.
#[derive(Debug, Clone)]
pub enum NewRoles {
    /// These, whatever they were.
    Set(Roles),
    /// These beside those that it has.
    Add(Roles),
    /// Those that it has without these.
    Remove(Roles),
}

impl NewRoles {
    fn of(&self, roles: &Roles) -> Roles {
        match self {
            Self::Set(new) => new.clone(),
            Self::Add(new) => roles.and(new),
            Self::Remove(old) => roles.without(old),
        }
    }
}

/// Whether the last admin that can log in stays one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LastAdmin {
    /// He does.
    #[default]
    Stays,
    /// He may go: the operator insists.
    MayGo,
}

/// What became of changes to an account.
#[derive(Debug, Clone)]
pub enum Changed {
    /// They hold: the account as it is now, and the events, one for each thing that was not so before.
    Done(User, Vec<&'static str>),
    /// There is no such account.
    Gone,
    /// No admin that can log in would be left. Nothing was changed.
    LastAdmin,
    /// Another account has proved the address. Nothing was changed.
    EmailTaken,
}

/// What became of an account that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Done,
    /// There is no such account.
    Gone,
    /// It is the last admin that can log in, and stays.
    LastAdmin,
}

impl Store {
    /// Changes an account: all of it, or nothing. A disabled one keeps its first moment. A proved address that another one
    /// takes the place of is told.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn change_user(
        &self,
        id: UserId,
        changes: Changes,
        notice: Option<Notice>,
        by: By,
        now: Time,
    ) -> Result<Changed, Error> {
        self.write_touching(move |tx| Box::pin(async move { change(tx, id, changes, notice.as_ref(), &by, now).await }))
            .await
    }

    /// Deletes an account and all that belongs to it. Its proved address is told.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn delete_user(
        &self,
        id: UserId,
        last_admin: LastAdmin,
        notice: Option<Notice>,
        entry: Entry,
    ) -> Result<Removal, Error> {
        self.write_touching(move |tx| {
            Box::pin(async move {
                may_still(&mut *tx, entry.admin.as_ref()).await?;
                // Its sessions go with it.
                let last = last_issue(&mut *tx, &id, entry.at).await?;
                let may_go = last_admin == LastAdmin::MayGo;
                // Whether it goes. What belongs to it must be seen to before it is gone.
                let row = sqlx::query_scalar!(
                    r#"UPDATE users SET password_hash = NULL
                       WHERE id = $1
                         AND ($2 OR NOT (' ' || roles || ' ' LIKE '% admin %' AND disabled_at IS NULL
                                         AND password_hash IS NOT NULL)
                              OR EXISTS (SELECT 1 FROM users AS other
                                         WHERE ' ' || other.roles || ' ' LIKE '% admin %' AND other.disabled_at IS NULL
                                           AND other.password_hash IS NOT NULL AND other.id <> $1))
                       RETURNING username AS "username!""#,
                    id,
                    may_go
                );
                let Some(username) = row.fetch_optional(&mut *tx).await? else {
                    let is_there = by_id(tx, &id).await?.is_some();
                    return Ok((if is_there { Removal::LastAdmin } else { Removal::Gone }, Touched::nothing()));
                };
                let ended = end_all_of(&mut *tx, &id, None, entry.at).await?;
                erase(&mut *tx, notice.as_ref(), &id, &username).await?;
                cut_off(&mut *tx, &id, last).await?;
                append(tx, &entry.on(&id)).await?;
                Ok((Removal::Done, Touched::account(id).and(Touched::ended(ended))))
            })
        })
        .await
    }
}

/// Sees to it that an admin may still do what he does to others. He was one when the head of his request came: who held
/// back its body, or waited for a hash, would keep for as long what was taken from him, and could give it to another
/// account.
///
/// # Errors
/// [`Error::Ended`], [`Error::Demoted`]
pub(super) async fn may_still(tx: &mut Conn, admin: Option<&SessionId>) -> Result<(), Error> {
    let Some(session_id) = admin else { return Ok(()) };
    let roles = sqlx::query_scalar!(
        r#"SELECT roles AS "roles: Roles" FROM users
           WHERE disabled_at IS NULL AND id = (SELECT user_id FROM sessions WHERE sessions.id = $1 AND ended_at IS NULL)"#,
        session_id
    );
    match roles.fetch_optional(tx).await? {
        None => Err(Error::Ended),
        Some(roles) if roles.has(ADMIN) => Ok(()),
        Some(_) => Err(Error::Demoted),
    }
}

async fn change(
    tx: &mut Conn,
    id: UserId,
    changes: Changes,
    notice: Option<&Notice>,
    by: &By,
    now: Time,
) -> Result<(Changed, Touched), Error> {
    may_still(&mut *tx, by.admin.as_ref()).await?;
    let left = |why| Ok((why, Touched::nothing()));
    let Some(before) = by_id(&mut *tx, &id).await? else { return left(Changed::Gone) };
    if let Some(Some(email)) = &changes.email
        && is_taken(&mut *tx, &id, email).await?
    {
        return left(Changed::EmailTaken);
    }
    let roles = changes.roles.map_or_else(|| before.roles.clone(), |new| new.of(&before.roles));
    let disabled_at = match changes.disabled {
        Some(true) => before.disabled_at.or(Some(now)),
        Some(false) => None,
        None => before.disabled_at,
    };
    let (mut events, mut touched) = (Vec::new(), Touched::nothing());
    if roles != before.roles || disabled_at != before.disabled_at {
        let may_be = changes.last_admin == LastAdmin::MayGo || (roles.has(ADMIN) && disabled_at.is_none());
        let row = sqlx::query_scalar!(
            r#"UPDATE users SET roles = $2, disabled_at = $3
               WHERE id = $1
                 AND ($4 OR NOT (' ' || roles || ' ' LIKE '% admin %' AND disabled_at IS NULL
                                 AND password_hash IS NOT NULL)
                      OR EXISTS (SELECT 1 FROM users AS other
                                 WHERE ' ' || other.roles || ' ' LIKE '% admin %' AND other.disabled_at IS NULL
                                   AND other.password_hash IS NOT NULL AND other.id <> $1))
               RETURNING id AS "id!""#,
            id,
            roles,
            disabled_at,
            may_be
        );
        if row.fetch_optional(&mut *tx).await?.is_none() {
            return left(Changed::LastAdmin);
        }
    }
    if disabled_at != before.disabled_at {
        let event = if disabled_at.is_some() { "user_disabled" } else { "user_enabled" };
        append(&mut *tx, &by.does(event, now).on(&id)).await?;
        events.push(event);
    }
    if disabled_at.is_some() && before.disabled_at.is_none() {
        touched.add(Touched::ended(end_all_of(&mut *tx, &id, None, now).await?));
        void_all(&mut *tx, &id).await?;
    }
    if roles != before.roles {
        append(&mut *tx, &by.does("roles_set", now).on(&id).about(&roles)).await?;
        events.push("roles_set");
    }
    // Tokens that are out tell of more than the account may do now.
    if roles != before.roles || disabled_at.is_some() && before.disabled_at.is_none() {
        let last = last_issue(&mut *tx, &id, now).await?;
        cut_off(&mut *tx, &id, last).await?;
    }
    if let Some(email) = changes.email
        && set_email(&mut *tx, &id, email.as_ref(), notice, now).await?
    {
        append(&mut *tx, &by.does("email_set", now).on(&id)).await?;
        events.push("email_set");
    }
    let after = by_id(&mut *tx, &id).await?.unwrap_or(before);
    if !events.is_empty() {
        touched.add(Touched::account(id));
    }
    Ok((Changed::Done(after, events), touched))
}

/// Whether another account has proved this address.
pub(super) async fn is_taken(tx: &mut Conn, id: &UserId, email: &Email) -> Result<bool, Error> {
    let key = email.as_key();
    let owners = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "n!" FROM users WHERE email_key = $1 AND email_verified_at IS NOT NULL AND id <> $2"#,
        key,
        id
    );
    Ok(owners.fetch_one(tx).await? > 0)
}

/// Gives an account an address, as a claim, or none; or leaves it the one that it has proved, and ends the change that is
/// under way. What was mailed for another one is void, and a proved one that is no more is told. False: there is nothing
/// to change.
async fn set_email(
    tx: &mut Conn,
    id: &UserId,
    email: Option<&Email>,
    notice: Option<&Notice>,
    now: Time,
) -> Result<bool, Error> {
    let (address, key) = (email.map(Email::display), email.map(Email::as_key));
    let before = proved_address(&mut *tx, id).await?;
    if before.as_ref().is_some_and(|before| Some(before.key.as_str()) == key) {
        let row = sqlx::query_scalar!(
            r#"UPDATE users
               SET claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL, claim_changed_at = NULL
               WHERE id = $1 AND claimed_email_key IS NOT NULL
               RETURNING id AS "id!""#,
            id
        );
        if row.fetch_optional(&mut *tx).await?.is_none() {
            return Ok(false);
        }
        void_all(tx, id).await?;
        return Ok(true);
    }
    // A claim that it has already becomes the newest, and the operator's: what was mailed for it counts.
    let row = sqlx::query_scalar!(
        r#"UPDATE users
           SET email = NULL, email_key = NULL, email_verified_at = NULL, claimed_email = $2, claimed_email_key = $3,
               claimed_at = (SELECT CASE WHEN CAST($3 AS TEXT) IS NULL THEN NULL
                                         WHEN MAX(claims.claimed_at) >= $4 THEN MAX(claims.claimed_at) + 1 ELSE $4 END
                             FROM users AS claims WHERE claims.claimed_email_key = $3),
               claim_changed_at = NULL
           WHERE id = $1
             AND (COALESCE(email_key, claimed_email_key, '') <> COALESCE($3, '') OR claim_changed_at IS NOT NULL
                  OR EXISTS (SELECT 1 FROM users AS later
                             WHERE later.claimed_email_key = $3 AND later.claimed_at > users.claimed_at))
           RETURNING id AS "id!""#,
        id,
        address,
        key,
        now
    );
    if row.fetch_optional(&mut *tx).await?.is_none() {
        return Ok(false);
    }
    void_others(&mut *tx, id, key).await?;
    if let Some(before) = &before {
        tell(tx, notice, MailKind::EmailChanged, Of::Living(id), before).await?;
    }
    Ok(true)
}
