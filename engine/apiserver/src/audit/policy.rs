//! Which requests are recorded, and how much of them: the first rule that matches decides; without one, nothing.
//!
//! Source: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Policy and
//!         https://github.com/kubernetes/apiserver/blob/master/pkg/audit/policy/checker.go

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::decode::yaml_error;

const BUILTIN: &str = include_str!("policy.yaml");

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("read audit policy `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("audit policy `{path}` is not a Policy: {why}")]
    Malformed { path: String, why: String },
    #[error("audit policy `{path}` is a `{api_version}` `{kind}`, expected `audit.k8s.io/v1` `Policy`")]
    Kind { path: String, api_version: String, kind: String },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub level: Level,
    pub omit_stages: Vec<Stage>,
    pub omit_managed_fields: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "accepted, without a meaning")]
    metadata: Option<serde_json::Value>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Policy {
    pub fn builtin() -> Policy {
        Policy::parse(BUILTIN, "built in").unwrap_or_else(|error| unreachable!("{error}"))
    }

    pub fn read(path: &Path) -> Result<Policy, PolicyError> {
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Policy::parse(&text, &shown),
            Err(source) => Err(PolicyError::Read { path: shown, source }),
        }
    }

    pub(super) fn parse(text: &str, path: &str) -> Result<Policy, PolicyError> {
        let malformed = |why: String| PolicyError::Malformed { path: path.to_owned(), why };
        let (value, syntax) =
            coracle_schema::parse_yaml(text.as_bytes()).map_err(|error| malformed(error.to_string()))?;
        if let Some(why) = yaml_error(syntax.lines()) {
            return Err(malformed(why));
        }
        // A scalar would be told whole, and it may be all of a long file.
        if !value.is_object() {
            return Err(malformed("expected keys with values".to_owned()));
        }
        let policy: Policy = serde_json::from_value(value).map_err(|error| malformed(error.to_string()))?;
        if (policy.api_version.as_str(), policy.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            let Policy { api_version, kind, .. } = policy;
            return Err(PolicyError::Kind { path: path.to_owned(), api_version, kind });
        }
        Ok(policy)
    }

    pub fn decide(&self, subject: &Subject<'_>) -> Decision {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(subject)) else {
            return Decision::default();
        };
        if rule.level == Level::None {
            return Decision::default();
        }
        Decision {
            level: rule.level,
            omit_stages: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        let Subject { user, info, .. } = subject;
        if !self.users.is_empty() && !user.is_some_and(|user| self.users.contains(&user.name)) {
            return false;
        }
        let in_group = || user.is_some_and(|user| self.user_groups.iter().any(|group| user.in_group(group)));
        if !self.user_groups.is_empty() && !in_group() {
            return false;
        }
        if !self.verbs.is_empty() && !self.verbs.contains(&info.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource && self.matches_resource(subject);
        }
        if !self.non_resource_urls.is_empty() {
            let fits = |url: &String| match url.strip_suffix('*') {
                Some(prefix) => info.path.starts_with(prefix),
                None => *url == info.path,
            };
            return !info.is_resource && self.non_resource_urls.iter().any(fits);
        }
        true
    }

    fn matches_resource(&self, subject: &Subject<'_>) -> bool {
        let info = subject.info;
        if !self.namespaces.is_empty() && !self.namespaces.contains(&info.namespace) {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        self.resources.iter().filter(|of| of.group == info.group).any(|of| {
            let named = of.resource_names.is_empty() || of.resource_names.contains(&info.name);
            let fits = |pattern: &String| named && resource_fits(pattern, &info.resource, &info.subresource);
            of.resources.is_empty() || of.resources.iter().any(fits)
        })
    }
}

/// `pods`, `pods/log`, `*`, `pods/*`, `*/status`.
fn resource_fits(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => subresource.is_empty() && pattern == resource,
        Some((of, "*")) => of == resource,
        Some(("*", sub)) => sub == subresource,
        Some((of, sub)) => of == resource && sub == subresource,
    }
}
