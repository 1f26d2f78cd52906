//! ConfigMaps and Secrets: keys, size, what a Secret's type asks for, `immutable`.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateConfigMap`, `ValidateSecret`)

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, immutable, key_problems, same, text},
    warnings,
};
use crate::{object::remove, status::Cause};

const MAX_BYTES: usize = 1 << 20;
const FROZEN: &str = "field is immutable when `immutable` is set";
const HIDDEN: &str = "<secret contents redacted>";
const ACCOUNT_ANNOTATION: &str = "kubernetes.io/service-account.name";

pub static CONFIG_MAP: Checked =
    Checked::new(config_map).comparing(|new, old| frozen(new, old, &["data", "binaryData"]));

pub static SECRET: Checked =
    Checked::new(secret).warning(warnings::secret).comparing(compare_secrets).preparing(|new, old, _| {
        take_string_data(new);
        // An update may leave the type out.
        if let (true, Some(old)) = (text(&new["type"]).is_empty(), old) {
            new["type"] = old["type"].clone();
        }
    });

/// `stringData` is a way to write `data`.
fn take_string_data(secret: &mut Value) {
    let Some(Value::Object(fields)) = remove(secret, "stringData") else { return };
    for (key, value) in fields {
        secret["data"][key] = STANDARD.encode(text(&value)).into();
    }
}

