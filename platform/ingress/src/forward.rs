//! One request from its route to its answer.
//!
//! Invariant: a request is tried again only where that changes nothing: it was never sent, or it is idempotent, its body is
//! still there from the beginning, and it got no answer.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};

use crate::{
    annotations::Protocol,
    attempt::{Attempt, Failure},
    backend::{Backend, Target},
    headers::{self, Arrival, Forwarded},
    names::Names,
    pool::Pool,
    respond::{self, AnswerBody},
    table::Table,
    tasks::Tasks,
    upload::{self, RequestBody, Upload},
};

/// Endpoints that are tried before the client hears of it: ingress-nginx's `proxy-next-upstream-tries`.
const MAX_TRIES: usize = 3;

pub struct Forwarder {
    pub table: Arc<ArcSwap<Table>>,
    pub pool: Arc<Pool>,
    pub tasks: Tasks,
    names: Names,
    https_port: u16,
}

impl Forwarder {
    pub fn new(table: Arc<ArcSwap<Table>>, tasks: Tasks, https_port: u16) -> Forwarder {
        let pool = Arc::new(Pool::new(tasks.clone()));
        Forwarder { table, pool, tasks, names: Names::default(), https_port }
    }

    pub async fn handle(&self, request: Request<Incoming>, arrival: &Arrival) -> Response<AnswerBody> {
        let is_head = *request.method() == Method::HEAD;
        let (parts, body) = request.into_parts();
        let (body, upload) = RequestBody::new(body, &parts, &self.tasks);
        let mut response = self.answer(Request::from_parts(parts, body), arrival, upload.as_deref()).await;
        if let Some(rest) = upload.and_then(|upload| upload.take_rest()) {
            Box::pin(upload::discard(rest)).await;
        }
        // hyper leaves out the body of an answer to HEAD over HTTP/1.1 only; over HTTP/2 a client takes it for an error.
        // How long a backend's answer would be it says itself, or nobody knows.
        if is_head
            && let AnswerBody::Own(body) = response.body_mut()
            && let Some(body) = body.take()
        {
            response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(body.len().into());
        }
        response
    }

    async fn answer(
        &self,
        request: Request<RequestBody>,
        arrival: &Arrival,
        upload: Option<&Upload>,
    ) -> Response<AnswerBody> {
        if let Some(status) = headers::refusal(&request) {
            return respond::plain(status);
        }
        let host = host(request.uri(), request.headers());
        let Some((backend, redirect)) = self.route(host, request.uri().path()) else {
            return respond::plain(StatusCode::NOT_FOUND);
        };
        if redirect && !arrival.tls {
            return respond::redirect(&self.https_location(host, request.uri()));
        }
        if backend.settings.body_limit.is_some_and(|limit| announced_length(&request) > limit) {
            return respond::plain(StatusCode::PAYLOAD_TOO_LARGE);
        }
        self.forward(request, arrival, backend, upload).await
    }

    fn route(&self, host: &str, path: &str) -> Option<(Arc<Backend>, bool)> {
        self.table.load().router.find(host, path).map(|route| (route.backend.clone(), route.redirect))
    }

    async fn forward(
        &self,
        mut request: Request<RequestBody>,
        arrival: &Arrival,
        mut backend: Arc<Backend>,
        upload: Option<&Upload>,
    ) -> Response<AnswerBody> {
        let mut client = upgrade_of(&mut request);
        let (parts, mut body) = request.into_parts();
        let request = Forwarded { parts: &parts, arrival, upgrade: client.is_some() };
        body.limit(backend.settings.body_limit);
        loop {
            let attempt = Attempt {
                pool: &self.pool,
                tasks: &self.tasks,
                request: &request,
                upload,
                settings: backend.settings,
            };
            let status = match self.try_endpoints(&attempt, &mut body, &backend, &mut client).await {
                Ok(response) => return response,
                Err(Failure::Final(status)) => return respond::plain(status),
                Err(Failure::Next(status)) => status,
            };
            // Its pods may just have been replaced: whoever serves the route now is asked too.
            match self.route(host(&parts.uri, &parts.headers), parts.uri.path()) {
                Some((newer, _)) if !Arc::ptr_eq(&newer, &backend) && newer.target != backend.target => {
                    backend = newer;
                }
                _ => return respond::plain(status),
            }
        }
    }

    async fn try_endpoints(
        &self,
        attempt: &Attempt<'_>,
        body: &mut RequestBody,
        backend: &Backend,
        client: &mut Option<OnUpgrade>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let addresses = self.addresses(backend).await;
        let mut failed = Failure::Next(StatusCode::SERVICE_UNAVAILABLE);
        let turn = if addresses.len() > 1 { backend.turn() } else { 0 };
        for offset in 0..addresses.len().min(MAX_TRIES) {
            let address = addresses[turn.wrapping_add(offset) % addresses.len()];
            let tried = match attempt.settings.protocol {
                Protocol::Http1 => attempt.http1(body, address, client).await,
                // In a box, so that the future of a request over HTTP/1.1 is small.
                Protocol::Http2 => Box::pin(attempt.http2(body, address)).await,
            };
            match tried {
                Ok(response) => return Ok(response),
                Err(Failure::Next(status)) => failed = Failure::Next(status),
                Err(Failure::Final(status)) => return Err(Failure::Final(status)),
            }
        }
        Err(failed)
    }

    /// Empty: nowhere to go.
    async fn addresses<'a>(&self, backend: &'a Backend) -> Cow<'a, [SocketAddr]> {
        match &backend.target {
            Target::Endpoints(addresses) => addresses.as_ref().into(),
            Target::Absent => Cow::Borrowed(&[]),
            Target::Dns { host, port } => {
                let dns = self.table.load().dns;
                Box::pin(self.names.resolve(dns, host, *port)).await.into()
            }
        }
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

fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let authority = uri.authority().map(|authority| authority.as_str());
    let header = || headers.get(header::HOST).and_then(|value| value.to_str().ok());
    authority.or_else(header).unwrap_or_default()
}

/// The client's side of a connection that is about to leave HTTP.
fn upgrade_of(request: &mut Request<RequestBody>) -> Option<OnUpgrade> {
    headers::is_upgrade(request).then(|| hyper::upgrade::on(request))
}

/// 0 where the client does not tell: then the bytes are counted as they come.
fn announced_length(request: &Request<RequestBody>) -> u64 {
    http_body::Body::size_hint(request.body()).exact().unwrap_or_default()
}
