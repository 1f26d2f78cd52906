//! What the spec of a CustomResourceDefinition must fulfil: names, versions, schemas, subresources, columns, conversion.
//!
//! Kept true: what is accepted can be carried out in full; a schema that an update leaves alone is not looked at again.
//! Paths are those of upstream's internal form, where what all versions share stands once beside them: the schema of
//! the only version is `spec.validation.openAPIV3Schema`.
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apis/apiextensions/validation/validation.go
//! and apis/apiextensions/v1/conversion.go beside it

use serde_json::Value;

use super::{cause, rules, selectable};
use crate::{
    kinds::{
        self,
        checks::{Causes, indexed, is_set, items, one_of, require, same, text},
    },
    metadata::{rfc1035_problems, subdomain_problems},
    status::Cause,
};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// What a root may say when the status has a schema of its own, as upstream calls it.
const AT_ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-validations", "XValidations"),
];

/// The definition that an update follows.
pub struct Before<'a> {
    pub spec: &'a Value,
    pub established: bool,
}

impl Before<'_> {
    fn version(&self, name: &Value) -> Option<&Value> {
        items(&self.spec["versions"]).iter().find(|version| version["name"] == *name)
    }
}

/// One cause for everything that is wrong with a name.
fn joined(out: &mut Causes, path: String, given: &str, before: &str, problems: Vec<String>) {
    if !problems.is_empty() {
        out.push(Cause::invalid(path, given, &format!("{before}{}", problems.join(","))));
    }
}

pub fn check(out: &mut Causes, spec: &Value, old: Option<&Before<'_>>) {
    let group = text(&spec["group"]);
    if require(out, &spec["group"], "spec.group") {
        let problems = subdomain_problems(group);
        if problems.is_empty() && !group.contains('.') {
            out.push(Cause::invalid("spec.group", group, "should be a domain with at least one dot"));
        }
        joined(out, "spec.group".into(), group, "", problems);
    }
    if require(out, &spec["scope"], "spec.scope") {
        one_of(out, &spec["scope"], "spec.scope", &["Cluster", "Namespaced"]);
    }
    let has_defaults = |version: &Value| coracle_schema::has_defaults(&version["schema"]["openAPIV3Schema"]);
    if spec["preserveUnknownFields"] == true && items(&spec["versions"]).iter().any(has_defaults) {
        let why = "must be false in order to use defaults in the schema";
        out.push(Cause::invalid("spec.preserveUnknownFields", true, why));
    }
    versions(out, &spec["versions"], old);
    for field in ["plural", "singular", "kind", "listKind"] {
        require(out, &spec["names"][field], &format!("spec.names.{field}"));
    }
    names(out, &spec["names"], "spec.names");
    shared(out, &spec["versions"], old);
    conversion(out, &spec["conversion"], old);
}

/// Which parts all versions have in common.
struct Shared {
    schema: bool,
    subresources: bool,
    columns: bool,
    selectable: bool,
}

impl Shared {
    fn of(versions: &Value) -> Shared {
        let all = items(versions);
        let is_one = |field: &str| {
            all.first().is_some_and(|first| all.iter().all(|own| same(&own[field], &first[field])))
        };
        let schema = is_one("schema");
        Shared {
            schema,
            subresources: is_one("subresources"),
            columns: is_one("additionalPrinterColumns"),
            selectable: schema && is_one("selectableFields"),
        }
    }
}

fn versions(out: &mut Causes, versions: &Value, old: Option<&Before<'_>>) {
    const AT: &str = "spec.versions";
    let shared = Shared::of(versions);
    for (at, version) in indexed(versions, AT) {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            out.push(Cause::required(format!("{at}.schema.openAPIV3Schema"), "schemas are required"));
        }
    }
    for (at, version) in indexed(versions, AT) {
        let name = text(&version["name"]);
        joined(out, format!("{at}.name"), name, "", rfc1035_problems(name));
        deprecation(out, version, &format!("{at}.deprecationWarning"));
        if !shared.schema {
            let has_status = version["subresources"]["status"].is_object();
            schema(out, version, has_status, &format!("{at}.schema"), old);
        }
        if !shared.subresources {
            scale(out, &version["subresources"]["scale"], &format!("{at}.subresources.scale"));
        }
        if !shared.columns {
            columns(out, &version["additionalPrinterColumns"], &format!("{at}.additionalPrinterColumns"));
        }
        if !shared.selectable {
            let why = "may only be set when `version.schema.openAPIV3Schema` is not included";
            selectable_fields(out, version, &format!("{at}.selectableFields"), why, old);
        }
    }
    let names: Vec<&str> = items(versions).iter().map(|version| text(&version["name"])).collect();
    if (1..names.len()).any(|at| names[..at].contains(&names[at])) {
        out.push(Cause::invalid(AT, versions.clone(), "must contain unique version names"));
    }
    if items(versions).iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        out.push(Cause::invalid(AT, versions.clone(), why));
    }
    if let Some(first) = names.first().filter(|first| !first.is_empty()) {
        joined(out, "spec.version".into(), first, "", rfc1035_problems(first));
    }
}

