//! Requests for resources: finds what is served under the path and hands the request to its verb.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::{body, lists};
use crate::{
    audit::{self, Notes},
    component_status, decode,
    flow::Held,
    negotiate::{Accepted, Encoding, Offer, negotiate},
    options::{DeleteOptions, ListOptions, Query, WriteOptions},
    present::{Form, Presenter},
    protobuf,
    registry::Served,
    request_info::RequestInfo,
    reviews,
    status::Status,
    streams::messages::{self, Split},
    subresources,
    types::{Request, Response, State, UserInfo, body_from, json_bytes_response, json_response},
    verbs::{self, Answer, Outcome, Target, patch::PatchType},
};

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Kinds that are to be left, with the text that tells so at every use.
/// Source: https://kubernetes.io/docs/reference/using-api/deprecation-policy/
fn deprecation<'a>(info: &RequestInfo, served: Option<&'a Served>) -> Option<&'a str> {
    match (&*info.group, &*info.resource) {
        ("", "endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => served?.custom.as_ref()?.deprecation.as_deref(),
    }
}

pub async fn serve(
    state: Arc<State>,
    user: UserInfo,
    info: Arc<RequestInfo>,
    request: Request,
) -> Result<Response, Status> {
    let served = state.resources.get(&info.group, &info.version, &info.resource);
    let deprecation = deprecation(&info, served.as_deref()).map(String::from);
    let has_part =
        |served: &Arc<Served>| info.subresource.is_empty() || served.subresource(&info.subresource).is_some();
    if deprecation.is_some() && served.as_ref().is_some_and(has_part) {
        state.metrics.requesters.deprecated(&info);
        audit::note("k8s.io/deprecated", "true");
    }
    let answer = route(state, user, info, served, request).await;
    let Some(text) = deprecation else { return answer };
    match answer {
        Ok(mut response) => {
            // It is known first, and said first.
            let later: Vec<_> = response.headers().get_all(header::WARNING).iter().cloned().collect();
            response.headers_mut().remove(header::WARNING);
            warn(&mut response, &[text]);
            for one in later {
                response.headers_mut().append(header::WARNING, one);
            }
            Ok(response)
        }
        Err(mut status) => {
            status.warnings.insert(0, text);
            Err(status)
        }
    }
}

async fn route(
    state: Arc<State>,
    user: UserInfo,
    info: Arc<RequestInfo>,
    served: Option<Arc<Served>>,
    request: Request,
) -> Result<Response, Status> {
    let served = served.ok_or_else(Status::unknown_path)?;
    if !info.namespace.is_empty() && !served.api.namespaced && info.resource != "namespaces" {
        return Err(Status::unknown_path());
    }
    let target = Target::of(served, &info);
    if !info.subresource.is_empty() {
        return subresources::serve(&state, &user, &info, target, request).await;
    }
    let custom = target.served.custom.is_some();
    let Some(verb) = VERBS.into_iter().find(|verb| *verb == info.verb) else {
        return Err(match custom {
            true => Status::method_not_supported(target.served.group_resource(), &info.verb),
            false => Status::method_not_allowed(),
        });
    };
    // Only what serves custom resources goes by the verb instead of the method.
    if *request.method() == Method::HEAD && !custom {
        return Err(Status::method_not_allowed());
    }
    if !target.served.allows(verb) {
        return Err(Status::method_not_allowed());
    }
    // Objects in namespaces are only listed across them: that path there is, those of single objects there are not.
    let across = target.served.api.namespaced && target.namespace.is_empty();
    if across && !matches!(verb, "list" | "watch") {
        let is_path = info.name.is_empty() && target.served.allows("list") && !custom;
        return Err(if is_path { Status::method_not_allowed() } else { Status::unknown_path() });
    }
    let for_one = matches!(verb, "get" | "update" | "patch" | "delete");
    if (verb == "create" && !info.name.is_empty()) || (for_one && info.name.is_empty()) {
        return Err(Status::method_not_allowed());
    }
    if target.served.strategy.reserves() && !matches!(verb, "get" | "list" | "watch") {
        return to_its_end(async move { perform(&state, &user, &target, verb, request).await }).await;
    }
    perform(&state, &user, &target, verb, request).await
}

/// Runs what must not stop halfway, also when its client leaves.
async fn to_its_end(
    work: impl Future<Output = Result<Response, Status>> + Send + 'static,
) -> Result<Response, Status> {
    match tokio::spawn(Notes::current().scope(work)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Status::service_unavailable("the server is stopping")),
        },
    }
}

