//! Secret: `stringData` is a way to write `data`; an immutable Secret stays as it is, and the type never changes.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateSecret`)

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    object,
    status::{Cause, Status},
    strategy::{Context, Strategy},
};

const MAX_BYTES: usize = 1024 * 1024;

/// What the data of a type must hold. Of several keys one is enough.
const NEEDED: [(&str, &[&str]); 5] = [
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/basic-auth", &["username", "password"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/service-account-token", &[]),
];

pub struct Secret;

impl Strategy for Secret {
    fn prepare_create(&self, _context: Context<'_>, secret: &mut Value) -> Result<(), Status> {
        take_string_data(secret);
        Ok(())
    }

    fn prepare_update(&self, _context: Context<'_>, secret: &mut Value, _old: &Value) -> Result<(), Status> {
        take_string_data(secret);
        Ok(())
    }

    fn validate(&self, _context: Context<'_>, secret: &Value) -> Vec<Cause> {
        let mut causes = validate_keys(secret, "data");
        let size: usize = secret["data"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, value)| value.as_str().map_or(0, |text| text.len() / 4 * 3))
            .sum();
        if size > MAX_BYTES {
            causes.push(Cause::too_long("data", MAX_BYTES));
        }
        causes.extend(validate_type(secret));
        causes
    }

    fn validate_update(&self, context: Context<'_>, secret: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = validate_immutable(secret, old, &["data"]);
        if secret["type"] != old["type"] {
            causes.push(Cause::invalid("type", secret["type"].clone(), "field is immutable"));
        }
        causes.extend(self.validate(context, secret));
        causes
    }
}

fn take_string_data(secret: &mut Value) {
    let Some(Value::Object(fields)) = object::remove(secret, "stringData") else { return };
    for (key, value) in fields {
        secret["data"][key] = STANDARD.encode(value.as_str().unwrap_or_default()).into();
    }
}

fn validate_type(secret: &Value) -> Vec<Cause> {
    let kind = secret["type"].as_str().unwrap_or_default();
    let has = |key: &str| secret["data"].get(key).is_some();
    if kind == "kubernetes.io/tls" {
        let missing = ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key));
        return missing.map(|key| Cause::required(format!("data[{key}]"), "")).collect();
    }
    if kind == "kubernetes.io/service-account-token"
        && secret["metadata"]["annotations"]["kubernetes.io/service-account.name"]
            .as_str()
            .is_none_or(str::is_empty)
    {
        return vec![Cause::required("metadata.annotations[kubernetes.io/service-account.name]", "")];
    }
    let needed = NEEDED.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys).unwrap_or_default();
    if needed.is_empty() || needed.iter().any(|key| has(key)) {
        return Vec::new();
    }
    needed.iter().map(|key| Cause::required(format!("data[{key}]"), "")).collect()
}

/// Keys of ConfigMaps and Secrets: they become file names.
pub fn validate_keys(object: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for key in object[field].as_object().into_iter().flatten().map(|(key, _)| key) {
        let good = key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !good || key.is_empty() {
            let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
            causes.push(Cause::invalid(format!("{field}[{key}]"), key.as_str(), why));
        } else if key.len() > 253 {
            causes.push(Cause::invalid(
                format!("{field}[{key}]"),
                key.as_str(),
                "must be no more than 253 characters",
            ));
        } else if key == "." || key.starts_with("..") {
            let why = if key == "." { "must not be '.'" } else { "must not start with '..'" };
            causes.push(Cause::invalid(format!("{field}[{key}]"), key.as_str(), why));
        }
    }
    causes
}

/// Once `immutable` is set, neither it nor the data changes.
pub fn validate_immutable(object: &Value, old: &Value, fields: &[&str]) -> Vec<Cause> {
    if old["immutable"] != true {
        return Vec::new();
    }
    let why = "field is immutable when `immutable` is set";
    let mut causes = Vec::new();
    if object["immutable"] != true {
        causes.push(Cause::forbidden("immutable", why));
    }
    for field in fields.iter().filter(|field| object[**field] != old[**field]) {
        causes.push(Cause::forbidden(*field, why));
    }
    causes
}
