//! The one writer: a task with the one connection that writes.
//!
//! Whoever wants to write hands it a piece of work. What waits when its turn comes is done in one transaction and shares
//! one commit: a sync of the disk takes long, and many wait for it together. Nobody is answered before the commit that
//! holds his write. A piece of several statements that fails is undone alone, by a savepoint. One of a single statement
//! fails by a bug or with the disk, and gives up the transaction.
//!
//! Between transactions it asks, some times a second, whether another process wrote.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use sqlx::{Connection, raw_sql};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Conn, Error, PATIENCE,
    memory::{Memory, Touched},
    metrics::Notes,
    sqlite::{self, File, Watch},
};

/// How often it is asked whether another process wrote: often enough that memory is trusted all the time.
const HEARING: Duration = Duration::from_millis(100);

/// The most pieces of work in one transaction: who comes first does not wait for ever.
const SHARED: usize = 128;

/// How many may wait. More wait to be let in.
const QUEUE: usize = 1024;

/// The way to the writer.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Order>);

enum Order {
    Write(Box<dyn Piece>),
    Close(oneshot::Sender<()>),
}

/// A piece of work, and who waits for it.
trait Piece: Send {
    /// How much of it may write.
    fn extent(&self) -> Extent;

    /// Whether somebody still waits for it.
    fn is_awaited(&self) -> bool;

    /// Does it, unless nobody waits any more.
    fn run(self: Box<Self>, conn: &mut Conn) -> BoxFuture<'_, Ran>;

    /// Does not do it.
    fn refuse(self: Box<Self>, error: Error);
}

/// How much of a piece of work may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// One of its statements, or none.
    One,
    /// Several, which belong together.
    Several,
}

/// What came of a piece.
enum Ran {
    /// Nobody waited.
    Left,
    /// It is to be undone; whoever waited knows why.
    Failed(Error),
    /// It is written, if it is committed.
    Done(Touched, Box<dyn Tell>),
}

/// Somebody who waits for the commit.
trait Tell: Send {
    fn tell(self: Box<Self>, committed: Result<(), Error>);
}

struct Work<T, F> {
    extent: Extent,
    task: F,
    begun: oneshot::Sender<()>,
    answer: oneshot::Sender<Result<T, Error>>,
}

struct Answer<T> {
    done: T,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T: Send> Tell for Answer<T> {
    fn tell(self: Box<Self>, committed: Result<(), Error>) {
        let Self { done, answer } = *self;
        // Who does not wait any more will find out.
        let _ = answer.send(committed.map(|()| done));
    }
}

impl<T, F> Piece for Work<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<(T, Touched), Error>> + Send,
{
    fn extent(&self) -> Extent {
        self.extent
    }

    fn is_awaited(&self) -> bool {
        !self.begun.is_closed()
    }

    fn run(self: Box<Self>, conn: &mut Conn) -> BoxFuture<'_, Ran> {
        let Self { extent: _, task, begun, answer } = *self;
        if begun.send(()).is_err() {
            return Box::pin(async { Ran::Left });
        }
        let work = task(conn);
        Box::pin(async move {
            match work.await {
                Ok((done, touched)) => Ran::Done(touched, Box::new(Answer { done, answer })),
                Err(error) => {
                    let _ = answer.send(Err(error.clone()));
                    Ran::Failed(error)
                }
            }
        })
    }

    fn refuse(self: Box<Self>, error: Error) {
        let _ = self.answer.send(Err(error));
    }
}

impl Writer {
    /// Starts the task, on a connection that has been opened.
    pub(super) fn start(file: Arc<File>, conn: Conn, memory: Arc<Memory>, notes: Notes) -> Self {
        let (orders, queue) = mpsc::channel(QUEUE);
        let (conn, watch) = (Some(conn), Watch::default());
        let task = Task { file, conn, watch, memory, notes, queue, hears: true, closing: None };
        tokio::spawn(task.run());
        Self(orders)
    }

