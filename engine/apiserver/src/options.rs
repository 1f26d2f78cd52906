//! Options of requests, read from the query string (and for deletion from the body).
//!
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and
//! https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/internalversion/validation/validation.go

use std::{num::IntErrorKind, time::Duration};

use serde_json::Value;

use crate::status::{Cause, GroupResource, Status};

/// A decoded query string.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: Option<&str>) -> Query {
        Query(crate::request_info::query_pairs(query))
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    /// As the stock server reads booleans: absent, `0` and `false` are false, all else is true.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(is_true)
    }

    pub fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        parse_number(text).map(Some)
    }
}

pub fn parse_number(text: &str) -> Result<i64, Status> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Status::bad_request(format!("strconv.ParseInt: parsing {}: {why}", crate::status::quote(text)))
    })
}

/// As Go's `strconv.ParseBool` reads it; what that cannot read is false. Flags of a query are read as [`is_true`] does.
pub fn parse_bool(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

/// A flag of a query that is there, also when it is empty.
pub fn is_true(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "false" | "0")
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Options that create, update and patch share.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    pub field_manager: String,
    /// Of the request; empty inside of this process.
    pub user_agent: String,
    /// Patches may be forced over conflicts (server-side apply only).
    pub force: bool,
    /// The request is a patch of any form.
    pub patches: bool,
    /// No admission: it is part of what was admitted already.
    pub admitted: bool,
}

pub type CreateOptions = WriteOptions;

impl WriteOptions {
    /// `kind` names the options in messages, e.g. `CreateOptions`.
    pub fn parse(query: &Query, kind: &str) -> Result<WriteOptions, Status> {
        let mut causes = Vec::new();
        let dry_run = dry_run(query.all("dryRun"), &mut causes);
        let field_validation = match query.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                causes.push(Cause::not_supported("fieldValidation", other, &["Ignore", "Strict", "Warn"]));
                FieldValidation::Warn
            }
        };
        let field_manager = query.text("fieldManager").to_owned();
        if field_manager.len() > 128 {
            causes.push(Cause::too_long("fieldManager", 128));
        }
        let unprintable = |one: char| one.is_control() || one.is_whitespace() && one != ' ';
        for (at, one) in field_manager.char_indices().filter(|(_, one)| unprintable(*one)) {
            let why = format!("invalid character U+{:04X} (at position {at})", u32::from(one));
            causes.push(Cause::invalid("fieldManager", &*field_manager, &why));
        }
        refuse(kind, causes)?;
        let user_agent = String::new();
        let force = query.flag("force");
        Ok(WriteOptions {
            dry_run,
            field_validation,
            field_manager,
            user_agent,
            force,
            patches: false,
            admitted: false,
        })
    }
}

impl WriteOptions {
    /// Options of a patch: server-side apply takes others than the rest.
    pub fn parse_patch(query: &Query, is_apply: bool) -> Result<WriteOptions, Status> {
        let options = WriteOptions::parse(query, "PatchOptions")?;
        let mut causes = Vec::new();
        if is_apply && options.field_manager.is_empty() {
            causes.push(Cause::required("fieldManager", "is required for apply patch"));
        }
        if !is_apply && query.get("force").is_some_and(|text| !text.is_empty()) {
            causes.push(Cause::forbidden("force", "may not be specified for non-apply patch"));
        }
        refuse("PatchOptions", causes)?;
        Ok(WriteOptions { patches: true, ..options })
    }

    /// Named by the program that sends the request, unless it names a manager.
    pub fn sent_by(mut self, headers: &http::HeaderMap) -> WriteOptions {
        let agent = headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        self.user_agent = agent.unwrap_or_default().chars().take(128).collect();
        self
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, causes: &mut Vec<Cause>) -> bool {
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    if values.iter().any(|value| *value != "All") {
        causes.push(Cause::not_supported("dryRun", Value::from(values.clone()), &["All"]));
    }
    !values.is_empty()
}

fn refuse(kind: &str, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(GroupResource::new("meta.k8s.io", kind), "", causes))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub label_selector: String,
    pub field_selector: String,
    pub resource_version: String,
    pub resource_version_match: Option<VersionMatch>,
    pub limit: usize,
    pub continue_token: String,
    pub watch: bool,
    pub allow_bookmarks: bool,
    pub send_initial_events: Option<bool>,
    pub timeout: Option<Duration>,
}

const MATCH: &str = "resourceVersionMatch";

