//! How often something may be tried: in memory of fixed size, before anything is looked up, and for names that do not
//! exist as for those that do.
//!
//! An address is limited by what it asks for, an account by the failures on it, wherever they come from. The tables are
//! sketches under a random key: no flood of names or addresses makes one forget what was counted. At worst somebody is
//! slowed whose cells others share.

mod attempt;
mod buckets;
mod failures;
mod known;
mod mark;

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

pub use attempt::Attempt;
use attempt::{Begun, names};
use buckets::{Buckets, Rate, SECOND};
use failures::Failures;
use known::{Known, REMEMBERED};
use mark::{Marker, Network, Site, Subject};

use crate::{
    app::App,
    error::Error,
    model::{Client, MailKind, Tick, Time, User, UserId},
};

const MINUTE: u32 = 60 * SECOND;

/// Logins and other checks of a password, from an address: 10, then 10 a minute.
const PASSWORDS: Rate = Rate { burst: 10, every: MINUTE / 10 };

/// Registrations from an address: 5, then 10 an hour.
const REGISTRATIONS: Rate = Rate { burst: 5, every: 6 * MINUTE };

/// Refreshes from an address: 150 in 5 minutes.
const REFRESHES: Rate = Rate { burst: 150, every: 2 * SECOND };

/// Mailed codes and links that come back from an address: 10 a minute.
const CODES: Rate = Rate { burst: 10, every: MINUTE / 10 };

/// Mails that are asked for from an address: 10, then 30 an hour.
const MAILS_FROM: Rate = Rate { burst: 10, every: 2 * MINUTE };

/// Mails to an address: 3, then one an hour.
const MAILS_TO: Rate = Rate { burst: 3, every: 60 * MINUTE };

/// Mails that are asked for, by whomever and to whomever: 3,600, then one a second. Each costs something, and whoever
/// commands many addresses can ask for many. A day of it is 86,400 mails: more than a million accounts ask for, fewer
/// than ruin whoever pays for them.
const MAILS: Rate = Rate { burst: 3_600, every: SECOND };

/// All the networks of an IPv6 site have so many times what one has: whoever has a /48 has 65,536 of them.
const SITE: u32 = 16;

/// How many sessions are read at a start, and how many at once.
const RECALLED: usize = 200_000;
const PAGE: i64 = 500;

/// What is limited. With `RATE_LIMITS=off`, nothing.
pub struct Limits(Option<Box<Tables>>);

/// 5 tables of 4 MiB, one of 8, one of 16, and what is known: 76 MiB at most, of which no flood fills more than 44.
struct Tables {
    marker: Marker,
    begun: Tick,
    passwords: Buckets,
    registrations: Buckets,
    refreshes: Buckets,
    codes: Buckets,
    mails_from: Buckets,
    mails_to: Buckets,
    mails: Buckets,
    /// Until when it is not said again that they are used up.
    told_until: AtomicU32,
    failures: Failures,
    known: Known,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Limits(on)" } else { "Limits(off)" })
    }
}

impl Limits {
    /// From the tick `begun` on.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no random bytes.
    pub fn new(are_on: bool, begun: Tick) -> Result<Self, Error> {
        if !are_on {
            return Ok(Self(None));
        }
        Ok(Self(Some(Box::new(Tables {
            marker: Marker::new()?,
            begun,
            passwords: Buckets::new(PASSWORDS, 19),
            registrations: Buckets::new(REGISTRATIONS, 19),
            refreshes: Buckets::new(REFRESHES, 19),
            codes: Buckets::new(CODES, 19),
            mails_from: Buckets::new(MAILS_FROM, 19),
            mails_to: Buckets::new(MAILS_TO, 20),
            // One is enough.
            mails: Buckets::new(MAILS, 0),
            told_until: AtomicU32::new(0),
            failures: Failures::new(),
            known: Known::new(),
        }))))
    }

