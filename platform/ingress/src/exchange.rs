//! One HTTP/1.1 connection to a backend.
//!
//! It has no task of its own: whoever uses it drives it, so an exchange costs no hand-over between tasks, and it ends
//! with its user. While it rests in the pool nobody drives it; that its peer has closed shows at the next use.
//!
//! Invariant: answers and their bodies make progress in [`Connection::drive`] alone. They may be polled without a waker,
//! as long as the connection was driven with one after they were last found pending.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tracing::debug;

use crate::{alarm::Alarm, joined::Joined, sockets, upload::RequestBody};

type Work = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

pub struct Connection {
    pub address: SocketAddr,
    sender: http1::SendRequest<RequestBody>,
    /// `None` once it has ended.
    work: Option<Work>,
    /// For the deadlines of its exchanges.
    pub alarm: Alarm,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("connect")]
    Io(#[from] std::io::Error),
    #[error("open an HTTP connection")]
    Handshake(#[from] hyper::Error),
}

impl Connection {
    pub async fn open(address: SocketAddr, within: Duration) -> Result<Connection, ConnectError> {
        let stream = connect(address, within).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(Joined(stream))).await?;
        let work: Work = Box::pin(connection.with_upgrades());
        Ok(Connection { address, sender, work: Some(work), alarm: Alarm::default() })
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        // Unconstrained, as a budget that is used up would wake through a waker that is not there.
        let mut answer = pin!(tokio::task::unconstrained(self.sender.try_send_request(request)));
        let (work, address) = (&mut self.work, self.address);
        std::future::poll_fn(move |context| {
            drive(work, address, context);
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// Lets the connection read and write what it can.
    pub fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.work, self.address, context);
    }

    /// Nothing is under way, and the peer was not seen to close.
    pub fn is_at_rest(&self) -> bool {
        self.work.is_some() && self.sender.is_ready()
    }

    /// Drives to the end: after a switch of protocols that is at once.
    pub async fn finish(mut self) {
        let work = self.work.take();
        drop(self.sender);
        if let Some(work) = work {
            ended(self.address, work.await);
        }
    }
}

fn drive(work: &mut Option<Work>, address: SocketAddr, context: &mut Context<'_>) {
    if let Some(running) = work
        && let Poll::Ready(outcome) = running.as_mut().poll(context)
    {
        ended(address, outcome);
        *work = None;
    }
}

fn ended(address: SocketAddr, outcome: hyper::Result<()>) {
    if let Err(error) = outcome {
        debug!(%address, %error, "connection to backend ended");
    }
}

pub async fn connect(address: SocketAddr, within: Duration) -> Result<TcpStream, ConnectError> {
    let stream = tokio::time::timeout(within, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectError::Timeout(within))??;
    sockets::tune(&stream)?;
    Ok(stream)
}
