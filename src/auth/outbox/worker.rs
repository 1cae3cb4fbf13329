//! When which mail is sent.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{self, JoinSet},
    time,
};

use super::{WINDOW, deliver::deliver};
use crate::{app::App, error::Error, model::Tick, store::Due};

/// How often the table is looked at. In its own time, not when a request comes: else the work for a known address would
/// slow the request that comes next, and time would tell.
const LOOK: Duration = Duration::from_millis(500);

/// One mail after the other is sent, so that a kill comes between one and its answer at most. If one takes longer than
/// this, the next one does not wait for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where more than so many are due, it waits no longer than this: one after the other, a flood of what strangers ask for
/// would keep the others back until their links are over.
const CROWD: usize = 20;
const HURRY: Duration = Duration::from_millis(200);

/// The most mails that are sent at once for all that.
const AT_ONCE: usize = 8;

/// Sends what is due, for as long as it is polled. A panic is a bug, and costs one try.
pub async fn run(app: Arc<App>) {
    if !app.mailer.sends() {
        return std::future::pending().await;
    }
    let mut ticks = time::interval(LOOK);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut sending = Sending::default();
    loop {
        // With some left over, one that is done makes room for the next.
        tokio::select! {
            _ = ticks.tick() => sending.has_failed = false,
            () = sending.one_done(), if sending.is_awaited() || app.mailing.is_ending() => {}
            () = time::sleep(HURRY / 4), if sending.is_hurried() => {}
        }
        if let Err(error) = sending.fill(&app).await {
            tracing::warn!(event = "outbox_not_read", %error);
        }
        app.mailing.under_way.store(sending.tasks.len(), Ordering::Relaxed);
    }
}

/// How far the sending is, for who ends the server.
#[derive(Debug, Default)]
pub struct Progress {
    under_way: AtomicUsize,
    is_ending: AtomicBool,
}

