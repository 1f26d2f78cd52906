//! Members played by str0m itself, over loopback UDP: everything but the browser.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, Input, Output, Rtc,
    change::SdpOffer,
    media::{Direction, MediaTime, Mid},
    net::{Protocol, Receive},
};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{OUTBOX, Sfu, build};
use crate::{
    config::Config,
    crypto,
    messages::ToBrowser,
    metrics::Metrics,
    rooms::{MemberId, MemberView, RoomId},
};

/// Only a broken server takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// One Opus frame.
const FRAME: Duration = Duration::from_millis(20);

/// The server and its members; all end with it.
struct World {
    sfu: Sfu,
    metrics: Arc<Metrics>,
    address: SocketAddr,
    tasks: JoinSet<()>,
}

/// What a member has heard and been told.
#[derive(Clone, Default)]
struct Experience {
    packets: usize,
    members: Vec<MemberView>,
}

impl Experience {
    fn sees(&self, name: &str, condition: impl Fn(&MemberView) -> bool) -> bool {
        self.members.iter().any(|member| member.name == name && condition(member))
    }
}

#[tokio::test]
async fn members_of_a_room_hear_each_other() {
    let mut world = World::new().await;
    let (_, mut ada) = world.join("sea", "Ada").await;
    let (_, mut bob) = world.join("sea", "Bob").await;
    until(&mut ada, |ada| ada.packets > 5).await;
    until(&mut bob, |bob| bob.packets > 5 && bob.sees("Ada", |ada| ada.talking)).await;
}

#[tokio::test]
async fn other_rooms_hear_nothing() {
    let mut world = World::new().await;
    let (_, mut ada) = world.join("sea", "Ada").await;
    let (_, mut bob) = world.join("sea", "Bob").await;
    let (_, eve) = world.join("land", "Eve").await;
    until(&mut ada, |ada| ada.packets > 5).await;
    until(&mut bob, |bob| bob.packets > 5).await;
    assert_eq!(eve.borrow().packets, 0);
    assert_eq!(eve.borrow().members.len(), 1);
}

#[tokio::test]
async fn a_muted_member_is_not_forwarded() {
    let mut world = World::new().await;
    let (ada, _) = world.join("sea", "Ada").await;
    let (bob, mut bobs) = world.join("sea", "Bob").await;
    until(&mut bobs, |bob| bob.packets > 5).await;
    for id in [ada, bob] {
        world.sfu.mute(id, true).await.unwrap();
    }
    until(&mut bobs, |bob| bob.members.iter().all(|member| member.muted && !member.talking)).await;
    let (received, forwarded) = (world.metrics.packets_received.get(), world.metrics.packets_forwarded.get());
    let more = async {
        while world.metrics.packets_received.get() < received + 10 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, more).await.expect("packets still arrive");
    assert_eq!(world.metrics.packets_forwarded.get(), forwarded);
}

#[tokio::test]
async fn lines_come_and_go_with_members() {
    let mut world = World::new().await;
    let (_, mut ada) = world.join("sea", "Ada").await;
    for name in ["Bob", "Cid", "Dan"] {
        let (guest, mut experience) = world.join("sea", name).await;
        let before = ada.borrow().packets;
        until(&mut ada, |ada| ada.packets > before + 5 && ada.members.len() == 2).await;
        until(&mut experience, |guest| guest.packets > 5).await;
        world.sfu.leave_soon(guest);
        until(&mut ada, |ada| ada.members.len() == 1).await;
    }
}

#[tokio::test]
async fn all_may_leave_at_once() {
    let world = World::new().await;
    let (outbox, _inbox) = mpsc::channel(100 * OUTBOX);
    let room = |at: usize| RoomId::parse(&format!("room{}", at % 10)).unwrap();
    let mut members = Vec::new();
    for at in 0..3 * super::COMMANDS {
        members.push(world.sfu.join(room(at), "Ada".into(), outbox.clone()).await.unwrap().unwrap());
    }
    // Nobody waits in between, so the SFU has no turn before all have left.
    for id in members {
        world.sfu.leave_soon(id);
    }
    let empty = async {
        for at in 0..10 {
            while !world.sfu.present(room(at)).await.unwrap().is_empty() {}
        }
    };
    timeout(DEADLINE, empty).await.expect("the rooms are empty");
}

#[tokio::test]
async fn nonsense_on_the_udp_port_harms_nobody() {
    let mut world = World::new().await;
    let (_, mut ada) = world.join("sea", "Ada").await;
    let (_, _bob) = world.join("sea", "Bob").await;
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    for length in [0, 1, 3, 20, 1500] {
        for first in [0, 22, 128, 255] {
            stranger.send_to(&vec![first; length], world.address).await.unwrap();
        }
    }
    until(&mut ada, |ada| ada.packets > 5).await;
}

