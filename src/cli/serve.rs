use std::{
    fs::Metadata, future::pending, io, net::SocketAddr, os::unix::fs::PermissionsExt, sync::Arc, time::Duration,
};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
};

use super::Failure;
use crate::{
    api::{self, serve::Places},
    app::App,
    auth::{audit, outbox, session, upkeep},
    clock::{self, Clock},
    config::Config,
    log::Running,
};

/// How long mails may take that are being sent, and closing the database. With the connections' six seconds it stays under
/// ten.
const MAILING: Duration = Duration::from_secs(1);
const CLOSING: Duration = Duration::from_secs(2);

/// How many connections may wait to be taken (the system may allow fewer). With the usual 128, a thousand at once made
/// each of them wait a second for its next try, and some were lost.
const BACKLOG: u32 = 4_096;

pub(super) async fn run(config: Config, log: &Running) -> Result<(), Failure> {
    let now = Clock::System.now();
    if clock::is_absurd(now) {
        return Err(format!("the clock says {now}, which is before this program was made: set it").into());
    }
    // A file that may not grow any more (`ulimit -f`) is one that cannot be written: an error, not the end.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    allow_files();
    // Before the rest: whoever takes the wrong port leaves no database behind.
    let listener = bind(&config)?;
    let metrics = match config.metrics {
        Some(address) => Some(listen(address)?),
        None => None,
    };
    let app = App::build(config, Clock::System).await?;
    app.metrics.register([log.measure()?])?;
    if std::fs::metadata(".env").is_ok_and(|file| may_others_read(&file)) {
        tracing::warn!(event = "settings_readable_by_others", ".env, and SECRET_KEY in it, should have mode 0600");
    }
    Box::pin(serve(app, listener, metrics)).await
}

/// Every connection is a file. Most systems allow a process 1,024 until it asks for more.
pub(super) fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_err() {
        tracing::warn!(event = "few_files", limit = limit.current);
    }
}

/// Takes the port.
pub(super) fn bind(config: &Config) -> Result<TcpListener, Failure> {
    listen(SocketAddr::new(config.host, config.port))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // The connections of a server that has just ended do not keep its address.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| in_use(address, &error))
}

/// Whether the file lets more than its owner in.
pub(super) fn may_others_read(file: &Metadata) -> bool {
    file.permissions().mode() & 0o077 != 0
}

/// Serves until the process is told to end; and metrics on a listener of their own, if there is one.
pub(super) async fn serve(app: App, listener: TcpListener, metrics: Option<TcpListener>) -> Result<(), Failure> {
    let app = Arc::new(app);
    let stop = stop_signal()?;
    if !app.config.is_https() && !app.config.host.is_loopback() {
        tracing::warn!(event = "no_tls", "PUBLIC_URL is plain http: passwords and tokens can be read on the way");
    }
    if may_others_read(&std::fs::metadata(&app.config.database)?) {
        tracing::warn!(event = "database_readable_by_others", "the database file should have mode 0600");
    }
    if !app.config.rate_limits {
        tracing::warn!(event = "no_limits", "RATE_LIMITS is off: passwords can be guessed as fast as they are hashed");
    }
    if !app.mailer.sends() {
        tracing::warn!(event = "no_mail", "SMTP_URL is not set: no mail is sent, so no address can be verified");
    }
    tracing::info!(
        event = "start",
        version = env!("CARGO_PKG_VERSION"),
        address = %listener.local_addr()?,
        database = %app.config.database.display(),
        metrics = metrics.as_ref().and_then(|listener| listener.local_addr().ok()).map(tracing::field::display),
        journal = "wal",
        synchronous = "full",
    );
    let routes = api::routes(app.clone())?;
    let places = Places::for_clients(&app);
    let mut upkeep = Box::pin(upkeep::run(app.clone()));
    tokio::select! {
        () = api::serve::serve(listener, routes, stop, places) => {}
        () = show(metrics, app.clone()) => {}
        () = &mut upkeep => {}
    }
    // What is cut off here is sent again at the next start.
    tokio::select! {
        _ = tokio::time::timeout(MAILING, outbox::finish(&app)) => {}
        () = upkeep => {}
    }
    if session::record_uses(&app).await.is_err() {
        tracing::warn!(event = "uses_not_recorded");
    }
    if audit::record(&app, app.clock.now()).await.is_err() {
        tracing::warn!(event = "refusals_not_recorded");
    }
    // What is not written back from the log now is written back at the next start.
    if tokio::time::timeout(CLOSING, app.store.close()).await.is_err() {
        tracing::warn!(event = "database_not_closed");
    }
    tracing::info!(event = "stop");
    Ok(())
}

/// Shows the metrics for as long as it is polled.
async fn show(listener: Option<TcpListener>, app: Arc<App>) {
    match listener {
        Some(listener) => api::serve::serve(listener, api::metrics::page(app), pending(), Places::for_readers()).await,
        None => pending().await,
    }
}

fn in_use(address: SocketAddr, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("{address} is in use; stop what listens there, or take another port"),
        _ => format!("cannot listen on {address}: {error}"),
    }
    .into()
}

/// Completes at the first SIGTERM or Ctrl-C; the second ends the process where it stands.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (told, stop) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut told = Some(told);
        loop {
            tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
            match told.take() {
                Some(told) => drop(told.send(())),
                None => std::process::exit(1),
            }
        }
    });
    Ok(async move {
        if stop.await.is_err() {
            // The task that listens for signals is gone: nobody can ask any more.
            pending::<()>().await;
        }
    })
}
