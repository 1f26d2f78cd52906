//! `pods/log`: the node's log stream as the body of the answer.

use futures::{StreamExt, TryStreamExt};
use http::{HeaderValue, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{
    Context, containers,
    options::{LogOptions, Options},
};
use crate::{
    LogRequest,
    status::Status,
    types::{BoxError, Response, body_from},
};

pub async fn serve(context: Context) -> Result<Response, Status> {
    let options = LogOptions::parse(&context.query, context.pod_name())?;
    let container = containers::choose(&context.pod, Options(&context.query).text("container"))?;
    // A Pod that is not scheduled yet has no logs, and that is no error.
    if context.require_host().is_err() {
        return Ok(plain(body_from("")));
    }
    containers::has_logs(&context.pod, &container, options.previous)?;
    let request = LogRequest {
        pod_uid: context.pod_uid(),
        namespace: context.pod.metadata.namespace.clone().unwrap_or_default(),
        pod: context.pod_name().to_owned(),
        container,
        follow: options.follow,
        previous: options.previous,
        timestamps: options.timestamps,
        since_seconds: options.since_seconds,
        since_time: options.since_time,
        tail_lines: options.tail_lines,
        limit_bytes: options.limit_bytes,
    };
    let lines = context.access.logs(request).await?;
    let lines = lines
        .take_until(context.stop.cancelled_owned())
        .map_ok(Frame::data)
        .map_err(|error| Box::new(error) as BoxError);
    Ok(plain(StreamBody::new(lines).boxed_unsync()))
}

fn plain(body: crate::types::Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