async fn perform(
    state: &State,
    user: &UserInfo,
    target: &Target,
    verb: &'static str,
    request: Request,
) -> Result<Response, Status> {
    match verb {
        "get" => get(state, target, request).await,
        "list" => list(state, target, request).await,
        "watch" if messages::are_wanted(request.headers()) => {
            let protobuf = negotiate(request.headers(), &query(&request), Offer::of(&target.served))?
                .encoding
                == Encoding::Protobuf;
            let events = watch(state, target, &request)?.into_body();
            messages::serve(
                state.stop.clone(),
                request,
                events,
                if protobuf { Split::Frames } else { Split::Lines },
            )
        }
        "watch" => watch(state, target, &request),
        "create" => create(state, user, target, request).await,
        "update" => update(state, user, target, request).await,
        "patch" => patch(state, user, target, request).await,
        "delete" => delete(state, user, target, request).await,
        "deletecollection" => delete_collection(state, user, target, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

fn query(request: &Request) -> Query {
    Query::parse(request.uri().query())
}

async fn get(state: &State, target: &Target, request: Request) -> Result<Response, Status> {
    let query = query(&request);
    let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
    if component_status::is(&target.served) {
        let component = component_status::get(state, &target.name).await?;
        return respond(&target.served, accepted, StatusCode::OK, Answer::Value(component));
    }
    let answer = verbs::get(state, target, query.text("resourceVersion")).await?;
    respond(&target.served, accepted, StatusCode::OK, answer)
}

async fn list(state: &State, target: &Target, request: Request) -> Result<Response, Status> {
    let query = query(&request);
    let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
    let options = ListOptions::parse(&query, false)?;
    if component_status::is(&target.served) {
        return component_status::list(state, target, accepted, &options).await;
    }
    let listed = verbs::list::list(state, target, &options).await?;
    lists::respond(&target.served, accepted, listed)
}

fn watch(state: &State, target: &Target, request: &Request) -> Result<Response, Status> {
    let query = query(request);
    let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
    let content_type = match accepted.encoding {
        Encoding::Json => "application/json",
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Yaml => {
            return Err(Status::not_acceptable(&[
                "application/json;stream=watch",
                "application/vnd.kubernetes.protobuf;stream=watch",
            ]));
        }
    };
    let mut options = ListOptions::parse(&query, true)?;
    if !target.name.is_empty() && options.field_selector.is_empty() {
        options.field_selector = format!("metadata.name={}", target.name);
    }
    let presenter = Presenter::new(&target.served, accepted);
    let seat = request.extensions().get::<Arc<Held>>().cloned();
    let body = verbs::watch::watch(state, target, &options, presenter, seat)?;
    let mut response = http::Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

async fn create(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    let query = query(&request);
    let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
    let options = WriteOptions::parse(&query, "CreateOptions")?.sent_by(request.headers());
    let (content_type, bytes) = body::read(request).await?;
    let api = &target.served.api;
    let format = decode::format_of(content_type.as_deref())?;
    let decoded = decode::parse_for(&target.served, &bytes, format)?;
    if target.served.custom.is_none() && reviews::is(&api.gvk.group) {
        let (object, warnings) = decode::posted(decoded, &api.gvk, options.field_validation)?;
        let answer = reviews::create(state, user, target, &api.plural, object).await?;
        let mut response = respond(&target.served, accepted, StatusCode::CREATED, Answer::Value(answer))?;
        warn(&mut response, &warnings);
        return Ok(response);
    }
    if &*api.plural == "bindings" && api.gvk.group.is_empty() {
        let (binding, warnings) = decode::posted(decoded, &api.gvk, options.field_validation)?;
        let status = subresources::binding::bind(state, user, target, binding, options.dry_run).await?;
        let mut response = encode(accepted.encoding, StatusCode::CREATED, &status)?;
        warn(&mut response, &warnings);
        return Ok(response);
    }
    let outcome = verbs::create(state, user, target, decoded, &options).await?;
    respond_write(&target.served, accepted, outcome)
}

async fn update(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    let query = query(&request);
    let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
    let options = WriteOptions::parse(&query, "UpdateOptions")?.sent_by(request.headers());
    let (content_type, bytes) = body::read(request).await?;
    let format = decode::format_of(content_type.as_deref())?;
    let decoded = decode::parse_for(&target.served, &bytes, format)?;
    let outcome = verbs::update(state, user, target, decoded, &options).await?;
    respond_write(&target.served, accepted, outcome)
}

pub async fn patch(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    let query = query(&request);
    let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
    let headers = request.headers().clone();
    let (content_type, bytes) = body::read(request).await?;
    let kind = PatchType::parse(content_type.as_deref())?;
    let options = WriteOptions::parse_patch(&query, kind == PatchType::Apply)?.sent_by(&headers);
    let patch = verbs::patch::parse_body(kind, &bytes)?;
    let outcome = verbs::patch::patch(state, user, target, kind, &patch, &options).await?;
    respond_write(&target.served, accepted, outcome)
}

/// Update of the object itself or of `/status` and the like.
pub async fn put(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    update(state, user, target, request).await
}

async fn delete_options(query: &Query, request: Request) -> Result<DeleteOptions, Status> {
    let (content_type, bytes) = body::read(request).await?;
    if bytes.is_empty() {
        return DeleteOptions::parse(query, &Value::Null);
    }
    let format = decode::format_of(content_type.as_deref())?;
    DeleteOptions::parse(query, &decode::delete_options(&bytes, format)?)
}

async fn delete(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    let query = query(&request);
    let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
    let options = delete_options(&query, request).await?;
    let mut deleted = verbs::delete(state, user, target, &options).await?;
    let warnings = std::mem::take(&mut deleted.warnings);
    let answer = verbs::delete::success(target, deleted);
    let is_status = matches!(&answer, Answer::Value(value) if value["kind"] == "Status");
    let mut response = if is_status {
        encode(accepted.encoding, StatusCode::OK, &answer.into_value()?)?
    } else {
        respond(&target.served, accepted, StatusCode::OK, answer)?
    };
    warn(&mut response, &warnings);
    Ok(response)
}

async fn delete_collection(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    let query = query(&request);
    let accepted = negotiate(request.headers(), &query, Offer::of(&target.served))?;
    let list = ListOptions::parse(&query, false)?;
    let options = delete_options(&query, request).await?;
    let listed = verbs::delete_collection(state, user, target, &list, &options).await?;
    let mut response = lists::respond(&target.served, accepted, listed)?;
    let warning = verbs::delete::silence_warning(target, &options);
    warn(&mut response, warning.as_slice());
    Ok(response)
}

pub fn respond_write(served: &Arc<Served>, accepted: Accepted, outcome: Outcome) -> Result<Response, Status> {
    let code = if outcome.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = respond(served, accepted, code, outcome.answer)?;
    warn(&mut response, &outcome.warnings);
    Ok(response)
}

/// More characters of warnings than this are not sent: each is cut then, and the last ones are left out.
const MAX_WARNINGS: usize = 4096;
const MAX_CUT_WARNING: usize = 256;

/// As `Warning` headers. A text of several lines fits into none.
/// Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/filters/warning.go
pub fn warn(response: &mut Response, texts: &[String]) {
    let length = |text: &String| text.chars().count();
    let max =
        if texts.iter().map(length).sum::<usize>() > MAX_WARNINGS { MAX_CUT_WARNING } else { MAX_WARNINGS };
    let mut written = 0;
    for (at, text) in texts.iter().enumerate() {
        if written >= MAX_WARNINGS {
            return;
        }
        if text.is_empty() || text.contains(char::is_control) || texts[..at].contains(text) {
            continue;
        }
        let text: String = text.chars().take(max).collect();
        written += length(&text);
        let header = format!("299 - {}", crate::status::quote(&text));
        if let Ok(value) = HeaderValue::from_bytes(header.as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

pub fn respond(
    served: &Arc<Served>,
    accepted: Accepted,
    code: StatusCode,
    answer: Answer,
) -> Result<Response, Status> {
    match (accepted.form, accepted.encoding) {
        (Form::Object, Encoding::Json) => Ok(json_bytes_response(code, answer.into_bytes())),
        (_, encoding) => {
            let presenter = Presenter::new(served, accepted);
            presenter.check(false)?;
            encode(encoding, code, &presenter.served_value(answer.into_value()?))
        }
    }
}

/// A value as it is, by its own kind where the encoding needs one.
pub fn encode(encoding: Encoding, code: StatusCode, value: &Value) -> Result<Response, Status> {
    let (bytes, content_type) = match encoding {
        Encoding::Json => return Ok(json_response(code, value)),
        Encoding::Yaml => {
            (serde_saphyr::to_string(value).map_err(Status::internal)?.into_bytes(), "application/yaml")
        }
        Encoding::Protobuf => (protobuf::encode(value).map_err(Status::internal)?, protobuf::MEDIA_TYPE),
    };
    let mut response = http::Response::new(body_from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}
