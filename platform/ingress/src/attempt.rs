//! One endpoint is asked for an answer.

use std::{mem::take, net::SocketAddr, sync::Arc};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::upgrade::OnUpgrade;
use tracing::{debug, info};

use crate::{
    alarm::Alarm,
    annotations::Settings,
    exchange::{ConnectError, Connection, ExchangeError},
    headers::{self, Forwarded},
    pool::Pool,
    respond::{self, AnswerBody},
    tasks::Tasks,
    upgrade,
    upload::{self, RequestBody, Upload},
};

pub struct Attempt<'a> {
    pub pool: &'a Arc<Pool>,
    pub tasks: &'a Tasks,
    pub request: &'a Forwarded<'a>,
    pub upload: Option<&'a Upload>,
    pub settings: Settings,
}

/// Why there is no answer.
pub enum Failure {
    /// The request had no effect, its body is whole, and it may be sent elsewhere. This is to answer if there is no other
    /// place.
    Next(StatusCode),
    /// It may have had an effect, or its body is gone.
    Final(StatusCode),
}

impl Attempt<'_> {
    /// Over a connection that rested, else over a new one. A backend may close one at rest at any time, even while a
    /// request is on its way to it: that is no failure, the next connection is used.
    pub async fn http1(
        &self,
        body: &mut RequestBody,
        address: SocketAddr,
        client: &mut Option<OnUpgrade>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let is_idempotent = is_idempotent(&self.request.parts.method);
        if is_idempotent {
            body.keep();
        }
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
            let mut alarm = take(&mut connection.alarm);
            let exchange = connection.ask(self.request, take(body));
            let outcome = upload::while_in_progress(exchange, self.upload, &self.settings, &mut alarm).await;
            connection.alarm = alarm;
            let error = match outcome {
                Some(Ok(answer)) => return Ok(self.answer(answer, connection, client)),
                Some(Err(error)) => error,
                None => return Err(self.stalled()),
            };
            debug!(%address, error = &error as &dyn std::error::Error, reused, "backend gave no answer");
            if let ExchangeError::Request(_) | ExchangeError::Malformed(_) = error {
                return Err(self.lost());
            }
            if let Some(unsent) = connection.take_unsent() {
                *body = unsent;
            } else {
                let again = is_idempotent.then(|| connection.take_again()).flatten();
                *body = again.ok_or_else(|| self.lost())?;
                // One that was lost on its way is not entrusted to another old connection.
                fresh = true;
            }
            if !reused {
                return Err(Failure::Next(StatusCode::BAD_GATEWAY));
            }
        }
    }

    pub async fn http2(
        &self,
        body: &mut RequestBody,
        address: SocketAddr,
    ) -> Result<Response<AnswerBody>, Failure> {
        let mut sender = match self.pool.http2(address, self.settings.connect_timeout).await {
            Ok(sender) => sender,
            Err(error) => return Err(refused(address, &error)),
        };
        let exchange = sender.try_send_request(to_http2(self.request, take(body), address));
        let mut alarm = Alarm::default();
        match upload::while_in_progress(exchange, self.upload, &self.settings, &mut alarm).await {
            Some(Ok(mut response)) => {
                headers::drop_hop_by_hop(response.headers_mut());
                Ok(response.map(AnswerBody::Http2))
            }
            Some(Err(mut error)) => match error.take_message() {
                Some(unsent) => {
                    *body = unsent.into_body();
                    Err(Failure::Next(StatusCode::BAD_GATEWAY))
                }
                None => Err(self.lost()),
            },
            None => Err(self.stalled()),
        }
    }

    fn answer(
        &self,
        answer: Response<()>,
        connection: Box<Connection>,
        client: &mut Option<OnUpgrade>,
    ) -> Response<AnswerBody> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            // The connection now belongs to the two ends.
            return match client.take() {
                Some(client) => upgrade::join(client, answer, *connection, self.tasks),
                None => respond::plain(StatusCode::BAD_GATEWAY),
            };
        }
        answer.map(|()| AnswerBody::over(connection, self.pool))
    }

    /// The request was sent, at least in part, or cannot be, and no answer came that can be passed on.
    fn lost(&self) -> Failure {
        Failure::Final(self.upload.and_then(Upload::fault).unwrap_or(StatusCode::BAD_GATEWAY))
    }

    fn stalled(&self) -> Failure {
        Failure::Final(self.upload.map_or(StatusCode::GATEWAY_TIMEOUT, Upload::stalled))
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

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// HTTP/2 names scheme and host in the address; gRPC wants trailers announced.
fn to_http2(request: &Forwarded<'_>, body: RequestBody, address: SocketAddr) -> Request<RequestBody> {
    let mut made = Request::new(body);
    *made.method_mut() = request.parts.method.clone();
    *made.version_mut() = Version::HTTP_2;
    let mut host = None;
    let headers = made.headers_mut();
    request.each(|name, value| {
        if *name == header::HOST {
            host = Some(value.clone());
        } else {
            headers.append(name, value.clone());
        }
    });
    headers.extend(request.arrival.headers.iter().cloned());
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let uri = Uri::builder().scheme("http").path_and_query(request.target());
    let uri = match host.as_ref().and_then(|host| host.to_str().ok()) {
        Some(authority) => uri.authority(authority),
        None => uri.authority(address.to_string()),
    };
    if let Ok(uri) = uri.build() {
        *made.uri_mut() = uri;
    }
    made
}
