//! One endpoint is asked for an answer.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::upgrade::OnUpgrade;
use tracing::{debug, info};

use crate::{
    alarm::Alarm,
    annotations::Settings,
    exchange::{ConnectError, Connection},
    headers,
    pool::Pool,
    respond::{self, AnswerBody},
    tasks::Tasks,
    upgrade,
    upload::{self, RequestBody, Upload},
};

pub struct Attempt<'a> {
    pub pool: &'a Arc<Pool>,
    pub tasks: &'a Tasks,
    pub upload: Option<&'a Upload>,
    pub settings: Settings,
}

/// Why there is no answer.
pub enum Failure {
    /// The request had no effect, is whole again, and may be sent elsewhere. This is to answer if there is no other place.
    Next(StatusCode),
    /// It may have had an effect, and is gone.
    Final(StatusCode),
}

impl Attempt<'_> {
    /// Over a connection that rested, else over a new one. A backend may close one at rest at any time, even while a
    /// request is on its way to it: that is no failure, the next connection is used.
    pub async fn http1(
        &self,
        request: &mut Request<RequestBody>,
        address: SocketAddr,
        client: &mut Option<OnUpgrade>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let mut fresh = false;
        loop {
            let rested = if fresh { None } else { self.pool.take(address) };
            let reused = rested.is_some();
            let mut connection = match rested {
                Some(connection) => connection,
                // In a box, as it is rare: what is in it makes the future of every request larger.
                None => match Box::pin(Connection::open(address, self.settings.connect_timeout)).await {
                    Ok(connection) => connection,
                    Err(error) => return Err(refused(address, &error)),
                },
            };
            let again = is_replayable(request).then(|| clone_head(request));
            let mut alarm = std::mem::take(&mut connection.alarm);
            let exchange = connection.send(take(request));
            let outcome = upload::while_in_progress(exchange, self.upload, &self.settings, &mut alarm).await;
            connection.alarm = alarm;
            let mut error = match outcome {
                Some(Ok(response)) => return Ok(self.answer(response, connection, client)),
                Some(Err(error)) => error,
                None => return Err(Failure::Final(StatusCode::GATEWAY_TIMEOUT)),
            };
            debug!(%address, error = %error.error(), reused, "backend gave no answer");
            let unsent = error.take_message();
            // One that was lost on its way is not entrusted to another old connection.
            fresh = unsent.is_none();
            let Some(again) = unsent.or(again) else { return Err(self.lost()) };
            *request = again;
            if !reused {
                return Err(Failure::Next(StatusCode::BAD_GATEWAY));
            }
        }
    }

    pub async fn http2(
        &self,
        request: &mut Request<RequestBody>,
        address: SocketAddr,
    ) -> Result<Response<AnswerBody>, Failure> {
        let mut sender = match self.pool.http2(address, self.settings.connect_timeout).await {
            Ok(sender) => sender,
            Err(error) => return Err(refused(address, &error)),
        };
        to_http2(request, address);
        let exchange = sender.try_send_request(take(request));
        let mut alarm = Alarm::default();
        match upload::while_in_progress(exchange, self.upload, &self.settings, &mut alarm).await {
            Some(Ok(mut response)) => {
                headers::drop_hop_by_hop(response.headers_mut());
                Ok(response.map(AnswerBody::Backend))
            }
            Some(Err(mut error)) => match error.take_message() {
                Some(unsent) => {
                    *request = unsent;
                    Err(Failure::Next(StatusCode::BAD_GATEWAY))
                }
                None => Err(self.lost()),
            },
            None => Err(Failure::Final(StatusCode::GATEWAY_TIMEOUT)),
        }
    }

    fn answer(
        &self,
        mut response: Response<hyper::body::Incoming>,
        connection: Connection,
        client: &mut Option<OnUpgrade>,
    ) -> Response<AnswerBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // The connection now belongs to the two ends.
            return match client.take() {
                Some(client) => upgrade::join(client, response, connection, self.tasks),
                None => respond::plain(StatusCode::BAD_GATEWAY),
            };
        }
        headers::drop_hop_by_hop(response.headers_mut());
        response.map(|body| AnswerBody::over(connection, body, self.pool))
    }

    /// The request was sent, at least in part, and no answer came.
    fn lost(&self) -> Failure {
        let exceeded = self.upload.is_some_and(Upload::exceeded);
        Failure::Final(if exceeded { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_GATEWAY })
    }
}

fn refused(address: SocketAddr, error: &ConnectError) -> Failure {
    info!(%address, error = error as &dyn std::error::Error, "backend does not take connections");
    let status = match error {
        ConnectError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        ConnectError::Io(_) | ConnectError::Handshake(_) => StatusCode::BAD_GATEWAY,
    };
    Failure::Next(status)
}

fn is_replayable(request: &Request<RequestBody>) -> bool {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    );
    idempotent && request.body().is_empty()
}

/// What is left has no meaning, until the request is put back.
fn take(request: &mut Request<RequestBody>) -> Request<RequestBody> {
    std::mem::replace(request, Request::new(RequestBody::empty()))
}

fn clone_head(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// HTTP/2 names scheme and host in the address; gRPC wants trailers announced.
fn to_http2(request: &mut Request<RequestBody>, address: SocketAddr) {
    if request.uri().authority().is_none() {
        let host = request.headers_mut().remove(header::HOST);
        let authority = host.as_ref().and_then(|host| host.to_str().ok());
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_string();
        let uri = Uri::builder().scheme("http").path_and_query(path);
        let uri = match authority {
            Some(authority) => uri.authority(authority),
            None => uri.authority(address.to_string()),
        };
        if let Ok(uri) = uri.build() {
            *request.uri_mut() = uri;
        }
    }
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
}
