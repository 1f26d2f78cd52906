//! How a request leaves HTTP: to a WebSocket, or to SPDY/3.1 as older clients ask.
//!
//! Source: https://www.rfc-editor.org/rfc/rfc6455#section-4.2

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{
    authn::WEBSOCKET_BEARER,
    status::Status,
    types::{Request, Response, body_from},
};

pub type Socket = TokioIo<hyper::upgrade::Upgraded>;
pub type WebSocket = WebSocketStream<Socket>;

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// A message of a client is one write of its own; more than this is no terminal or pipe any more.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Spdy,
}

/// A request that may be upgraded, and the subprotocol that both sides know.
#[derive(Debug)]
pub struct Upgrade {
    pub transport: Transport,
    pub protocol: &'static str,
    pending: OnUpgrade,
    response: Response,
}

impl Upgrade {
    /// `websocket` and `spdy` are the subprotocols we know, best first. Of a WebSocket it may be the empty one.
    pub fn negotiate(
        mut request: Request,
        websocket: &[&'static str],
        spdy: &[&'static str],
    ) -> Result<Upgrade, Status> {
        let headers = request.headers();
        let upgrade = headers
            .get(header::UPGRADE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let mut response = Response::new(body_from(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answer = response.headers_mut();
        answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        let (transport, protocol) = if upgrade == "websocket" {
            let key = websocket_key(request.method(), headers)?;
            let accept =
                HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(Status::internal)?;
            answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            let offered = offered(headers, &header::SEC_WEBSOCKET_PROTOCOL);
            // A client that names none gets the oldest one, binary and without a name, as from a stock server.
            let protocol = if offered.is_empty() { "" } else { choose(&offered, websocket)? };
            if !protocol.is_empty() {
                answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
            }
            (Transport::WebSocket, protocol)
        } else if upgrade.starts_with("spdy/3.1") {
            let protocol = choose(&offered(headers, &STREAM_PROTOCOL), spdy)?;
            answer.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
            answer.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
            (Transport::Spdy, protocol)
        } else {
            return Err(Status::bad_request("Upgrade request required"));
        };
        Ok(Upgrade { transport, protocol, pending: hyper::upgrade::on(&mut request), response })
    }

    /// The answer to the request, and what to wait for before the streams can begin.
    pub fn accept(self) -> (Response, Pending) {
        (self.response, Pending(self.pending))
    }
}

pub struct Pending(OnUpgrade);

impl Pending {
    pub async fn socket(self) -> Option<Socket> {
        self.0
            .await
            .map(TokioIo::new)
            .inspect_err(|error| tracing::debug!(%error, "client left before its upgrade"))
            .ok()
    }

    pub async fn websocket(self) -> Option<WebSocket> {
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        Some(WebSocketStream::from_raw_socket(self.socket().await?, Role::Server, Some(config)).await)
    }
}

fn websocket_key<'a>(method: &Method, headers: &'a HeaderMap) -> Result<&'a str, Status> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    key.filter(|_| version && method == Method::GET)
        .ok_or_else(|| Status::bad_request("websocket: the client does not speak version 13 of the protocol"))
}

/// Of repeated headers and of comma-separated lists alike. What carries a token is no protocol.
fn offered(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|one| one.trim().to_owned())
        .filter(|one| !one.is_empty() && !one.starts_with(WEBSOCKET_BEARER))
        .collect()
}

fn choose(offered: &[String], known: &[&'static str]) -> Result<&'static str, Status> {
    known.iter().find(|known| offered.iter().any(|one| one == *known)).copied().ok_or_else(|| {
        let text = format!("unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}");
        Status::new(403, "Forbidden", text)
    })
}
