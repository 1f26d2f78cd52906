//! The server as a tower service: requests from this process, without HTTP.
//!
//! The identity comes as an extension of the request (see [`coracle_client::Identity`]); authorization and admission stay.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt;

use crate::types::{Body, BoxError, Response, State};

#[derive(Clone)]
pub struct ApiService {
    pub state: Arc<State>,
}

impl<B> tower::Service<http::Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let state = self.state.clone();
        let request = request.map(|body| -> Body { body.map_err(Into::into).boxed_unsync() });
        Box::pin(async move { Ok(super::handle(state, request).await) })
    }
}
