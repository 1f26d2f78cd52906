//! Query parameters of the pod subresources, with the errors that a stock server gives.

use crate::status::{Cause, GroupResource, Status};

pub struct Options<'a>(pub &'a [(String, String)]);

impl<'a> Options<'a> {
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(own, _)| own == key).map(|(_, value)| value.clone()).collect()
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// As Kubernetes reads booleans of a query: `false` and `0` are false, anything else (also nothing) is true.
    pub fn flag(&self, key: &str) -> bool {
        self.0
            .iter()
            .find(|(own, _)| own == key)
            .is_some_and(|(_, value)| !matches!(value.as_str(), "false" | "0"))
    }

    pub fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let wrong = |_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(wrong)
    }
}

/// What `kubectl logs` may ask.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub since_seconds: Option<i64>,
    pub since_time: Option<String>,
    pub tail_lines: Option<i64>,
    pub limit_bytes: Option<i64>,
}

impl LogOptions {
    pub fn parse(query: &[(String, String)], pod: &str) -> Result<LogOptions, Status> {
        let options = Options(query);
        let parsed = LogOptions {
            follow: options.flag("follow"),
            previous: options.flag("previous"),
            timestamps: options.flag("timestamps"),
            since_seconds: options.number("sinceSeconds")?,
            since_time: options.text("sinceTime").map(str::to_owned),
            tail_lines: options.number("tailLines")?,
            limit_bytes: options.number("limitBytes")?,
        };
        let causes = parsed.causes();
        if causes.is_empty() {
            return Ok(parsed);
        }
        Err(Status::invalid(GroupResource::new("", "PodLogOptions"), pod, causes))
    }

    fn causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        if let Some(lines) = self.tail_lines.filter(|lines| *lines < 0) {
            causes.push(Cause::invalid("tailLines", lines, "must be greater than or equal to 0"));
        }
        if let Some(bytes) = self.limit_bytes.filter(|bytes| *bytes < 1) {
            causes.push(Cause::invalid("limitBytes", bytes, "must be greater than 0"));
        }
        if let Some(seconds) = self.since_seconds.filter(|seconds| *seconds < 1) {
            causes.push(Cause::invalid("sinceSeconds", seconds, "must be greater than 0"));
        }
        match &self.since_time {
            Some(_) if self.since_seconds.is_some() => {
                let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
                causes.push(Cause::forbidden("", why));
            }
            Some(time) if time.parse::<jiff::Timestamp>().is_err() => {
                causes.push(Cause::invalid("sinceTime", time.as_str(), "must be a time as RFC 3339 has it"));
            }
            _ => {}
        }
        causes
    }
}
