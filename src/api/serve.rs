//! The listener: connections, their deadlines, and the end.
//!
//! poem's own server sets no timer, so that a half-sent request head is waited for for ever. This one serves
//! the same endpoint on hyper, HTTP/1.1 only.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::combinators::BoxBody;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::{
    Endpoint, Request, Response,
    http::{
        HeaderValue, StatusCode, Version,
        header::{CONNECTION, HOST, TRANSFER_ENCODING},
        uri::Scheme,
    },
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

mod places;

pub use places::Places;

/// How long a request's head may take, and how long a connection may wait for its next request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// The most bytes of a request's head.
const HEAD_LIMIT: usize = 16 * 1024;

/// How long a client may take nothing of what is ready for it.
const TAKE_DEADLINE: Duration = Duration::from_secs(15);

/// After so long the next answer is the last one of its connection, and says so.
const LIFE: Duration = Duration::from_mins(5);

/// And so long after that it is closed, so that a reader that reads a little at a time ends too.
const WINDING_UP: Duration = Duration::from_secs(30);

/// How long what is under way may take when a connection, or the server, ends.
const GRACE: Duration = Duration::from_secs(6);

/// How long to wait when the system has no more files for connections.
const RETREAT: Duration = Duration::from_millis(100);

/// Serves until `stop` completes; then takes no more, finishes what is under way within six seconds, and
/// returns.
pub async fn serve(
    listener: TcpListener,
    endpoint: impl Endpoint<Output = Response> + 'static,
    stop: impl Future<Output = ()>,
    places: Places,
) {
    let (endpoint, places) = (Arc::new(endpoint), Arc::new(places));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let free = places.free().await;
            (free, listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => break,
            // Takes the ended ones out, so that the set does not grow.
            Some(_) = connections.join_next() => {}
            (free, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    // Who is refused is closed at once.
                    let Some(place) = places.take(free, peer.ip()) else { continue };
                    let (endpoint, stopped) = (endpoint.clone(), stopped.clone());
                    connections.spawn(async move {
                        let _place = place;
                        connection(stream, peer.into(), endpoint, stopped, LIFE).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(event = "accept_failed", %error);
                    sleep(RETREAT).await;
                }
            },
        }
    }
    drop(listener);
    // Nobody listening any more is no failure.
    let _ = stopping.send(true);
    if timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(event = "connections_cut", count = connections.len());
    }
}

/// Whether every server on the way reads the same request: one host (RFC 9112, section 3.2), and one coding of its body
/// at most. Of a length beside chunks hyper leaves nothing to see: it reads the chunks, and ends the connection after
/// the answer (section 6.1).
fn is_clear(request: &hyper::Request<Incoming>) -> bool {
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    let codings: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().collect();
    let has_one_host = hosts == 1 || hosts == 0 && request.version() == Version::HTTP_10;
    let has_one_end = match codings.as_slice() {
        [] => true,
        [coding] => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    has_one_host && has_one_end
}

async fn connection<E: Endpoint<Output = Response> + 'static>(
    stream: TcpStream,
    peer: poem::Addr,
    endpoint: Arc<E>,
    mut stopped: watch::Receiver<bool>,
    life: Duration,
) {
    // An answer is small and goes out whole; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    let local = LocalAddr(stream.local_addr().map(Into::into).unwrap_or_default());
    let remote = RemoteAddr(peer);
    let is_old = AtomicBool::new(false);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (endpoint, local, remote, is_old) = (endpoint.clone(), local.clone(), remote.clone(), &is_old);
        async move {
            if !is_clear(&request) {
                let refusal = Response::builder().status(StatusCode::BAD_REQUEST).header(CONNECTION, "close").finish();
                return Ok(refusal.into());
            }
            let request = Request::from((request, local, remote, Scheme::HTTP));
            let mut response = endpoint.get_response(request).await;
            // To close it while nothing is asked would meet a request on its way: a client that is told sends none.
            if is_old.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let response: hyper::Response<BoxBody<Bytes, std::io::Error>> = response.into();
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKE_DEADLINE));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_header_size(HEAD_LIMIT)
        .max_buf_size(2 * HEAD_LIMIT)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // In this order, so that a request is not served before the age is known.
        biased;
        () = async {
            sleep(life).await;
            is_old.store(true, Ordering::Relaxed);
            sleep(WINDING_UP).await;
        } => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
        // What goes wrong on a connection is the client's doing: it went away, or sent nonsense.
        _ = connection.as_mut() => return,
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use poem::{Response, endpoint::make_sync};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::watch,
        time::sleep,
    };

    /// The head of what a connection answers that grows so old.
    async fn answer(life: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let (_stopping, stopped) = watch::channel(false);
        let endpoint = Arc::new(make_sync(|_| Response::default()));
        tokio::spawn(super::connection(stream, peer.into(), endpoint, stopped, life));
        // This timer is the later one.
        sleep(Duration::from_millis(20)).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            answer.push(char::from(client.read_u8().await.unwrap()));
        }
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer
    }

    #[tokio::test]
    async fn a_connection_that_is_old_says_so_before_it_closes() {
        for (life, says_so) in [(Duration::ZERO, true), (super::LIFE, false)] {
            assert_eq!(answer(life).await.contains("connection: close"), says_so);
        }
    }
}
