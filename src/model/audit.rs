use super::{Client, Principal, SessionId, Time, UserId};

/// Who does something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct By {
    /// The account. None: the operator at the command line, the server by itself, or who has not logged in.
    pub actor: Option<UserId>,
    /// From where. None: from this machine.
    pub client: Option<Client>,
    /// The session of an admin who does it to others. It is done only if that lasts when it is written, and he is one.
    pub admin: Option<SessionId>,
}

impl By {
    /// The operator at the command line, or the server by itself.
    pub fn operator() -> Self {
        Self::default()
    }

    /// Somebody who has not logged in.
    pub fn client(client: Client) -> Self {
        Self { client: Some(client), ..Self::default() }
    }

    /// The owner of an account.
    pub fn user(id: UserId, client: Client) -> Self {
        Self { actor: Some(id), client: Some(client), admin: None }
    }

    /// Who it is, for the log.
    pub fn name(&self) -> Option<&str> {
        self.actor.as_ref().map(UserId::as_str)
    }

    /// What he does, for the audit log.
    pub fn does(&self, event: &'static str, at: Time) -> Entry {
        Entry {
            event,
            at,
            actor: self.actor.clone(),
            target: None,
            client: self.client,
            admin: self.admin.clone(),
            outcome: DONE,
            count: 1,
            detail: None,
        }
    }
}

impl Principal {
    /// Who makes this request.
    pub fn by(&self, client: Client) -> By {
        By::user(self.user().id.clone(), client)
    }

    /// The same, for what only admins may do. The body of a request may come long after its head was judged.
    pub fn as_admin(&self, client: Client) -> By {
        By { admin: Some(self.session_id().clone()), ..self.by(client) }
    }
}

/// The outcome of what was done.
pub const DONE: &str = "done";

/// A row of the audit log, to be written with what it tells of. Ids and an address; never a name, nor anything that
/// somebody typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As in the log.
    pub event: &'static str,
    /// When.
    pub at: Time,
    /// The account that did it.
    pub actor: Option<UserId>,
    /// What it was done to: an account or a key, by its id.
    pub target: Option<String>,
    /// From where.
    pub client: Option<Client>,
    /// As in [`By`].
    pub admin: Option<SessionId>,
    /// [`DONE`], or why not.
    pub outcome: &'static str,
    /// How many sessions ended, or refusals it stands for.
    pub count: i64,
    /// A session's id, or roles.
    pub detail: Option<String>,
}

impl Entry {
    /// The same, done to this.
    #[must_use]
    pub fn on(self, target: &impl ToString) -> Self {
        Self { target: Some(target.to_string()), ..self }
    }

    /// The same, about this session, or with these roles.
    #[must_use]
    pub fn about(self, detail: &impl ToString) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }

    /// The same, so many times.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self { count: i64::try_from(count).unwrap_or(i64::MAX), ..self }
    }

    /// The same, refused for this reason.
    #[must_use]
    pub fn refused(self, reason: &'static str) -> Self {
        Self { outcome: reason, ..self }
    }
}

/// A row of the audit log, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Rises from row to row.
    pub id: i64,
    /// When.
    pub at: Time,
    /// As in the log.
    pub event: String,
    /// The account that did it.
    pub actor: Option<UserId>,
    /// What it was done to.
    pub target: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// [`DONE`], or why not.
    pub outcome: String,
    /// How many sessions ended, or refusals it stands for.
    pub count: i64,
    /// A session's id, or roles.
    pub detail: Option<String>,
}