    /// Whether one more account may be made from this address.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`]
    pub fn register(&self, tick: Tick, client: Client) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |tables| tables.by_site(&tables.registrations, "registrations", tick, client))
    }

    /// Whether one more refresh token is looked at from this address.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`]
    pub fn refresh(&self, tick: Tick, client: Client) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |tables| tables.from(&tables.refreshes, "refreshes", tick, client))
    }

    /// Somebody has shown that the account is his, otherwise than by its password: an attack from elsewhere does not keep
    /// him from logging in from here.
    pub fn recovered(&self, now: Time, client: Client, user: &User) {
        let Some(tables) = &self.0 else { return };
        let names = names(user);
        tables.note(now, &user.id, names.iter().map(String::as_str), client.address.into());
    }

    /// Whether one more mailed code or link is looked at from this address.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`]
    pub fn code(&self, tick: Tick, client: Client) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |tables| tables.from(&tables.codes, "codes", tick, client))
    }

    /// Whether one more mail may be asked for from this address. The answer to whoever asks is the same.
    pub fn mail_from(&self, tick: Tick, client: Client) -> bool {
        self.0.as_ref().is_none_or(|tables| tables.by_site(&tables.mails_from, "mails_from", tick, client).is_ok())
    }

    /// Whether one more mail may be asked for at all. The answer to whoever asks is the same.
    pub fn mail(&self, tick: Tick) -> bool {
        let Some(tables) = &self.0 else { return true };
        let now = tables.now(tick);
        let may = tables.mails.take(now, tables.marker.mark(&Subject::All)).is_ok();
        // Once a minute, or it would be all that is seen in the log.
        if !may && now >= tables.told_until.load(Ordering::Relaxed) {
            tables.told_until.store(now.saturating_add(MINUTE), Ordering::Relaxed);
            tracing::error!(event = "throttled", limit = "mails");
        }
        may
    }

    /// Whether one more mail of this kind may go to this address, in its canonical form. The answer to whoever asks is the
    /// same.
    pub fn mail_to(&self, tick: Tick, kind: MailKind, key: &str) -> bool {
        let Some(tables) = &self.0 else { return true };
        let may =
            tables.mails_to.take(tables.now(tick), tables.marker.mark(&Subject::Recipient(kind.name(), key))).is_ok();
        if !may {
            tracing::warn!(event = "throttled", limit = "mails_to");
        }
        may
    }

    /// Begins a login with this name, in its canonical form. It counts as a failure until it has ended otherwise.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`]
    pub fn login(&self, tick: Tick, now: Time, client: Client, name: &str) -> Result<Attempt<'_>, Error> {
        let Some(tables) = &self.0 else { return Ok(Attempt(None)) };
        tables.by_site(&tables.passwords, "passwords", tick, client)?;
        let mut begun = Begun::new(tables, tick, now, client);
        let mark = begun.at(&Subject::Name(name), &Subject::NameAt(name, client.address.into()));
        begun.count(mark).map_err(|wait| too_many("failures", wait, client))?;
        Ok(Attempt(Some(begun)))
    }

    /// Begins to check the password of somebody who holds a token of this account. Counted apart from logins: who holds
    /// none cannot use it up.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`]
    pub fn own_password(&self, tick: Tick, now: Time, client: Client, id: &UserId) -> Result<Attempt<'_>, Error> {
        let Some(tables) = &self.0 else { return Ok(Attempt(None)) };
        tables.from(&tables.passwords, "passwords", tick, client)?;
        let mut begun = Begun::new(tables, tick, now, client);
        let mark = tables.marker.mark(&Subject::Own(id.as_str()));
        begun.count(mark).map_err(|wait| too_many("failures", wait, client))?;
        Ok(Attempt(Some(begun)))
    }
}

impl Tables {
    fn now(&self, tick: Tick) -> u32 {
        let ticks = tick.millis_since(self.begun).saturating_mul(u64::from(SECOND)) / 1_000;
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn from(&self, buckets: &Buckets, limit: &'static str, tick: Tick, client: Client) -> Result<(), Error> {
        let mark = self.marker.mark(&Subject::Address(client.address.into()));
        buckets.take(self.now(tick), mark).map_err(|wait| too_many(limit, wait, client))
    }

    /// By the address, and by the site that it is in.
    fn by_site(&self, buckets: &Buckets, limit: &'static str, tick: Tick, client: Client) -> Result<(), Error> {
        self.from(buckets, limit, tick, client)?;
        let Some(site) = Site::of(client.address) else { return Ok(()) };
        let taken = buckets.take_of(SITE, self.now(tick), self.marker.mark(&Subject::Site(site)));
        taken.map_err(|wait| too_many(limit, wait, client))
    }

    /// Notes that an account of these names logged in from here.
    fn note<'a>(&self, at: Time, id: &UserId, names: impl Iterator<Item = &'a str>, here: Network) {
        self.known.note(at, self.marker.mark(&Subject::AccountAt(id.as_str(), here)));
        for name in names {
            self.known.note(at, self.marker.mark(&Subject::NameAt(name, here)));
        }
    }
}

fn too_many(limit: &'static str, wait: u32, client: Client) -> Error {
    // Not the name: people type their password into that field.
    tracing::warn!(event = "throttled", limit, address = %client.address);
    Error::TooManyAttempts { retry_after: wait.div_ceil(SECOND).max(1) }
}

/// Reads from which addresses accounts have logged in lately, as far as the sessions tell: the newest first.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn recall(app: &App, now: Time) -> Result<(), Error> {
    let Some(tables) = &app.limits.0 else { return Ok(()) };
    let mut before = None;
    for _ in 0..RECALLED / usize::try_from(PAGE).map_err(Error::internal)? {
        let logins = app.store.logins_before(before, PAGE).await?;
        for login in &logins {
            if let Ok(address) = login.ip.parse::<std::net::IpAddr>() {
                let names = [Some(login.username_key.as_str()), login.email_key.as_deref()];
                tables.note(login.at, &login.user_id, names.into_iter().flatten(), address.into());
            }
        }
        match logins.into_iter().next_back() {
            Some(last) if last.at.plus(REMEMBERED) > now => before = Some(last.session_id),
            _ => break,
        }
    }
    Ok(())
}
