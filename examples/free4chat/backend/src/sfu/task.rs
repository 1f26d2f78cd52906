//! The loop: datagrams, commands and time in; datagrams and messages out.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use str0m::{
    Input,
    media::MediaData,
    net::{Protocol, Receive},
};
use tokio::{net::UdpSocket, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Command, Endpoint,
    peer::{Peer, PeerEvent},
};
use crate::{
    metrics::Metrics,
    rooms::{MemberId, Rooms},
};

/// No WebRTC datagram is longer: browsers keep below an Ethernet frame.
const LONGEST_DATAGRAM: usize = 2000;

/// Owns everything about voice; see the module above.
#[derive(Debug)]
pub struct Task {
    socket: UdpSocket,
    commands: mpsc::Receiver<Command>,
    departures: mpsc::UnboundedReceiver<MemberId>,
    pub(super) endpoint: Endpoint,
    pub(super) metrics: Arc<Metrics>,
    pub(super) rooms: Rooms,
    pub(super) peers: BTreeMap<MemberId, Peer>,
    /// Whose datagrams come from where, so that most need no search.
    sources: HashMap<SocketAddr, MemberId>,
    /// What connections said and nobody handled yet.
    events: VecDeque<(MemberId, PeerEvent)>,
}

impl Task {
    pub(super) fn new(
        socket: UdpSocket,
        endpoint: Endpoint,
        commands: mpsc::Receiver<Command>,
        departures: mpsc::UnboundedReceiver<MemberId>,
        metrics: Arc<Metrics>,
    ) -> Task {
        Task {
            socket,
            commands,
            departures,
            endpoint,
            metrics,
            rooms: Rooms::default(),
            peers: BTreeMap::new(),
            sources: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Where voice arrives.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.local
    }

    /// Runs until `stop`. Whoever is still here then loses the connection and joins again elsewhere.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut buffer = [0; LONGEST_DATAGRAM];
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = stop.cancelled() => return,
                Some(command) = self.commands.recv() => self.command(command),
                Some(id) = self.departures.recv() => self.leave(id),
                received = self.socket.recv_from(&mut buffer) => {
                    // An error concerns one earlier datagram (e.g. port unreachable), not the socket.
                    if let Ok((length, source)) = received {
                        self.receive(source, &buffer[..length]);
                    }
                }
                () = sleep_until(wake) => self.tick(Instant::now()),
            }
            self.settle();
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Join { room, name, outbox, reply } => {
                let joined = self.join(&room, &name, outbox);
                let id = joined.as_ref().ok().copied();
                // The asker may be gone already; then so is its member.
                if let (Err(_), Some(id)) = (reply.send(joined), id) {
                    self.leave(id);
                }
            }
            Command::Answer { id, sdp } => self.answer(id, &sdp),
            Command::Mute { id, muted } => self.mute(id, muted),
            Command::Present { room, reply } => {
                let _ = reply.send(self.rooms.present(&room));
            }
        }
    }

    fn receive(&mut self, source: SocketAddr, datagram: &[u8]) {
        let Ok(contents) = datagram.try_into() else { return self.metrics.datagrams_ignored.increment() };
        let destination = self.endpoint.local;
        let received = Receive { proto: Protocol::Udp, source, destination, contents };
        let input = Input::Receive(Instant::now(), received);
        let Some(id) = self.receiver(source, &input) else {
            return self.metrics.datagrams_ignored.increment();
        };
        self.drive(id, input);
    }

    /// Whose datagram it is; a new address is searched for among all connections once.
    fn receiver(&mut self, source: SocketAddr, input: &Input) -> Option<MemberId> {
        let known = self.sources.get(&source).copied();
        if let Some(id) = known.filter(|id| self.peers.get(id).is_some_and(|peer| peer.accepts(input))) {
            return Some(id);
        }
        let id = self.peers.iter().find(|(_, peer)| peer.accepts(input)).map(|(id, _)| *id)?;
        self.sources.insert(source, id);
        Some(id)
    }

    fn tick(&mut self, now: Instant) {
        let due: Vec<_> = self.peers.iter().filter(|(_, peer)| peer.wake <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.drive(id, Input::Timeout(now));
        }
        let paused = |member: &mut crate::rooms::Member| member.talking.pause(now).then(|| member.view());
        let quiet: Vec<_> = self.rooms.members_mut().filter_map(paused).collect();
        for member in quiet {
            self.changed(member);
        }
    }

    fn drive(&mut self, id: MemberId, input: Input) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match peer.handle(input) {
            Ok(()) => self.drain(id),
            Err(error) => {
                tracing::debug!(member = id.0, %error, "connection failed");
                self.events.push_back((id, PeerEvent::Gone));
            }
        }
    }

    /// To be called after every change of a connection.
    pub(super) fn drain(&mut self, id: MemberId) {
        let (socket, events) = (&self.socket, &mut self.events);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        // Voice that cannot be sent now is useless later.
        let send = |datagram: &str0m::net::Transmit| {
            let _ = socket.try_send_to(&datagram.contents, datagram.destination);
        };
        peer.drain(send, |event| events.push_back((id, event)));
    }

    /// Handles what the connections said, until all is quiet.
    fn settle(&mut self) {
        while let Some((id, event)) = self.events.pop_front() {
            match event {
                PeerEvent::Voice(voice) => self.voice(id, &voice),
                PeerEvent::Gone => self.leave(id),
            }
        }
        self.metrics.rooms.set(self.rooms.room_count());
        self.metrics.members.set(self.rooms.member_count());
    }

    fn voice(&mut self, from: MemberId, voice: &MediaData) {
        self.metrics.packets_received.increment();
        let Some(member) = self.rooms.member_mut(from).filter(|member| !member.muted) else { return };
        let level = voice.ext_vals.audio_level.unwrap_or(i8::MIN);
        if member.talking.hear(level, voice.network_time) {
            let view = member.view();
            self.changed(view);
        }
        for id in self.rooms.others(from) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if peer.forward(from, voice) {
                self.metrics.packets_forwarded.increment();
                self.drain(id);
            }
        }
    }

    /// For a member whose messages pile up: leaving now would change the room under the caller.
    pub(super) fn drop_later(&mut self, id: MemberId) {
        self.events.push_back((id, PeerEvent::Gone));
    }

    pub(super) fn forget_sources(&mut self, id: MemberId) {
        self.sources.retain(|_, member| *member != id);
    }

    /// The first moment at which a connection or a talker needs attention; none when nobody is here.
    fn next_wake(&mut self) -> Option<Instant> {
        let connections = self.peers.values().map(|peer| peer.wake).min();
        let talkers = self.rooms.members_mut().filter_map(|member| member.talking.deadline()).min();
        connections.into_iter().chain(talkers).min()
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
