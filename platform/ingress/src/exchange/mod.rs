//! One HTTP/1.1 connection to a backend, and the exchanges over it, one after the other.
//!
//! It has no task of its own: whoever asks, and then reads the answer's body, drives it, also what is still to be sent.
//! So an exchange costs no hand-over between tasks, and ends with its user.
//!
//! Invariant: a connection is used again only after an answer whose end is certain, with nothing behind it, to a request
//! that was sent to its end. What two readers could understand differently is an error, and ends the connection.
//! Source: RFC 9112.

mod answer;
mod chunks;
mod decode;
mod send;
#[cfg(test)]
mod tests;

pub use self::send::write_line;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Method, Response};
use http_body::{Frame, SizeHint};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;
use tracing::debug;

use crate::{
    alarm::Alarm,
    headers::Forwarded,
    sockets,
    upload::{RequestBody, UploadError},
};

use self::{answer::Malformed, decode::Decoder, send::Sending};

/// Read at once; most answers are smaller.
const READ_BYTES: usize = 8 << 10;

/// Read at once of an answer that has filled the buffer.
const READ_MUCH_BYTES: usize = 64 << 10;

pub struct Connection {
    pub address: SocketAddr,
    stream: TcpStream,
    sending: Sending,
    /// Read, and not taken yet.
    unread: BytesMut,
    read_bytes: usize,
    /// What is known of the answer's body.
    decoder: Decoder,
    keep_alive: bool,
    /// For the deadlines of its exchanges.
    pub alarm: Alarm,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("connect")]
    Io(#[from] io::Error),
    #[error("open an HTTP/2 connection")]
    Handshake(#[from] hyper::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("pass the request on")]
    Request(#[from] UploadError),
    #[error("read the answer")]
    Read(#[source] io::Error),
    #[error("the backend closed the connection before the end of its answer")]
    Closed,
    #[error("understand the answer")]
    Malformed(#[from] Malformed),
}

impl Connection {
    pub async fn open(address: SocketAddr, within: Duration) -> Result<Box<Connection>, ConnectError> {
        Ok(Connection::over(connect(address, within).await?, address))
    }

    fn over(stream: TcpStream, address: SocketAddr) -> Box<Connection> {
        Box::new(Connection {
            address,
            stream,
            sending: Sending::default(),
            unread: BytesMut::new(),
            read_bytes: READ_BYTES,
            decoder: Decoder::Ended,
            keep_alive: true,
            alarm: Alarm::default(),
        })
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn ask(
        &mut self,
        request: &Forwarded<'_>,
        body: RequestBody,
    ) -> Result<Response<()>, ExchangeError> {
        self.sending.begin(request, body);
        std::future::poll_fn(|context| self.poll_answer(&request.parts.method, context)).await
    }

    /// The body of a request of which nothing has left yet: it may be sent elsewhere.
    pub fn take_unsent(&mut self) -> Option<RequestBody> {
        self.sending.take_unsent()
    }

    /// The body of a request that left, at least in part, when it is still there from its beginning.
    pub fn take_again(&mut self) -> Option<RequestBody> {
        self.sending.take_again()
    }

    /// The rest of the answer's body, when it was read to its end already.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        self.decoder.take_whole(&mut self.unread)
    }

    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let frame = ready!(self.poll_decoded(context)).transpose();
        self.keep_alive &= !matches!(frame, Some(Err(_)));
        Poll::Ready(frame)
    }

    pub fn size_hint(&self) -> SizeHint {
        self.decoder.size_hint()
    }

    /// The answer's body has been taken to its end.
    pub fn has_ended(&self) -> bool {
        self.decoder.has_ended()
    }

    /// For the pool: nothing is under way, nor unclear. Gives up what only a large answer needed.
    pub fn rest(&mut self) -> bool {
        self.read_bytes = READ_BYTES;
        if self.unread.capacity() > READ_BYTES {
            self.unread = BytesMut::new();
        }
        self.keep_alive && self.has_ended() && self.sending.has_ended() && self.unread.is_empty()
    }

    /// Whether the peer of a connection at rest was neither seen to close nor to send. Asks the kernel only on news.
    pub fn is_open(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// After a switch of protocols: the connection, and what was read of it.
    pub fn into_switched(self) -> (TcpStream, BytesMut) {
        (self.stream, self.unread)
    }

    fn poll_answer(
        &mut self,
        method: &Method,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, ExchangeError>> {
        self.poll_send(context)?;
        loop {
            while let Some(answer) = answer::take(&mut self.unread, method)? {
                if answer.is_interim() {
                    continue;
                }
                (self.decoder, self.keep_alive) = (answer.decoder, answer.keep_alive);
                return Poll::Ready(Ok(answer.head));
            }
            ready!(self.poll_read(context))?;
        }
    }

    fn poll_decoded(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, ExchangeError>> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.unread)? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.has_ended() {
                return Poll::Ready(Ok(None));
            }
            self.poll_send(context)?;
            match ready!(self.poll_read(context)) {
                Err(ExchangeError::Closed) if self.decoder.ends_with_connection() => {
                    self.decoder = Decoder::Ended;
                }
                read => read?,
            }
        }
    }

    /// Sends what can be sent. A backend may answer and close before it has taken all of a request: that it takes no more
    /// is no error as long as there is something to read.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<(), UploadError> {
        if self.sending.has_ended() || self.sending.is_given_up() {
            return Ok(());
        }
        if let Poll::Ready(Err(error)) = self.sending.poll(&mut self.stream, context)? {
            debug!(address = %self.address, %error, "backend takes no more of a request");
            self.sending.give_up();
        }
        Ok(())
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        self.unread.reserve(self.read_bytes);
        let room = self.unread.capacity() - self.unread.len();
        let size = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.unread))
            .map_err(ExchangeError::Read)?;
        if size == room {
            self.read_bytes = READ_MUCH_BYTES;
        }
        Poll::Ready(if size == 0 { Err(ExchangeError::Closed) } else { Ok(()) })
    }
}

pub async fn connect(address: SocketAddr, within: Duration) -> Result<TcpStream, ConnectError> {
    let stream = tokio::time::timeout(within, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectError::Timeout(within))??;
    sockets::tune(&stream)?;
    Ok(stream)
}
