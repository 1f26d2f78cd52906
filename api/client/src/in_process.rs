//! A `kube::Client` straight into the API server of this process: requests and answers never leave memory.

use std::task::{Context, Poll};

use bytes::Bytes;
use kube::client::Body;
use tower::Service;

use crate::Identity;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `service` answers API requests; it finds the identity in each request's extensions. Must be called inside a tokio
/// runtime.
pub fn in_process<S, B>(service: S, identity: Identity) -> kube::Client
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    kube::Client::new(Identified { service, identity }, "default")
}

/// Puts the identity into every request.
struct Identified<S> {
    service: S,
    identity: Identity,
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Identified<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> S::Future {
        request.extensions_mut().insert(self.identity.clone());
        // `kube` also begins queries that are empty; logs show what was asked.
        let bare = request.uri().path_and_query().and_then(|path| path.as_str().strip_suffix('?'));
        if let Some(uri) = bare.and_then(|path| path.parse().ok()) {
            *request.uri_mut() = uri;
        }
        self.service.call(request)
    }
}
