//! Forwards Opus between the members of a room: no decoding, no mixing.
//!
//! One task owns the rooms, the peers and the one UDP socket that all of them share; everyone else talks to it
//! through an [`Sfu`] handle.

mod members;
mod peer;
mod task;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use str0m::{Candidate, config::DtlsCert, net::Protocol};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
};

use crate::{
    config::Config,
    crypto,
    messages::ToBrowser,
    metrics::Metrics,
    rooms::{MemberId, MemberView, RoomError, RoomId},
};

pub use task::Task;

/// Commands are rare and answered at once; a full queue slows the askers down.
const COMMANDS: usize = 64;

/// A browser that is so many messages behind is not reading; it has to come back.
pub const OUTBOX: usize = 128;

/// A way to ask the SFU; cheap to clone. Errors mean that it has ended.
#[derive(Clone, Debug)]
pub struct Sfu {
    commands: mpsc::Sender<Command>,
    /// Without a bound, as destructors cannot wait: there are no more of them than members.
    departures: mpsc::UnboundedSender<MemberId>,
}

#[derive(Debug, thiserror::Error)]
#[error("the voice server has stopped")]
pub struct Stopped;

#[derive(Debug)]
enum Command {
    Join {
        room: RoomId,
        name: String,
        /// Dropping it is how the SFU ends a member's session.
        outbox: mpsc::Sender<ToBrowser>,
        reply: oneshot::Sender<Result<MemberId, RoomError>>,
    },
    Answer {
        id: MemberId,
        sdp: String,
    },
    Mute {
        id: MemberId,
        muted: bool,
    },
    Present {
        room: RoomId,
        reply: oneshot::Sender<Vec<MemberView>>,
    },
}

impl Sfu {
    pub async fn join(
        &self,
        room: RoomId,
        name: String,
        outbox: mpsc::Sender<ToBrowser>,
    ) -> Result<Result<MemberId, RoomError>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Join { room, name, outbox, reply }).await?;
        answer.await.map_err(|_| Stopped)
    }

    pub async fn answer(&self, id: MemberId, sdp: String) -> Result<(), Stopped> {
        self.send(Command::Answer { id, sdp }).await
    }

    pub async fn mute(&self, id: MemberId, muted: bool) -> Result<(), Stopped> {
        self.send(Command::Mute { id, muted }).await
    }

    /// For destructors: never waits, and is never lost while the SFU runs.
    pub fn leave_soon(&self, id: MemberId) {
        let _ = self.departures.send(id);
    }

    pub async fn present(&self, room: RoomId) -> Result<Vec<MemberView>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Present { room, reply }).await?;
        answer.await.map_err(|_| Stopped)
    }

    async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }
}

/// Binds the UDP socket. Nothing runs until [`Task::run`].
pub async fn build(config: &Config, metrics: Arc<Metrics>) -> Result<(Sfu, Task)> {
    let bind = SocketAddr::new(config.ip, config.udp_port);
    let socket = UdpSocket::bind(bind).await.with_context(|| format!("bind UDP {bind}"))?;
    let local = socket.local_addr().context("read the UDP socket's address")?;
    let endpoint = Endpoint::new(local, config.public_udp)?;
    let (commands, asked) = mpsc::channel(COMMANDS);
    let (departures, gone) = mpsc::unbounded_channel();
    Ok((Sfu { commands, departures }, Task::new(socket, endpoint, asked, gone, metrics)))
}

/// What every peer connection has in common.
#[derive(Debug)]
struct Endpoint {
    local: SocketAddr,
    candidates: Vec<Candidate>,
    certificate: DtlsCert,
    crypto: Arc<str0m::crypto::CryptoProvider>,
}

impl Endpoint {
    /// Browsers try all candidates and keep the one that works: the pod's own address when they are near,
    /// the public one otherwise. An ICE-lite server has host candidates only, mapped or not (RFC 8445, 2.5).
    fn new(local: SocketAddr, public: Option<SocketAddr>) -> Result<Endpoint> {
        let announce = |address| {
            Candidate::host(address, Protocol::Udp).with_context(|| format!("announce {address} to browsers"))
        };
        let candidates = [local].into_iter().chain(public).map(announce).collect::<Result<_>>()?;
        let certificate = crypto::generate_certificate()?;
        Ok(Endpoint { local, candidates, certificate, crypto: Arc::new(crypto::provider()) })
    }
}