/// What stands beside the versions.
fn shared(out: &mut Causes, versions: &Value, old: Option<&Before<'_>>) {
    let Some(first) = items(versions).first() else { return };
    let shared = Shared::of(versions);
    if shared.schema {
        let has_status = |version: &Value| version["subresources"]["status"].is_object();
        schema(out, first, items(versions).iter().any(has_status), "spec.validation", old);
    }
    if shared.subresources {
        scale(out, &first["subresources"]["scale"], "spec.subresources.scale");
    }
    if shared.columns {
        columns(out, &first["additionalPrinterColumns"], "spec.additionalPrinterColumns");
    }
    if shared.selectable {
        let why = "may only be set when validations.schema is included";
        selectable_fields(out, first, "spec.selectableFields", why, old);
    }
}

fn deprecation(out: &mut Causes, version: &Value, path: &str) {
    let Some(warning) = version["deprecationWarning"].as_str() else { return };
    let mut refuse = |why: &str| out.push(Cause::invalid(path, warning, why));
    if version["deprecated"] != true {
        return refuse("can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        refuse("must be <= 256 characters long");
    }
    if warning.is_empty() {
        refuse("must not be an empty string");
    }
    let is_hidden = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| is_hidden(*c)) {
        refuse(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

/// Of `spec` and of what a status has accepted.
pub fn names(out: &mut Causes, names: &Value, path: &str) {
    const MIXED: &str = "may have mixed case, but should otherwise match: ";
    for (field, before) in [("plural", ""), ("singular", ""), ("kind", MIXED), ("listKind", MIXED)] {
        let given = text(&names[field]);
        let word = if before.is_empty() { given.to_owned() } else { given.to_lowercase() };
        if !given.is_empty() {
            joined(out, format!("{path}.{field}"), given, before, rfc1035_problems(&word));
        }
    }
    let list = |out: &mut Causes, field: &str| {
        for (at, own) in indexed(&names[field], &format!("{path}.{field}")) {
            joined(out, at, text(own), "", rfc1035_problems(text(own)));
        }
    };
    list(out, "shortNames");
    if is_set(&names["kind"]) && names["kind"] == names["listKind"] {
        let why = "kind and listKind may not be the same";
        out.push(Cause::invalid(format!("{path}.listKind"), names["listKind"].clone(), why));
    }
    list(out, "categories");
}

fn schema(out: &mut Causes, version: &Value, has_status: bool, path: &str, old: Option<&Before<'_>>) {
    let schema = &version["schema"]["openAPIV3Schema"];
    let before = old.and_then(|old| old.version(&version["name"]));
    if !schema.is_object() || before.is_some_and(|before| before["schema"] == version["schema"]) {
        return;
    }
    let path = format!("{path}.openAPIV3Schema");
    let start = out.len();
    if has_status {
        root(out, schema, &path);
    }
    out.extend(coracle_schema::check_custom_schema(schema, &path).into_iter().map(cause));
    // Rules are typed by the schema: one that makes no sense tells them nothing.
    if out.len() == start {
        out.extend(rules::compile(schema, &path).1);
    }
}

/// The status is validated by a part of the schema: what the root says beside `properties` would not reach it.
fn root(out: &mut Causes, schema: &Value, path: &str) {
    if let Some(kind) = schema["type"].as_str().filter(|kind| !matches!(*kind, "" | "object")) {
        let why = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        return out.push(Cause::invalid(format!("{path}.type"), kind, why));
    }
    let mut said = schema.as_object().into_iter().flatten().filter(|(_, value)| is_set(value));
    if said.any(|(field, value)| *value != false && !AT_ROOT.iter().any(|(own, _)| own == field)) {
        let names = AT_ROOT.map(|(_, name)| name).join(" ");
        let why = format!(
            "only [{names}] fields are allowed at the root of the schema if the status subresource is enabled"
        );
        out.push(Cause::invalid(path, schema.clone(), &why));
    }
}

fn columns(out: &mut Causes, columns: &Value, path: &str) {
    for (at, column) in indexed(columns, path) {
        require(out, &column["name"], &format!("{at}.name"));
        let (kind, format) = (text(&column["type"]), text(&column["format"]));
        let why = format!("must be one of {}", COLUMN_TYPES.join(","));
        if kind.is_empty() {
            out.push(Cause::required(format!("{at}.type"), &why));
        } else if !COLUMN_TYPES.contains(&kind) {
            out.push(Cause::invalid(format!("{at}.type"), kind, &why));
        }
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            out.push(Cause::invalid(format!("{at}.format"), format, &why));
        }
        let (given, at) = (text(&column["jsonPath"]), format!("{at}.JSONPath"));
        if require(out, &column["jsonPath"], &at) {
            simple_path(out, given, &at);
        }
    }
}

fn simple_path(out: &mut Causes, given: &str, path: &str) -> bool {
    let fits = given.starts_with('.');
    if !fits {
        out.push(Cause::invalid(path, given, "must be a simple json path starting with ."));
    }
    fits
}

fn scale(out: &mut Causes, scale: &Value, path: &str) {
    if !scale.is_object() {
        return;
    }
    for (field, roots, called) in [
        ("specReplicasPath", &[".spec."][..], ".spec"),
        ("statusReplicasPath", &[".status."], ".status"),
        ("labelSelectorPath", &[".spec.", ".status."], "either .spec or .status"),
    ] {
        let (given, at) = (text(&scale[field]), format!("{path}.{field}"));
        if given.is_empty() {
            if field != "labelSelectorPath" {
                out.push(Cause::required(at, ""));
            }
        } else if simple_path(out, given, &at) && !roots.iter().any(|root| given.starts_with(root)) {
            out.push(Cause::invalid(at, given, &format!("should be a json path under {called}")));
        }
    }
}

/// `alone` is said where no schema stands at the same place.
fn selectable_fields(out: &mut Causes, version: &Value, path: &str, alone: &str, old: Option<&Before<'_>>) {
    let (fields, schema) = (&version["selectableFields"], &version["schema"]["openAPIV3Schema"]);
    if items(fields).is_empty() {
        return;
    }
    if !schema.is_object() {
        return out.push(Cause::invalid(path, "", alone));
    }
    let before = old.and_then(|old| old.version(&version["name"]));
    let excused = before.is_some_and(|before| same(&before["selectableFields"], fields));
    selectable::check(out, fields, schema, path, excused);
}

fn conversion(out: &mut Causes, conversion: &Value, old: Option<&Before<'_>>) {
    const CLIENT: &str = "spec.conversion.webhookClientConfig";
    const VERSIONS: &str = "spec.conversion.conversionReviewVersions";
    const ALONE: &str = "should not be set when strategy is not set to Webhook";
    if conversion.is_null() {
        return;
    }
    let strategy = &conversion["strategy"];
    if require(out, strategy, "spec.conversion.strategy") {
        one_of(out, strategy, "spec.conversion.strategy", &["None", "Webhook"]);
    }
    let webhook = &conversion["webhook"];
    let client = &webhook["clientConfig"];
    if *strategy != "Webhook" {
        for (given, at) in [(client, CLIENT), (&webhook["conversionReviewVersions"], VERSIONS)] {
            if given.is_object() || is_set(given) {
                out.push(Cause::forbidden(at, ALONE));
            }
        }
        return;
    }
    if client.is_object() {
        kinds::webhook_client(out, client, CLIENT);
        authorities(out, client, &format!("{CLIENT}.caBundle"), old);
    } else {
        out.push(Cause::required(CLIENT, "required when strategy is set to Webhook"));
    }
    kinds::review_versions(out, &webhook["conversionReviewVersions"], VERSIONS, "");
}

/// Only a definition that is served, and had none that is broken, is held to it.
fn authorities(out: &mut Causes, client: &Value, path: &str, old: Option<&Before<'_>>) {
    let Some(old) = old.filter(|old| old.established) else { return };
    let mut before = Causes::new();
    kinds::authorities(&mut before, &old.spec["conversion"]["webhook"]["clientConfig"]["caBundle"], path);
    if before.is_empty() {
        kinds::authorities(out, &client["caBundle"], path);
    }
}

#[cfg(test)]
mod tests;
