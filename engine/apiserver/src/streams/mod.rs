//! The subresources of a Pod that are no objects: `log`, `exec`, `attach`, `portforward`.
//!
//! Kept true: the node is asked before the connection is upgraded, so that what it refuses is an ordinary `Status`; when
//!            either side goes away everything between the two ends with it; data waits for the slower side.
//! Reads:     the Pod, the request. Writes: nothing but the streams.
//! Source:    https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets

mod channels;
mod containers;
mod exec;
mod logs;
pub mod messages;
mod mux;
mod options;
mod port_forward;
mod spdy;
#[cfg(test)]
mod tests;
mod tunnel;
mod upgrade;

use std::{future::Future, sync::Arc};

use coracle_store::Object;
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use self::messages::Split;
use crate::{
    PodAccess, PodAccessError,
    authz::Attributes,
    http::call::LONG_RUNNING,
    request_info::query_pairs,
    status::Status,
    types::{Request, Response, State, UserInfo},
};

/// What a stream needs to know, taken from the request once.
struct Context {
    access: Arc<dyn PodAccess>,
    pod: Arc<Pod>,
    query: Vec<(String, String)>,
    stop: CancellationToken,
}

/// Serves one of the subresources. The request is authorized already.
pub async fn serve(
    state: &State,
    user: &UserInfo,
    pod: Arc<Object>,
    subresource: &str,
    request: Request,
) -> Response {
    match try_serve(state, user, pod, subresource, request).await {
        Ok(response) => response,
        Err(status) => status.into_response(),
    }
}

async fn try_serve(
    state: &State,
    user: &UserInfo,
    pod: Arc<Object>,
    subresource: &str,
    request: Request,
) -> Result<Response, Status> {
    if subresource != "log" && request.method() == Method::GET {
        may_create(state, user, &pod, subresource)?;
    }
    let access = state.pod_access.read().clone();
    let context = Context {
        access: access
            .ok_or_else(|| Status::service_unavailable("the node is not ready to serve its pods yet"))?,
        pod: pod.decode::<Pod>().map_err(Status::internal)?,
        query: query_pairs(request.uri().query()),
        stop: state.stop.clone(),
    };
    dispatch(context, subresource, request).await
}

async fn dispatch(context: Context, subresource: &str, request: Request) -> Result<Response, Status> {
    match subresource {
        "log" if messages::are_wanted(request.headers()) => {
            let stop = context.stop.clone();
            let lines = logs::serve(context).await?.into_body();
            messages::serve(stop, request, lines, Split::Chunks)
        }
        "log" => logs::serve(context).await,
        "exec" | "attach" => exec::serve(context, subresource == "attach", request).await,
        "portforward" => port_forward::serve(context, request).await,
        _ => Err(Status::unknown_path()),
    }
}

/// A WebSocket begins with GET, but what it opens is a command: whoever may only `get` must not run it (1.35 on).
fn may_create(state: &State, user: &UserInfo, pod: &Object, subresource: &str) -> Result<(), Status> {
    let attributes = Attributes {
        verb: "create".into(),
        version: "v1".into(),
        resource: "pods".into(),
        subresource: subresource.into(),
        namespace: pod.key.namespace.to_string(),
        name: pod.key.name.to_string(),
        ..Attributes::default()
    };
    state.authorizer.require(user, &attributes)
}

impl Context {
    fn pod_name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    fn pod_uid(&self) -> String {
        self.pod.metadata.uid.clone().unwrap_or_default()
    }

    fn require_host(&self) -> Result<(), Status> {
        let node = self.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() {
            return Err(Status::bad_request(format!(
                "pod {} does not have a host assigned",
                self.pod_name()
            )));
        }
        Ok(())
    }
}

impl From<PodAccessError> for Status {
    fn from(error: PodAccessError) -> Status {
        match error {
            PodAccessError::BadRequest(message) => Status::bad_request(message),
            PodAccessError::Internal(message) => Status::internal(message),
        }
    }
}

/// Runs what follows an upgrade. It outlives its request, and ends with the connection or with the server.
fn run_upgraded(stop: CancellationToken, session: impl Future<Output = ()> + Send + 'static) {
    // Its request is long-running until the session ends.
    let request = LONG_RUNNING.try_with(Clone::clone).ok().flatten();
    tokio::spawn(async move {
        let _request = request;
        let _ = stop.run_until_cancelled(session).await;
    });
}