impl ListOptions {
    pub fn parse(query: &Query, watch: bool) -> Result<ListOptions, Status> {
        let options = ListOptions {
            label_selector: query.text("labelSelector").into(),
            field_selector: query.text("fieldSelector").into(),
            resource_version: query.text("resourceVersion").into(),
            resource_version_match: match query.text(MATCH) {
                "Exact" => Some(VersionMatch::Exact),
                "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                _ => None,
            },
            limit: query.number("limit")?.unwrap_or_default().max(0) as usize,
            continue_token: query.text("continue").into(),
            watch,
            allow_bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.get("sendInitialEvents").filter(|text| !text.is_empty()).map(is_true),
            timeout: query
                .number("timeoutSeconds")?
                .filter(|n| *n > 0)
                .map(|n| Duration::from_secs(n as u64)),
        };
        let causes = if watch {
            options.watch_causes(query.text(MATCH))
        } else {
            options.list_causes(query.text(MATCH))
        };
        refuse("ListOptions", causes)?;
        Ok(options)
    }

    fn list_causes(&self, asked: &str) -> Vec<Cause> {
        let mut causes = Vec::new();
        if !asked.is_empty() {
            if self.resource_version.is_empty() {
                causes.push(Cause::forbidden(
                    MATCH,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if !self.continue_token.is_empty() {
                causes.push(Cause::forbidden(
                    MATCH,
                    "resourceVersionMatch is forbidden when continue is provided",
                ));
            }
            if self.resource_version_match.is_none() {
                causes.push(Cause::not_supported(MATCH, asked, &["Exact", "NotOlderThan", ""]));
            }
            if self.resource_version_match == Some(VersionMatch::Exact) && self.resource_version == "0" {
                causes.push(Cause::forbidden(
                    MATCH,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
        }
        if self.send_initial_events.is_some() {
            causes.push(Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        causes
    }

    fn watch_causes(&self, asked: &str) -> Vec<Cause> {
        let mut causes = Vec::new();
        let not_older = self.resource_version_match == Some(VersionMatch::NotOlderThan);
        if self.send_initial_events.is_some() && !not_older {
            causes.push(Cause::forbidden(
                MATCH,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if !asked.is_empty() {
            if self.send_initial_events.is_none() {
                causes.push(Cause::forbidden(
                    MATCH,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            if !not_older {
                causes.push(Cause::not_supported(MATCH, asked, &["NotOlderThan"]));
            }
            if !self.continue_token.is_empty() {
                causes.push(Cause::forbidden(
                    MATCH,
                    "resourceVersionMatch is forbidden when continue is provided",
                ));
            }
        }
        causes
    }
}

/// A resourceVersion as a number; empty is 0.
pub fn parse_revision(text: &str) -> Result<u64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let cause = Cause::invalid(
            "resourceVersion",
            text,
            &format!("strconv.ParseUint: parsing {}: invalid syntax", crate::status::quote(text)),
        );
        Status::bad_request(cause.to_string())
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Foreground,
    Background,
    Orphan,
}

#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub orphan_dependents: Option<bool>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
    /// No admission: the server does it for its own reasons, or as part of what was admitted already.
    pub admitted: bool,
}

impl DeleteOptions {
    /// `body` is a `DeleteOptions` object or null; then the query counts.
    pub fn parse(query: &Query, body: &Value) -> Result<DeleteOptions, Status> {
        let mut causes = Vec::new();
        let mut options = DeleteOptions::default();
        let propagation = if body.is_null() {
            options.grace_period_seconds = query.number("gracePeriodSeconds")?;
            options.orphan_dependents =
                query.get("orphanDependents").filter(|text| !text.is_empty()).map(is_true);
            options.dry_run = dry_run(query.all("dryRun"), &mut causes);
            query.get("propagationPolicy").map(String::from)
        } else {
            options.grace_period_seconds = body["gracePeriodSeconds"].as_i64();
            options.orphan_dependents = body["orphanDependents"].as_bool();
            let text = |value: &Value| value.as_str().map(String::from);
            options.uid = text(&body["preconditions"]["uid"]);
            options.resource_version = text(&body["preconditions"]["resourceVersion"]);
            options.dry_run = dry_run(crate::object::strings(&body["dryRun"]).into_iter(), &mut causes)
                || dry_run(query.all("dryRun"), &mut causes);
            text(&body["propagationPolicy"])
        };
        options.propagation = match propagation.as_deref() {
            None | Some("") => None,
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Background") => Some(Propagation::Background),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                causes.push(Cause::not_supported(
                    "propagationPolicy",
                    other,
                    &["Foreground", "Background", "Orphan", "nil"],
                ));
                None
            }
        };
        if options.propagation.is_some() && options.orphan_dependents.is_some() {
            causes.push(Cause::invalid(
                "propagationPolicy",
                propagation.unwrap_or_default(),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        refuse("DeleteOptions", causes)?;
        Ok(options)
    }
}
