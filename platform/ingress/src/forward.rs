//! One request from its route to its answer.
//!
//! Invariant: a request is tried again only where it cannot have had an effect: it was never sent, or it is
//! idempotent, has no body, and got no answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use http::{Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use tokio::sync::OnceCell;
use tracing::{debug, info};

use crate::{
    annotations::Protocol,
    backend::{Backend, Target},
    headers::{self, Arrival},
    pool::{Lease, Pool},
    respond::{self, AnswerBody},
    table::Table,
    upgrade,
};

pub type UpstreamBody = Either<Incoming, Empty<Bytes>>;

/// As ingress-nginx's `proxy-read-timeout`, until the head of the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Endpoints that are tried before the client hears of it.
const MAX_TRIES: usize = 4;

pub struct Forwarder {
    pub pool: Arc<Pool>,
    http_port: u16,
    https_port: u16,
    resolver: OnceCell<TokioResolver>,
}

/// Why a try gave no answer.
enum Failure {
    /// The request was not sent, or may be sent again: here it is.
    Retry(Box<Request<UpstreamBody>>),
    /// It may have had an effect.
    Final(StatusCode),
}

impl Forwarder {
    pub fn new(http_port: u16, https_port: u16) -> Forwarder {
        Forwarder { pool: Arc::default(), http_port, https_port, resolver: OnceCell::new() }
    }

    pub async fn handle(
        &self,
        table: &Table,
        request: Request<Incoming>,
        peer: SocketAddr,
        tls: bool,
    ) -> Response<AnswerBody> {
        let host = host(&request);
        let Some(route) = table.router.find(host, request.uri().path()) else {
            return respond::plain(StatusCode::NOT_FOUND);
        };
        if route.redirect && !tls {
            return respond::redirect(&self.https_location(host, request.uri()));
        }
        let Some(addresses) = self.addresses(&route.backend).await else {
            return respond::plain(StatusCode::SERVICE_UNAVAILABLE);
        };
        let arrival = Arrival { peer, tls, port: if tls { self.https_port } else { self.http_port } };
        let protocol = route.backend.protocol;
        let turn = route.backend.turn();
        self.forward(request, &arrival, protocol, turn, &addresses).await
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        arrival: &Arrival,
        protocol: Protocol,
        turn: usize,
        addresses: &[SocketAddr],
    ) -> Response<AnswerBody> {
        let client = upgrade_of(&mut request);
        let (mut parts, body) = request.into_parts();
        headers::prepare(&mut parts, arrival, client.is_some());
        let body = if body.is_end_stream() { Either::Right(Empty::new()) } else { Either::Left(body) };
        let mut request = Request::from_parts(parts, body);
        for attempt in 0..addresses.len().min(MAX_TRIES) * 2 {
            let address = addresses[(turn + attempt) % addresses.len()];
            let tried = match protocol {
                Protocol::Http1 => self.try_http1(request, address, attempt >= addresses.len()).await,
                Protocol::Http2 => self.try_http2(request, address).await,
            };
            match tried {
                Ok((response, lease)) => return self.answer(response, lease, client),
                Err(Failure::Retry(again)) => request = *again,
                Err(Failure::Final(status)) => return respond::plain(status),
            }
        }
        respond::plain(StatusCode::BAD_GATEWAY)
    }

