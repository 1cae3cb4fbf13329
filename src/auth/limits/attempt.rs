use super::{
    Tables,
    failures::Counted,
    mark::{Mark, Subject},
};
use crate::{
    error::Error,
    model::{Client, Email, Tick, Time, User, UserId, Username},
};

/// An attempt at a password. Counted from its beginning; one that is dropped, because the client hung up or waited too
/// long, stays counted.
#[must_use]
pub struct Attempt<'a>(pub(super) Option<Begun<'a>>);

pub(super) struct Begun<'a> {
    tables: &'a Tables,
    tick: u32,
    now: Time,
    client: Client,
    counted: Vec<Counted>,
    /// Whether the account has logged in from here.
    is_known: bool,
}

impl<'a> Begun<'a> {
    pub(super) fn new(tables: &'a Tables, tick: Tick, now: Time, client: Client) -> Self {
        Self { tables, tick: tables.now(tick), now, client, counted: Vec::with_capacity(2), is_known: false }
    }

    /// # Errors
    /// So many ticks until the next.
    pub(super) fn count(&mut self, mark: Mark) -> Result<(), u32> {
        self.counted.push(self.tables.failures.count(self.tick, mark)?);
        Ok(())
    }

    /// What comes from where the account has logged in is counted by `here`, and what does not by `anywhere`: an attack
    /// from elsewhere does not delay the owner.
    pub(super) fn at(&mut self, anywhere: &Subject, here: &Subject) -> Mark {
        let here = self.tables.marker.mark(here);
        self.is_known = self.tables.known.has(self.now, here);
        if self.is_known { here } else { self.tables.marker.mark(anywhere) }
    }

    fn give_back(&self) {
        for counted in &self.counted {
            self.tables.failures.give_back(*counted);
        }
    }

    fn clear(&self, subject: &Subject) {
        self.tables.failures.clear(self.tick, self.tables.marker.mark(subject));
    }
}

impl Attempt<'_> {
    /// Counts it for the account that has the name, too, if there is one: its name and its address have one count
    /// between them. False: there were too many. Then no password is judged, and the answer is that to a wrong one:
    /// whoever used up a name's count, and was told 429 at an address, would know whose that is.
    pub fn identify(&mut self, name: &str, id: Option<&UserId>) -> bool {
        let Some(begun) = &mut self.0 else { return true };
        let account = id.map_or(name, UserId::as_str);
        let at = Subject::AccountAt(account, begun.client.address.into());
        let mark = begun.at(&Subject::Account(account), &at);
        if id.is_none() {
            // As long as it takes to count. It is not counted: names that nobody has would fill the table twice as
            // fast.
            std::hint::black_box(begun.tables.failures.is_open(begun.tick, mark));
            return true;
        }
        begun.count(mark).is_ok()
    }

    /// Whether its owner should be told of it, if its password is right: it comes after many failures on the account,
    /// from where that has not logged in.
    pub fn is_doubtful(&self) -> bool {
        let Some(begun) = &self.0 else { return false };
        !begun.is_known && begun.counted.last().is_some_and(|counted| counted.is_late)
    }

    /// The password of a login was right: nothing is counted for the account any more, and its address is known.
    pub fn succeeded(self, user: &User) {
        let Some(begun) = self.0 else { return };
        let (id, network) = (user.id.as_str(), begun.client.address.into());
        let names = names(user);
        begun.give_back();
        for subject in [Subject::Account(id), Subject::AccountAt(id, network)] {
            begun.clear(&subject);
        }
        for name in &names {
            begun.clear(&Subject::Name(name));
            begun.clear(&Subject::NameAt(name, network));
        }
        begun.tables.note(begun.now, &user.id, names.iter().map(String::as_str), network);
    }

    /// The password of a caller was right: his address is known as after a login.
    pub fn passed(self, user: &User) {
        let Some(begun) = self.0 else { return };
        begun.give_back();
        for counted in &begun.counted {
            begun.tables.failures.clear(begun.tick, counted.mark);
        }
        begun.tables.note(begun.now, &user.id, names(user).iter().map(String::as_str), begun.client.address.into());
    }

    /// It was refused. What was answered by a look at the password stays counted; by anything else nobody learnt what
    /// he wanted to know, and it is given back: an overloaded server slows nobody down afterwards.
    pub fn failed(self, why: &Error) {
        let Some(begun) = self.0 else { return };
        if !matches!(why, Error::InvalidCredentials | Error::WrongPassword) {
            begun.give_back();
        }
    }
}

/// The names by which an account can be found, as they are compared.
pub(super) fn names(user: &User) -> Vec<String> {
    let email = user.email.as_deref().filter(|_| user.email_verified_at.is_some());
    let email = email.and_then(|email| Email::parse(email).ok()).map(|email| email.as_key().to_owned());
    [Username::key(&user.username).ok(), email].into_iter().flatten().collect()
}
