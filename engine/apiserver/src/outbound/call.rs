//! A question posted as JSON and its answer: AdmissionReview, ConversionReview.
//!
//! Source: https://github.com/kubernetes/client-go/blob/master/rest/request.go (`transformResponse`) and
//! https://github.com/kubernetes/apimachinery/blob/master/pkg/api/errors/errors.go (`NewGenericServerResponse`)

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::{Outbound, Peer, Trust};
use crate::{object::strings, status::quote, types::body_from};

/// An answer holds an object or a patch of one; of a list's conversion, many.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// How much of an answer that is none is quoted.
const MAX_QUOTED_BYTES: usize = 2048;

/// The first version of a review that a webhook accepts and that this server speaks.
pub fn review_version(accepted: &Value) -> Option<&'static str> {
    strings(accepted)
        .into_iter()
        .find_map(|own| ["v1", "v1beta1"].into_iter().find(|version| *version == own))
}

/// A `clientConfig`: where a webhook is and whom to believe.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Without the query.
    pub url: String,
    pub peer: Peer,
}

impl Hook {
    pub fn of(client: &Value) -> Hook {
        let trust = Trust::of_bundle(&client["caBundle"]);
        let service = &client["service"];
        let text = |field: &str| service[field].as_str().unwrap_or_default();
        let url = match client["url"].as_str() {
            Some(url) => url.to_owned(),
            None => format!(
                "https://{}.{}.svc:{}/{}",
                text("name"),
                text("namespace"),
                service["port"].as_u64().unwrap_or(443),
                text("path").trim_start_matches('/')
            ),
        };
        Hook { url, peer: Peer { trust, front_proxy: false } }
    }

    fn with_timeout(&self, timeout: Duration) -> String {
        let (url, fragment) = self.url.split_once('#').unwrap_or((&self.url, ""));
        let _ = fragment;
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}timeout={}s", timeout.as_secs())
    }
}

impl Outbound {
    /// The answer, or why there is none in the words of a stock server.
    pub async fn post(&self, hook: &Hook, timeout: Duration, question: &Value) -> Result<Value, String> {
        let url = hook.with_timeout(timeout);
        let failed = |why: &str| format!("Post {}: {why}", quote(&url));
        match tokio::time::timeout(timeout, self.exchange(hook, &url, question)).await {
            Ok(Ok((code, bytes))) => read_answer(code, &bytes),
            Ok(Err(why)) => Err(failed(&why)),
            Err(_) => Err(failed("context deadline exceeded")),
        }
    }

    async fn exchange(
        &self,
        hook: &Hook,
        url: &str,
        question: &Value,
    ) -> Result<(StatusCode, Bytes), String> {
        let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        let mut request = Request::builder().method(Method::POST).uri(url);
        if let Some(headers) = request.headers_mut() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*"));
            headers.insert(header::USER_AGENT, HeaderValue::from_static("kube-apiserver-admission"));
        }
        let request = request.body(body_from(body)).map_err(|error| error.to_string())?;
        let response = self.send(&hook.peer, request).await.map_err(|error| error.to_string())?;
        let code = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        Ok((code, body.map_err(|error| go_error(&*error))?.to_bytes()))
    }
}

fn read_answer(code: StatusCode, bytes: &Bytes) -> Result<Value, String> {
    let value = coracle_schema::parse_json(bytes).map(|(value, _)| value);
    if code.is_success() {
        return match value {
            Ok(value) if value.is_object() => Ok(value),
            Ok(_) => Err("couldn't get version/kind; the answer is not an object".into()),
            Err(error) => Err(format!("couldn't get version/kind; json parse error: {error}")),
        };
    }
    if let Ok(status) = &value
        && status["kind"] == "Status"
        && let Some(message) = status["message"].as_str()
    {
        return Err(message.to_owned());
    }
    let end = bytes.len().min(MAX_QUOTED_BYTES);
    let said = String::from_utf8_lossy(&bytes[..end]).trim().to_owned();
    Err(generic(code.as_u16(), if said.is_empty() { "unknown" } else { &said }))
}

fn generic(code: u16, said: &str) -> String {
    match code {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 | 406 | 415 => said.into(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        409 => "the server reported a conflict".into(),
        422 => "the server rejected our request due to an error in our request".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".into(),
        500.. => format!("an error on the server ({}) has prevented the request from succeeding", quote(said)),
        _ => format!("the server responded with the status code {code} but did not return more information"),
    }
}

/// An error of an exchange; a connection that ends before its answer is Go's `EOF`.
pub fn go_error(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let closed = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
        || innermost.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
    if closed { "EOF".into() } else { innermost.to_string() }
}
