//! Subresources: the parts and actions of an object that have a path of their own.

pub mod binding;
pub mod connect;
pub mod eviction;
mod proxy;
pub mod scale;

use http::{Method, StatusCode};

use crate::{
    decode,
    http::{body, resource},
    negotiate::{Offer, accepted_encoding, negotiate},
    options::{Query, WriteOptions},
    request_info::RequestInfo,
    reviews,
    status::{Status, StatusDetails},
    streams,
    types::{Request, Response, State, UserInfo},
    verbs::{self, Target},
};

pub async fn serve(
    state: &State,
    user: &UserInfo,
    info: &RequestInfo,
    target: Target,
    request: Request,
) -> Result<Response, Status> {
    let custom = target.served.custom.is_some();
    let subresource = target.served.subresource(&info.subresource).ok_or_else(|| match custom {
        true => target.not_found(),
        false => Status::unknown_path(),
    })?;
    let passes_all = &*subresource.name == "proxy" && proxy::takes(request.method());
    let no_route = *request.method() == Method::HEAD && !custom;
    if !passes_all && (no_route || !subresource.verbs.iter().any(|verb| **verb == *info.verb)) {
        return Err(Status::method_not_allowed());
    }
    if target.served.api.namespaced && target.namespace.is_empty() {
        return Err(Status::unknown_path());
    }
    if matches!(&*info.subresource, "exec" | "attach" | "portforward" | "proxy") {
        let uri = request.uri().clone();
        let warnings = connect::admit(state, user, &target, &subresource.gvk, info, &uri).await?;
        let mut response = opened(state, user, info, &target, request).await?;
        resource::warn(&mut response, &warnings);
        return Ok(response);
    }
    match &*info.subresource {
        "scale" => scale::serve(state, user, &target, info, request).await,
        "binding" => binding::serve(state, user, &target, request).await,
        "eviction" => eviction::serve(state, user, &target, request).await,
        "log" => opened(state, user, info, &target, request).await,
        "ephemeralcontainers" if info.verb != "get" => Err(unsupported("ephemeral containers are")),
        "resize" if info.verb != "get" => Err(unsupported("resizing a pod in place is")),
        "token" => token(state, user, &target, request).await,
        _ => part(state, user, &target, info, request).await,
    }
}

/// What is a stream and no object.
async fn opened(
    state: &State,
    user: &UserInfo,
    info: &RequestInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    if info.subresource == "proxy" {
        return proxy::serve(state, target, request).await;
    }
    let pod = state.reader.get(&target.key()).ok_or_else(|| target.not_found())?;
    Ok(streams::serve(state, user, pod, &info.subresource, request).await)
}

/// As a server answers that lacks the subresource: details without a name tell kubectl that it isn't the pod that is
/// missing. The kubelet would do nothing of it.
fn unsupported(what: &str) -> Status {
    Status::new(404, "NotFound", format!("{what} not supported by this server"))
        .with_details(StatusDetails::default())
}

/// `/status`, `/finalize` and other views of the same object.
async fn part(
    state: &State,
    user: &UserInfo,
    target: &Target,
    info: &RequestInfo,
    request: Request,
) -> Result<Response, Status> {
    match info.verb.as_str() {
        "get" => {
            let query = Query::parse(request.uri().query());
            let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
            let answer = verbs::get(state, target, query.text("resourceVersion")).await?;
            resource::respond(&target.served, accepted, StatusCode::OK, answer)
        }
        "update" => resource::put(state, user, target, request).await,
        "patch" => resource::patch(state, user, target, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

async fn token(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    let encoding = accepted_encoding(request.headers())?;
    let options = WriteOptions::parse(&Query::parse(request.uri().query()), "CreateOptions")?;
    let (content_type, bytes) = body::read(request).await?;
    let gvk = target.served.subresource("token").ok_or_else(Status::unknown_path)?.gvk.clone();
    let decoded = decode::parse(&bytes, decode::format_of(content_type.as_deref())?, &gvk)?;
    let (mut object, warnings) = decode::posted(decoded, &gvk, options.field_validation)?;
    if state.reader.get(&target.key()).is_none() {
        return Err(target.not_found());
    }
    connect::admit_posted(state, user, target, &mut object, options.dry_run).await?;
    let answer = reviews::create(state, user, target, "serviceaccounts/token", object).await?;
    let mut response = resource::encode(encoding, StatusCode::CREATED, &answer)?;
    resource::warn(&mut response, &warnings);
    Ok(response)
}
