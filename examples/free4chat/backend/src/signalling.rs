//! One browser's WebSocket: what it says becomes commands to the SFU, what the room says goes back.
//!
//! Invariant: a member leaves the room when its socket ends, however it ends.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    messages::{FromBrowser, ToBrowser},
    rooms::{MemberId, RoomId},
    sfu::{OUTBOX, Sfu, Stopped},
};

/// Keeps proxies from closing a quiet socket, and finds browsers that vanished.
const PING: Duration = Duration::from_secs(20);

/// The longest message is an SDP answer in a full room.
const LONGEST_MESSAGE: usize = 256 * 1024;

/// Why a session ends. The browser sees it as the close code and reason.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    #[error("the browser left")]
    Left,
    #[error("no sign of life for {PING:?}")]
    Silent,
    #[error("not a message of this protocol: {0}")]
    Protocol(String),
    #[error("{0}")]
    Refused(String),
    #[error("the voice connection was lost")]
    VoiceLost,
    #[error("the server restarts; please join again")]
    Restart,
}

impl From<Stopped> for SessionEnd {
    fn from(_: Stopped) -> SessionEnd {
        SessionEnd::Restart
    }
}

impl SessionEnd {
    fn close_frame(&self) -> CloseFrame {
        let code = match self {
            SessionEnd::Left => CloseCode::Normal,
            SessionEnd::Silent => CloseCode::Away,
            SessionEnd::Protocol(_) | SessionEnd::Refused(_) => CloseCode::Policy,
            SessionEnd::VoiceLost => CloseCode::Again,
            SessionEnd::Restart => CloseCode::Restart,
        };
        // A close frame has room for 123 bytes of reason.
        let reason: String = self.to_string().chars().filter(char::is_ascii).take(120).collect();
        CloseFrame { code, reason: reason.into() }
    }
}

pub fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LONGEST_MESSAGE)).max_frame_size(Some(LONGEST_MESSAGE))
}

/// Serves `socket` until either side ends it, or `stop`.
pub async fn serve<S>(socket: WebSocketStream<S>, room: RoomId, sfu: Sfu, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session { socket, ping: ping(), alive: true };
    let end = tokio::select! {
        () = stop.cancelled() => SessionEnd::Restart,
        end = session.run(room, sfu) => end,
    };
    tracing::debug!(reason = %end, "session ended");
    session.end(end).await;
}

fn ping() -> Interval {
    let mut ping = interval_at(Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping
}

struct Session<S> {
    socket: WebSocketStream<S>,
    ping: Interval,
    /// Something came since the last ping.
    alive: bool,
}

/// Leaves the room when dropped, so also when the session's task is cancelled.
struct Membership {
    id: MemberId,
    sfu: Sfu,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.sfu.leave_soon(self.id);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(&mut self, room: RoomId, sfu: Sfu) -> SessionEnd {
        match self.talk(room, sfu).await {
            Ok(()) => SessionEnd::Left,
            Err(end) => end,
        }
    }

    /// The browser may be gone; there is nobody else to tell.
    async fn end(&mut self, end: SessionEnd) {
        let _ = match end {
            // It has said goodbye itself: the answer is ready and only has to leave.
            SessionEnd::Left => self.socket.flush().await,
            _ => self.socket.close(Some(end.close_frame())).await,
        };
    }

    async fn talk(&mut self, room: RoomId, sfu: Sfu) -> Result<(), SessionEnd> {
        let (outbox, mut inbox) = mpsc::channel(OUTBOX);
        let FromBrowser::Join { name } = self.next().await? else {
            return Err(SessionEnd::Protocol("the first one must be `join`".into()));
        };
        let joined = sfu.join(room, name, outbox).await?;
        let id = match joined {
            Ok(id) => id,
            Err(error) => return self.refuse(error.to_string()).await,
        };
        let _membership = Membership { id, sfu: sfu.clone() };
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.send(&message).await?,
                    None => return Err(SessionEnd::VoiceLost),
                },
                message = self.next() => match message? {
                    FromBrowser::Answer { sdp } => sfu.answer(id, sdp).await?,
                    FromBrowser::Mute { muted } => sfu.mute(id, muted).await?,
                    FromBrowser::Join { .. } => {
                        return Err(SessionEnd::Protocol("a second `join`".into()));
                    }
                },
            }
        }
    }

    async fn refuse(&mut self, message: String) -> Result<(), SessionEnd> {
        self.send(&ToBrowser::Error { message: message.clone() }).await?;
        Err(SessionEnd::Refused(message))
    }

    async fn send(&mut self, message: &ToBrowser) -> Result<(), SessionEnd> {
        let text = serde_json::to_string(message).expect("messages have string keys");
        self.socket.send(Message::text(text)).await.map_err(|_| SessionEnd::Left)
    }

    /// The next message of the protocol; pings and pongs are dealt with here. Cancel safe.
    async fn next(&mut self) -> Result<FromBrowser, SessionEnd> {
        loop {
            tokio::select! {
                received = self.socket.next() => {
                    self.alive = true;
                    match received {
                        Some(Ok(Message::Text(text))) => return parse(&text),
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                        Some(Ok(Message::Binary(_))) => {
                            return Err(SessionEnd::Protocol("binary data".into()));
                        }
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(SessionEnd::Left),
                    }
                }
                _ = self.ping.tick() => {
                    if !std::mem::take(&mut self.alive) {
                        return Err(SessionEnd::Silent);
                    }
                    self.socket.send(Message::Ping(Default::default())).await.map_err(|_| SessionEnd::Left)?;
                }
            }
        }
    }
}

fn parse(text: &str) -> Result<FromBrowser, SessionEnd> {
    serde_json::from_str(text).map_err(|error| SessionEnd::Protocol(error.to_string()))
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn a_goodbye_is_answered() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let mut session = Session { socket: server, ping: ping(), alive: true };
        let mut browser = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
        browser.close(Some(frame.clone())).await.unwrap();
        let end = session.next().await.unwrap_err();
        session.end(end).await;
        assert_eq!(browser.next().await.unwrap().unwrap(), Message::Close(Some(frame)));
    }

    #[test]
    fn the_close_frame_says_whether_to_come_back() {
        let codes = [
            (SessionEnd::Left, CloseCode::Normal),
            (SessionEnd::Restart, CloseCode::Restart),
            (SessionEnd::Refused("x".repeat(500)), CloseCode::Policy),
        ];
        for (end, code) in codes {
            let frame = end.close_frame();
            assert_eq!(frame.code, code);
            assert!(frame.reason.len() <= 123, "{}", frame.reason.len());
        }
    }
}
