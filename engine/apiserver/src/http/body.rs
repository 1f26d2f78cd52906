//! Request bodies: bounded, and given up on when they do not arrive.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{
    status::Status,
    types::{Body, Request},
};

/// As on a stock server.
pub const LIMIT_BYTES: usize = 3 * 1024 * 1024;
const ARRIVAL: Duration = Duration::from_secs(60);

/// The whole body and its Content-Type.
pub async fn read(request: Request) -> Result<(Option<String>, Bytes), Status> {
    let content_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(String::from);
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > LIMIT_BYTES) {
        return Err(Status::too_large(LIMIT_BYTES));
    }
    let bytes = collect(request.into_body()).await?;
    Ok((content_type, bytes))
}

async fn collect(body: Body) -> Result<Bytes, Status> {
    let arrived = tokio::time::timeout(ARRIVAL, Limited::new(body, LIMIT_BYTES).collect()).await;
    match arrived {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Status::too_large(LIMIT_BYTES)),
        Ok(Err(error)) => Err(Status::bad_request(format!("read request body: {error}"))),
        Err(_) => Err(Status::timeout("request body did not arrive", 0)),
    }
}