impl Progress {
    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    async fn finish(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        while self.under_way.load(Ordering::Relaxed) > 0 {
            time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Begins no more, and waits until what is being sent is, while [`run`] is polled.
pub async fn finish(app: &App) {
    app.mailing.finish().await;
}

/// What is being sent.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<Result<(), Error>>,
    /// The address that each task sends to, and since when. One at a time goes to each, so that the last that arrives is
    /// the one that counts.
    mails: HashMap<task::Id, (String, Tick)>,
    /// Whether others wait for one of them to be done.
    has_more: bool,
    /// Whether so many do that it is not one after the other.
    is_crowded: bool,
    /// Whether the database could not be used: the next look is when it is time.
    has_failed: bool,
}

impl Sending {
    /// Whether there is nobody whom the next one would have to wait for.
    fn is_open(&self, tick: Tick) -> bool {
        let patience = if self.is_crowded { HURRY } else { PATIENCE };
        let is_late = |begun: &Tick| u128::from(tick.millis_since(*begun)) >= patience.as_millis();
        self.mails.len() < AT_ONCE && self.mails.values().all(|(_, begun)| is_late(begun))
    }

    fn is_awaited(&self) -> bool {
        self.has_more && !self.has_failed
    }

    fn is_hurried(&self) -> bool {
        self.is_crowded && !self.has_failed && self.mails.len() < AT_ONCE
    }

    /// Waits until one is.
    async fn one_done(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(done) => self.note(done),
            None => std::future::pending().await,
        }
    }

    fn begin(&mut self, email_key: String, tick: Tick, send: impl Future<Output = Result<(), Error>> + Send + 'static) {
        let id = self.tasks.spawn(send).id();
        self.mails.insert(id, (email_key, tick));
    }

    fn note(&mut self, done: Result<(task::Id, Result<(), Error>), task::JoinError>) {
        match done {
            Ok((id, delivered)) => {
                self.mails.remove(&id);
                if let Err(error) = delivered {
                    tracing::warn!(event = "outbox_not_read", %error);
                    self.has_failed = true;
                }
            }
            Err(error) => {
                tracing::error!(event = "upkeep_failed", %error);
                // It is tried again when its lease is over.
                self.mails.remove(&error.id());
            }
        }
    }

    /// Begins as many as there is room for.
    async fn fill(&mut self, app: &Arc<App>) -> Result<(), Error> {
        while let Some(done) = self.tasks.try_join_next_with_id() {
            self.note(done);
        }
        self.is_crowded = false;
        if app.mailing.is_ending() {
            return Ok(());
        }
        let due = app.store.due_mails(app.clock.now(), WINDOW).await?;
        self.begin_due(
            due,
            || app.clock.tick(),
            |mail| {
                let app = app.clone();
                async move { deliver(&app, mail).await }
            },
        );
        Ok(())
    }

    fn begin_due<S>(&mut self, due: Vec<Due>, tick: impl Fn() -> Tick, send: impl Fn(Due) -> S)
    where
        S: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let mut taken: HashSet<String> = self.mails.values().map(|(email_key, _)| email_key.clone()).collect();
        self.has_more = false;
        self.is_crowded = due.len() > CROWD;
        for mail in due {
            let tick = tick();
            if !self.is_open(tick) || !taken.insert(mail.email_key.clone()) {
                self.has_more = true;
            } else {
                self.begin(mail.email_key.clone(), tick, send(mail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::{AT_ONCE, CROWD, Due, Ordering, Progress, Sending};
    use crate::model::{MailId, MailKind, Tick};

    #[tokio::test]
    async fn where_few_wait_the_next_one_begins_after_five_seconds_and_where_many_do_soon() {
        let at = Tick::from_millis;
        for (is_crowded, patience) in [(false, 5_000), (true, 200)] {
            let mut sending = Sending { is_crowded, ..Sending::default() };
            for n in 0..AT_ONCE as u64 {
                assert!(sending.is_open(at(n * patience)), "{n}");
                sending.begin(n.to_string(), at(n * patience), pending());
                assert!(!sending.is_open(at((n + 1) * patience - 1)), "{n}");
            }
            assert!(!sending.is_open(at(u64::MAX)) && !sending.is_hurried(), "no more than that");
        }
    }

    #[test]
    fn who_waits_is_let_in_early_unless_the_database_has_failed() {
        for (has_more, is_crowded, has_failed, is_awaited, is_hurried) in [
            (false, false, false, false, false),
            (true, false, false, true, false),
            (false, true, false, false, true),
            (true, true, false, true, true),
            (true, true, true, false, false),
        ] {
            let sending = Sending { has_more, is_crowded, has_failed, ..Sending::default() };
            assert_eq!((sending.is_awaited(), sending.is_hurried()), (is_awaited, is_hurried));
        }
    }

    fn due(addresses: impl IntoIterator<Item = usize>) -> Vec<Due> {
        let one =
            |n: usize| Due { id: MailId::from_text(n.to_string()), kind: MailKind::Verify, email_key: n.to_string() };
        addresses.into_iter().map(one).collect()
    }

    #[tokio::test]
    async fn more_than_twenty_are_a_crowd() {
        for (count, is_crowded) in [(1, false), (CROWD, false), (CROWD + 1, true)] {
            let mut sending = Sending::default();
            sending.begin_due(due(0..count), || Tick::from_millis(0), |_| pending());
            assert_eq!((sending.is_crowded, sending.has_more), (is_crowded, count > 1), "{count}");
            assert_eq!(sending.mails.len(), 1, "{count}: one after the other, at first");
        }
    }

    #[tokio::test]
    async fn one_at_a_time_goes_to_each() {
        let mut sending = Sending::default();
        for (second, addresses, begun) in [(0, [1, 1], 1), (10, [1, 1], 1), (10, [1, 2], 2), (30, [2, 1], 2)] {
            sending.begin_due(due(addresses), || Tick::from_millis(second * 1_000), |_| pending());
            assert_eq!((sending.mails.len(), sending.has_more), (begun, true), "{second} {addresses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_what_is_under_way_and_lets_nothing_begin() {
        let progress = std::sync::Arc::new(Progress::default());
        progress.under_way.store(2, Ordering::Relaxed);
        let end = tokio::spawn({
            let progress = progress.clone();
            async move { progress.finish().await }
        });
        for left in [2, 1] {
            progress.under_way.store(left, Ordering::Relaxed);
            tokio::time::sleep(std::time::Duration::from_mins(1)).await;
            assert!(progress.is_ending() && !end.is_finished(), "{left}");
        }
        progress.under_way.store(0, Ordering::Relaxed);
        end.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_gives_back_its_place_and_its_address_and_no_other() {
        let mut sending = Sending::default();
        let at = Tick::from_millis(0);
        sending.begin("hangs".to_owned(), at, pending());
        sending.begin("panics".to_owned(), at, async { panic!("a bug") });
        sending.one_done().await;
        let left = |sending: &Sending| sending.mails.values().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        assert_eq!(left(&sending), ["hangs"]);
        sending.begin("is sent".to_owned(), at, ready(Ok(())));
        sending.one_done().await;
        assert_eq!(left(&sending), ["hangs"]);
    }
}