    fn answer(
        &self,
        mut response: Response<Incoming>,
        lease: Option<Lease>,
        client: Option<hyper::upgrade::OnUpgrade>,
    ) -> Response<AnswerBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // The connection now belongs to the two ends.
            return match client {
                Some(client) => upgrade::join(client, response),
                None => respond::plain(StatusCode::BAD_GATEWAY),
            };
        }
        headers::drop_hop_by_hop(response.headers_mut());
        response.map(|body| AnswerBody::from_backend(body, self.pool.clone(), lease))
    }

    /// `fresh`: no connection that rested, as those of all addresses have failed.
    async fn try_http1(
        &self,
        request: Request<UpstreamBody>,
        address: SocketAddr,
        fresh: bool,
    ) -> Result<(Response<Incoming>, Option<Lease>), Failure> {
        let lease =
            if fresh { self.pool.connect_http1(address).await } else { self.pool.http1(address).await };
        let mut lease = match lease {
            Ok(lease) => lease,
            Err(error) => {
                info!(%address, error = &error as &dyn std::error::Error, "backend does not take connections");
                return Err(Failure::Retry(Box::new(request)));
            }
        };
        let again = replayable(&request).then(|| clone_head(&request));
        match tokio::time::timeout(ANSWER_TIMEOUT, lease.sender.try_send_request(request)).await {
            Ok(Ok(response)) => Ok((response, Some(lease))),
            Ok(Err(mut error)) => {
                debug!(%address, error = %error.error(), reused = lease.reused, "backend gave no answer");
                match error.take_message().or(again) {
                    Some(request) => Err(Failure::Retry(Box::new(request))),
                    None => Err(Failure::Final(StatusCode::BAD_GATEWAY)),
                }
            }
            Err(_) => Err(Failure::Final(StatusCode::GATEWAY_TIMEOUT)),
        }
    }

    async fn try_http2(
        &self,
        mut request: Request<UpstreamBody>,
        address: SocketAddr,
    ) -> Result<(Response<Incoming>, Option<Lease>), Failure> {
        let mut sender = match self.pool.http2(address).await {
            Ok(sender) => sender,
            Err(error) => {
                info!(%address, error = &error as &dyn std::error::Error, "backend does not take connections");
                return Err(Failure::Retry(Box::new(request)));
            }
        };
        to_http2(&mut request, address);
        match tokio::time::timeout(ANSWER_TIMEOUT, sender.try_send_request(request)).await {
            Ok(Ok(response)) => Ok((response, None)),
            Ok(Err(mut error)) => match error.take_message() {
                Some(request) => Err(Failure::Retry(Box::new(request))),
                None => Err(Failure::Final(StatusCode::BAD_GATEWAY)),
            },
            Err(_) => Err(Failure::Final(StatusCode::GATEWAY_TIMEOUT)),
        }
    }

    /// `None`: nowhere to go.
    async fn addresses<'a>(&self, backend: &'a Backend) -> Option<std::borrow::Cow<'a, [SocketAddr]>> {
        match &backend.target {
            Target::Endpoints(addresses) if !addresses.is_empty() => Some(addresses.as_ref().into()),
            Target::Endpoints(_) | Target::Absent => None,
            Target::Dns { host, port } => Some(self.resolve(host, *port).await?.into()),
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let resolver =
            self.resolver.get_or_try_init(|| async { TokioResolver::builder_tokio()?.build() }).await;
        let resolver = resolver.inspect_err(|error| info!(%error, "resolver could not be set up")).ok()?;
        let found = resolver
            .lookup_ip(host)
            .await
            .inspect_err(|error| info!(host, %error, "backend's name could not be resolved"));
        let addresses: Vec<SocketAddr> =
            found.ok()?.iter().map(|address| SocketAddr::new(address, port)).collect();
        (!addresses.is_empty()).then_some(addresses)
    }

    fn https_location(&self, host: &str, uri: &Uri) -> String {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        match self.https_port {
            443 => format!("https://{name}{path}"),
            port => format!("https://{name}:{port}{path}"),
        }
    }
}

fn host(request: &Request<Incoming>) -> &str {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    authority.or(header).unwrap_or_default()
}

/// The client's side of a connection that is about to leave HTTP.
fn upgrade_of(request: &mut Request<Incoming>) -> Option<hyper::upgrade::OnUpgrade> {
    headers::is_upgrade(request).then(|| hyper::upgrade::on(request))
}

fn replayable(request: &Request<UpstreamBody>) -> bool {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    idempotent && matches!(request.body(), Either::Right(_))
}

fn clone_head(request: &Request<UpstreamBody>) -> Request<UpstreamBody> {
    let mut copy = Request::new(Either::Right(Empty::new()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// HTTP/2 names scheme and host in the address; gRPC wants trailers announced.
fn to_http2(request: &mut Request<UpstreamBody>, address: SocketAddr) {
    let host = request.headers_mut().remove(header::HOST);
    let authority =
        host.as_ref().and_then(|host| host.to_str().ok()).map_or_else(|| address.to_string(), str::to_string);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_string();
    if let Ok(uri) = Uri::builder().scheme("http").authority(authority).path_and_query(path).build() {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().insert(header::TE, http::HeaderValue::from_static("trailers"));
}