async fn until(experience: &mut watch::Receiver<Experience>, condition: impl Fn(&Experience) -> bool) {
    let waited = timeout(DEADLINE, experience.wait_for(condition)).await;
    waited.expect("the condition holds in time").expect("the member is still there");
}

impl World {
    async fn new() -> World {
        let config = Config {
            port: 0,
            udp_port: 0,
            ip: Ipv4Addr::LOCALHOST.into(),
            public_udp: None,
            frontend: "frontend".into(),
            drain: Duration::ZERO,
        };
        let metrics = Arc::new(Metrics::new(Instant::now()));
        let (sfu, task) = build(&config, metrics.clone()).await.unwrap();
        let (address, mut tasks) = (task.address(), JoinSet::new());
        tasks.spawn(task.run(CancellationToken::new()));
        World { sfu, metrics, address, tasks }
    }

    /// A member who talks all the time.
    async fn join(&mut self, room: &str, name: &str) -> (MemberId, watch::Receiver<Experience>) {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let room = RoomId::parse(room).unwrap();
        let id = self.sfu.join(room, name.into(), outbox).await.unwrap().unwrap();
        let (experience, watcher) = watch::channel(Experience::default());
        let member = Member::new(id, self.sfu.clone(), experience).await;
        self.tasks.spawn(member.run(inbox));
        (id, watcher)
    }
}

struct Member {
    id: MemberId,
    sfu: Sfu,
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    microphone: Option<Mid>,
    frames: u64,
    experience: watch::Sender<Experience>,
}

impl Member {
    async fn new(id: MemberId, sfu: Sfu, experience: watch::Sender<Experience>) -> Member {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let local = socket.local_addr().unwrap();
        let builder = Rtc::builder().set_crypto_provider(Arc::new(crypto::provider()));
        let mut rtc = builder.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).unwrap());
        Member { id, sfu, rtc, socket, local, microphone: None, frames: 0, experience }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<ToBrowser>) {
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = [0; 2000];
        loop {
            let wake = self.drain().await;
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.listen(message).await,
                    None => return,
                },
                received = self.socket.recv_from(&mut buffer) => {
                    let (length, source) = received.unwrap();
                    let contents = buffer[..length].try_into().unwrap();
                    let received = Receive { proto: Protocol::Udp, source, destination: self.local, contents };
                    self.rtc.handle_input(Input::Receive(Instant::now(), received)).unwrap();
                }
                _ = frames.tick() => self.talk(),
                () = sleep_until(wake.into()) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
                }
            }
        }
    }

    async fn listen(&mut self, message: ToBrowser) {
        match message {
            ToBrowser::Offer(offer) => {
                let offer = SdpOffer::from_sdp_string(&offer.sdp).unwrap();
                let answer = self.rtc.sdp_api().accept_offer(offer).unwrap();
                self.sfu.answer(self.id, answer.to_sdp_string()).await.unwrap();
            }
            ToBrowser::Welcome { members, .. } => self.experience.send_modify(|seen| seen.members = members),
            ToBrowser::Joined { member } => self.experience.send_modify(|seen| seen.members.push(member)),
            ToBrowser::Changed { member } => self.experience.send_modify(|seen| {
                let known = seen.members.iter_mut().find(|known| known.id == member.id);
                *known.expect("a member who changes has joined") = member;
            }),
            ToBrowser::Left { id } => {
                self.experience.send_modify(|seen| seen.members.retain(|member| member.id != id));
            }
            ToBrowser::Error { message } => panic!("refused: {message}"),
        }
    }

    fn talk(&mut self) {
        let Some(writer) = self.microphone.and_then(|line| self.rtc.writer(line)) else { return };
        let Some(format) = writer.payload_params().next().map(|params| params.pt()) else { return };
        self.frames += 1;
        let time = MediaTime::from_millis(self.frames * FRAME.as_millis() as u64);
        writer.audio_level(-20, true).write(format, Instant::now(), time, vec![7; 40]).unwrap();
    }

    async fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(wake) => return wake,
                Output::Transmit(datagram) => {
                    self.socket.send_to(&datagram.contents, datagram.destination).await.unwrap();
                }
                Output::Event(Event::MediaAdded(line)) if line.direction == Direction::SendOnly => {
                    self.microphone = Some(line.mid);
                }
                Output::Event(Event::MediaData(voice)) => {
                    assert_eq!(voice.data[..], [7; 40], "voice comes through unchanged");
                    self.experience.send_modify(|seen| seen.packets += 1);
                }
                Output::Event(_) => {}
            }
        }
    }
}
