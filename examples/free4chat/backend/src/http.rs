//! The routes: API, page, and the upgrade to signalling.
//!
//! | path | |
//! |---|---|
//! | `GET /{room}` | the page, or with `Upgrade: websocket` the signalling of that room |
//! | `GET /`, `GET /assets/{file}` | the page |
//! | `GET /api/rooms/{id}` | who is in a room |
//! | `GET /api/stats` | numbers about this server |
//! | `GET /healthz`, `GET /metrics` | for Kubernetes and Prometheus |

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{assets::Assets, metrics::Metrics, rooms::RoomId, sfu::Sfu, signalling};

type Answer = Response<Full<Bytes>>;

/// What every request needs.
#[derive(Clone)]
pub struct App {
    pub sfu: Sfu,
    pub metrics: Arc<Metrics>,
    pub assets: Arc<Assets>,
    /// Owns the signalling sessions.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

#[derive(Debug, PartialEq)]
enum Route<'a> {
    Health,
    Metrics,
    Stats,
    Room(&'a str),
    Asset(&'a str),
    Page { room: Option<&'a str> },
    Unknown,
}

impl Route<'_> {
    fn of(path: &str) -> Route<'_> {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match segments[..] {
            ["healthz"] => Route::Health,
            ["metrics"] => Route::Metrics,
            ["api", "stats"] => Route::Stats,
            ["api", "rooms", id] => Route::Room(id),
            ["assets", file] => Route::Asset(file),
            [""] => Route::Page { room: None },
            ["api" | "assets"] => Route::Unknown,
            [room] => Route::Page { room: Some(room) },
            _ => Route::Unknown,
        }
    }
}

impl App {
    /// Never fails: whatever goes wrong is an answer.
    pub async fn handle(self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refusal = failure(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed here");
            refusal.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return Ok(refusal);
        }
        let path = request.uri().path().to_owned();
        Ok(match Route::of(&path) {
            Route::Health => text("text/plain", "ok\n"),
            Route::Metrics => text("text/plain; version=0.0.4", self.metrics.prometheus()),
            Route::Stats => success(&self.metrics.stats()),
            Route::Room(id) => self.room(id).await,
            Route::Asset(name) => self.asset(name),
            Route::Page { room: None } => self.asset("index.html"),
            Route::Page { room: Some(room) } => match RoomId::parse(room) {
                Ok(room) if wants_websocket(&request) => self.signalling(room, request),
                Ok(_) => self.asset("index.html"),
                Err(error) => failure(StatusCode::BAD_REQUEST, error.to_string()),
            },
            Route::Unknown => failure(StatusCode::NOT_FOUND, "no such page"),
        })
    }

    async fn room(&self, id: &str) -> Answer {
        let room = match RoomId::parse(id) {
            Ok(room) => room,
            Err(error) => return failure(StatusCode::BAD_REQUEST, error.to_string()),
        };
        match self.sfu.present(room).await {
            Ok(members) => success(&json!({ "id": id, "members": members })),
            Err(error) => failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }

    fn asset(&self, name: &str) -> Answer {
        match self.assets.get(name) {
            Some(asset) => page(asset.content_type, asset.body.clone()),
            None => failure(StatusCode::NOT_FOUND, "no such file"),
        }
    }

    /// Answers with 101; the session starts once that is on the wire.
    fn signalling(self, room: RoomId, mut request: Request<Incoming>) -> Answer {
        let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
            return failure(StatusCode::BAD_REQUEST, "a WebSocket handshake needs `Sec-WebSocket-Key`");
        };
        let accept = derive_accept_key(key.as_bytes());
        let upgrade = hyper::upgrade::on(&mut request);
        let App { sfu, stop, tasks, .. } = self;
        tasks.spawn(async move {
            let Ok(connection) = upgrade.await else { return };
            let (io, config) = (TokioIo::new(connection), signalling::websocket_config());
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            signalling::serve(socket, room, sfu, stop).await;
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, accept);
        response.body(Full::default()).expect("the accept key is a valid header")
    }
}

fn wants_websocket(request: &Request<Incoming>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn text(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    respond(StatusCode::OK, content_type, body)
}

/// The page may load what is its own, and talk to this server.
fn page(content_type: &'static str, body: Bytes) -> Answer {
    let mut response = respond(StatusCode::OK, content_type, body);
    let policy = "default-src 'self'; connect-src 'self' ws: wss: https:; img-src 'self' data:";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response
}

fn success(value: &Value) -> Answer {
    respond(StatusCode::OK, "application/json", value.to_string())
}

fn failure(status: StatusCode, message: impl Into<String>) -> Answer {
    respond(status, "application/json", json!({ "error": message.into() }).to_string())
}

/// The API is for everyone, so also for pages of other origins.
fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    response.body(Full::new(body.into())).expect("constant headers are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_route() {
        for (path, route) in [
            ("/healthz", Route::Health),
            ("/metrics", Route::Metrics),
            ("/api/stats", Route::Stats),
            ("/api/rooms/lobby", Route::Room("lobby")),
            ("/assets/app.js", Route::Asset("app.js")),
            ("/", Route::Page { room: None }),
            ("/lobby", Route::Page { room: Some("lobby") }),
            ("/api", Route::Unknown),
            ("/api/rooms", Route::Unknown),
            ("/lobby/extra", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
