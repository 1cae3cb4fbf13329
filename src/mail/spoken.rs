//! The words of a mail server, as lettre gets them.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How much a server may say about a mail, certificates and all, and how far it is looked ahead, in bytes.
const MOST: usize = 256 * 1_024;
const AHEAD: usize = 2_048;

/// What a server says, a line at a time. lettre keeps what came with a line for the next one, and so what came after
/// the consent to STARTTLS, which anybody on the way may have put there, would count as said under TLS (CVE-2011-0411
/// tells of the same in servers). Here it is left to TLS, which it does not fit. Nor is there an end to a line before
/// its end.
#[derive(Debug)]
pub(super) struct Spoken {
    stream: TcpStream,
    left: usize,
}

impl Spoken {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, left: MOST }
    }
}

impl AsyncRead for Spoken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ahead = [0; AHEAD];
        let mut ahead = ReadBuf::new(ahead.get_mut(..buffer.remaining().min(AHEAD)).unwrap_or_default());
        ready!(self.stream.poll_peek(context, &mut ahead))?;
        let seen = ahead.filled();
        let length = seen.iter().position(|byte| *byte == b'\n').map_or(seen.len(), |end| end + 1);
        self.left = self.left.checked_sub(length).ok_or_else(|| io::Error::other("it says too much"))?;
        let mut line = buffer.take(length);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut line))?;
        let read = line.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Spoken {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Spoken {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
