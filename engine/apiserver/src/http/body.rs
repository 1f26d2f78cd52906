//! Request bodies: bounded, and given up on when they do not arrive.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::BodyExt;

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
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > LIMIT_BYTES) {
        return Err(Status::too_large(LIMIT_BYTES));
    }
    let bytes = collect(request.into_body()).await?;
    Ok((content_type, bytes))
}

pub async fn collect(body: Body) -> Result<Bytes, Status> {
    match tokio::time::timeout(ARRIVAL, frames(body)).await {
        Ok(result) => result,
        Err(_) => Err(Status::timeout("request body did not arrive", 0)),
    }
}

async fn frames(mut body: Body) -> Result<Bytes, Status> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("read request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > LIMIT_BYTES {
            return Err(Status::too_large(LIMIT_BYTES));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