    /// Has a piece of work done, and waits for the commit.
    pub(super) async fn write<T, F>(&self, extent: Extent, task: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<(T, Touched), Error>> + Send + 'static,
    {
        let ((begun, turn), (answer, result)) = (oneshot::channel(), oneshot::channel());
        let order = Order::Write(Box::new(Work { extent, task, begun, answer }));
        let wait = async {
            self.0.send(order).await.map_err(|_| sqlx::Error::PoolClosed)?;
            Ok::<_, sqlx::Error>(turn.await.is_ok())
        };
        // Once begun it is waited for, however long it takes; not begun, it will never be.
        let has_begun = timeout(PATIENCE, wait).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        match result.await {
            Ok(answer) => answer,
            // It panicked.
            Err(_) if has_begun => Err(Error::Internal(Arc::new(sqlx::Error::WorkerCrashed))),
            // The writer closed before its turn.
            Err(_) => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    /// Tells how many wait. It does not keep the writer going.
    pub(super) fn queue(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let orders = self.0.downgrade();
        move || orders.upgrade().map_or(0, |orders| orders.max_capacity() - orders.capacity())
    }

    /// Does what waits, and closes the connection.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(Order::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

struct Task {
    file: Arc<File>,
    /// None: it was thrown away, and is opened anew when it is needed.
    conn: Option<Conn>,
    watch: Watch,
    memory: Arc<Memory>,
    notes: Notes,
    queue: mpsc::Receiver<Order>,
    /// Whether it was last known if another process wrote.
    hears: bool,
    closing: Option<oneshot::Sender<()>>,
}

/// What one transaction has done so far.
#[derive(Default)]
struct Done {
    touched: Touched,
    answers: Vec<Box<dyn Tell>>,
}

impl Task {
    async fn run(mut self) {
        let mut ticks = interval(HEARING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.closing.is_none() {
            tokio::select! {
                order = self.queue.recv() => match order {
                    Some(Order::Write(piece)) => self.transact(piece).await,
                    Some(Order::Close(done)) => self.closing = Some(done),
                    // The last store is gone.
                    None => break,
                },
                _ = ticks.tick() => self.listen().await,
            }
        }
        if let Some(conn) = self.conn.take() {
            let _ = conn.close().await;
        }
        if let Some(done) = self.closing {
            let _ = done.send(());
        }
    }

    /// The connection. Until what is done with it has ended well, it is one to throw away: SQLite ends a transaction
    /// by itself when the disk is full, sqlx does not notice, and every later one would fail.
    async fn take(&mut self) -> Result<Conn, sqlx::Error> {
        if let Some(conn) = self.conn.take() {
            return Ok(conn);
        }
        self.watch = Watch::default();
        self.file.connect().await
    }

    /// Asks whether another process wrote. If there is no answer, memory is soon no longer trusted.
    async fn listen(&mut self) {
        let heard = async {
            let mut conn = self.take().await?;
            let asked = Instant::now();
            let has_changed = self.watch.has_changed(&mut conn).await?;
            self.file.check()?;
            self.memory.hear(asked, has_changed);
            self.conn = Some(conn);
            Ok::<_, sqlx::Error>(())
        };
        match (heard.await, self.hears) {
            (Err(error), true) => tracing::warn!(event = "database_not_heard", %error),
            (Ok(()), false) => tracing::info!(event = "database_heard"),
            _ => return,
        }
        self.hears = !self.hears;
    }

    /// Does this piece of work and those that wait behind it in one transaction.
    async fn transact(&mut self, first: Box<dyn Piece>) {
        if !first.is_awaited() {
            return;
        }
        let mut conn = match self.begin().await {
            Ok(conn) => conn,
            Err(error) => return first.refuse(error.into()),
        };
        let mut done = Done::default();
        let committed = self.work(&mut conn, first, &mut done).await;
        // If it failed, too: nobody knows how far a failed commit came.
        self.memory.write(&done.touched);
        if committed.is_ok() {
            self.conn = Some(conn);
        } else {
            self.notes.failed();
        }
        for answer in done.answers {
            answer.tell(committed.clone());
        }
    }

    async fn begin(&mut self) -> Result<Conn, sqlx::Error> {
        match self.try_to_begin().await {
            // It was opened at a moment when nothing could be opened for writing: SQLite opens it for reading then, and
            // says nothing.
            Err(error) if sqlite::is_read_only(&error) => self.try_to_begin().await,
            begun => begun,
        }
    }

    async fn try_to_begin(&mut self) -> Result<Conn, sqlx::Error> {
        let mut conn = self.take().await?;
        let asked = Instant::now();
        let has_changed = match self.watch.begin(&mut conn).await {
            Ok(has_changed) => has_changed,
            Err(error) => {
                if sqlite::is_busy(&error) {
                    self.notes.busy();
                }
                // Nothing has begun. A new connection would have everything to hear, and all of memory be forgotten.
                self.conn = sqlite::is_busy(&error).then_some(conn);
                return Err(error);
            }
        };
        self.file.check()?;
        self.memory.hear(asked, has_changed);
        Ok(conn)
    }

    async fn work(&mut self, conn: &mut Conn, first: Box<dyn Piece>, done: &mut Done) -> Result<(), Error> {
        let (mut next, mut count) = (Some(first), 0);
        while let Some(piece) = next.take() {
            count += 1;
            if let Some((touched, answer)) = run(conn, piece, count).await? {
                done.touched.add(touched);
                done.answers.push(answer);
            }
            if count == SHARED {
                break;
            }
            match self.queue.try_recv() {
                Ok(Order::Write(piece)) => next = Some(piece),
                Ok(Order::Close(closed)) => self.closing = Some(closed),
                Err(_) => {}
            }
        }
        // Once more: what is written into a file that is gone would be acknowledged.
        self.file.check()?;
        // Who holds the write lock knows that nobody else wrote, however long it took.
        let begun = Instant::now();
        self.memory.hear(begun, false);
        raw_sql("COMMIT").execute(conn).await?;
        self.notes.committed(count, begun.elapsed());
        Ok(())
    }
}

/// Does a piece within a transaction, of which it is the first or a later one. None: it wrote nothing, and whoever waited
/// knows why.
///
/// # Errors
/// The transaction cannot go on.
async fn run(conn: &mut Conn, piece: Box<dyn Piece>, count: usize) -> Result<Option<(Touched, Box<dyn Tell>)>, Error> {
    let is_guarded = piece.extent() == Extent::Several;
    if is_guarded
        && count > 1
        && let Err(error) = raw_sql(sqlite::NEXT).execute(&mut *conn).await
    {
        let error = Error::from(error);
        piece.refuse(error.clone());
        return Err(error);
    }
    // Within the future that is watched: the first part of it may panic, too.
    let work = async { piece.run(conn).await };
    match AssertUnwindSafe(work).catch_unwind().await.map_err(|_| sqlx::Error::WorkerCrashed)? {
        Ran::Left => Ok(None),
        // When the disk is full, SQLite ends the whole transaction by itself. And without a savepoint nobody knows what a
        // piece had written before a bug ended it.
        Ran::Failed(error) if !is_guarded || matches!(error, Error::Unavailable(_)) => Err(error),
        Ran::Failed(error) => {
            raw_sql(sqlite::UNDO).execute(conn).await.map_err(|_| error)?;
            Ok(None)
        }
        Ran::Done(touched, answer) => Ok(Some((touched, answer))),
    }
}