fn keys(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

/// Bytes behind base64.
fn decoded_bytes(value: &Value) -> usize {
    let encoded = text(value);
    let padding = encoded.bytes().rev().take_while(|byte| *byte == b'=').count();
    (encoded.len() / 4 * 3).saturating_sub(padding)
}

fn config_map(object: &Value) -> Causes {
    let mut out = Vec::new();
    let mut bytes = 0;
    for (key, value) in keys(&object["data"]) {
        add(&mut out, &format!("data[{key}]"), key, key_problems(key));
        if !object["binaryData"][key].is_null() {
            out.push(Cause::invalid(
                format!("data[{key}]"),
                key.as_str(),
                "duplicate of key present in binaryData",
            ));
        }
        bytes += text(value).len();
    }
    for (key, value) in keys(&object["binaryData"]) {
        add(&mut out, &format!("binaryData[{key}]"), key, key_problems(key));
        bytes += decoded_bytes(value);
    }
    if bytes > MAX_BYTES {
        // The stock server names no field here.
        out.push(Cause::too_long("[]", MAX_BYTES));
    }
    out
}

fn frozen(new: &Value, old: &Value, fields: &[&str]) -> Causes {
    let mut out = Vec::new();
    if old["immutable"] != true {
        return out;
    }
    if new["immutable"] != true {
        out.push(Cause::forbidden("immutable", FROZEN));
    }
    for field in fields {
        if !same(&new[*field], &old[*field]) {
            out.push(Cause::forbidden(*field, FROZEN));
        }
    }
    out
}

fn compare_secrets(new: &Value, old: &Value) -> Causes {
    let mut out = Vec::new();
    immutable(&mut out, &new["type"], &old["type"], "type");
    out.extend(frozen(new, old, &["data"]));
    out
}

fn secret(object: &Value) -> Causes {
    let mut out = Vec::new();
    let data = &object["data"];
    let mut bytes = 0;
    for (key, value) in keys(data) {
        add(&mut out, &format!("data[{key}]"), key, key_problems(key));
        bytes += decoded_bytes(value);
    }
    if bytes > MAX_BYTES {
        out.push(Cause::too_long("data", MAX_BYTES));
    }
    let need = |out: &mut Causes, key: &str| {
        if data[key].is_null() {
            out.push(Cause::required(format!("data[{key}]"), ""));
        }
    };
    match text(&object["type"]) {
        "kubernetes.io/service-account-token"
            if text(&object["metadata"]["annotations"][ACCOUNT_ANNOTATION]).is_empty() =>
        {
            out.push(Cause::required(format!("metadata.annotations[{ACCOUNT_ANNOTATION}]"), ""));
        }
        "kubernetes.io/dockercfg" => docker(&mut out, data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => docker(&mut out, data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if data["username"].is_null() && data["password"].is_null() => {
            need(&mut out, "username");
            need(&mut out, "password");
        }
        // Here alone, an empty one is as good as none.
        "kubernetes.io/ssh-auth" if text(&data["ssh-privatekey"]).is_empty() => {
            out.push(Cause::required("data[ssh-privatekey]", ""));
        }
        "kubernetes.io/tls" => {
            need(&mut out, "tls.crt");
            need(&mut out, "tls.key");
        }
        _ => {}
    }
    out
}

fn docker(out: &mut Causes, data: &Value, key: &str) {
    let field = format!("data[{key}]");
    if data[key].is_null() {
        return out.push(Cause::required(field, ""));
    }
    let bytes = STANDARD.decode(text(&data[key])).unwrap_or_default();
    let why = match coracle_schema::parse_json(&bytes) {
        Ok((Value::Object(_) | Value::Null, _)) => return,
        Ok((other, _)) => {
            let kind = coracle_schema::json_type(&other);
            format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
        }
        Err(error) => error.to_string(),
    };
    out.push(Cause::invalid(field, HIDDEN, &why));
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn a_config_map_has_good_keys_and_one_mebibyte() {
        let large = "x".repeat(MAX_BYTES + 1);
        assert_cases(
            json!({"data": {"a.b": "x"}}),
            config_map,
            &[
                (
                    json!({"data": {"a b": "x"}}),
                    &[
                        "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                    ],
                ),
                (
                    json!({"binaryData": {"a.b": "eA=="}}),
                    &["data[a.b]: Invalid value: \"a.b\": duplicate of key present in binaryData"],
                ),
                (json!({"data": {"c": large}}), &["[]: Too long: may not be more than 1048576 bytes"]),
            ],
        );
    }

    #[test]
    fn string_data_becomes_data() {
        let mut secret = json!({"data": {"a": "eA=="}, "stringData": {"b": "y"}});
        take_string_data(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "eA==", "b": "eQ=="}}));
    }

    #[test]
    fn what_is_immutable_stays() {
        let old = json!({"immutable": true, "data": {"a": "x"}});
        assert_cases(
            old.clone(),
            |new| frozen(new, &old, &["data", "binaryData"]),
            &[
                (
                    json!({"data": {"a": "y"}}),
                    &["data: Forbidden: field is immutable when `immutable` is set"],
                ),
                (
                    json!({"immutable": null}),
                    &["immutable: Forbidden: field is immutable when `immutable` is set"],
                ),
                (json!({"metadata": {"labels": {"a": "b"}}}), &[]),
            ],
        );
    }

    #[test]
    fn a_secret_holds_what_its_type_asks_for() {
        assert_cases(
            json!({"type": "Opaque"}),
            secret,
            &[
                (
                    json!({"type": "kubernetes.io/tls"}),
                    &["data[tls.crt]: Required value", "data[tls.key]: Required value"],
                ),
                (json!({"type": "kubernetes.io/ssh-auth"}), &["data[ssh-privatekey]: Required value"]),
                (
                    json!({"type": "kubernetes.io/basic-auth"}),
                    &["data[username]: Required value", "data[password]: Required value"],
                ),
                (
                    json!({"type": "kubernetes.io/dockerconfigjson"}),
                    &["data[.dockerconfigjson]: Required value"],
                ),
                (
                    json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": ""}}),
                    &[
                        "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input",
                    ],
                ),
                (
                    json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "bm90IGpzb24="}}),
                    &[
                        "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'o' in literal null (expecting 'u')",
                    ],
                ),
                (
                    json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "W10="}}),
                    &[
                        "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array into Go value of type map[string]interface {}",
                    ],
                ),
                (
                    json!({"type": "kubernetes.io/service-account-token"}),
                    &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
                ),
            ],
        );
        let changed = compare_secrets(&json!({"type": "b"}), &json!({"type": "a"}));
        assert_eq!(changed[0].to_string(), "type: Invalid value: \"b\": field is immutable");
    }
}
