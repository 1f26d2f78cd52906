//! FlowSchema, PriorityLevelConfiguration.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/flowcontrol/validation/validation.go

use serde_json::{Value, json};

use super::{
    checked::Checked,
    checks::{Causes, add, indexed, is_set, items, require, same, text},
};
use crate::{
    bootstrap::flow_control,
    metadata::{label_problems, subdomain_problems},
    object,
    status::Cause,
};

const MAX_PRECEDENCE: i64 = 10_000;
const MAX_QUEUES: i64 = 10_000_000;
/// So many bits of a flow's hash decide which queues it may use.
const MAX_HASH_BITS: u32 = 60;
const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub static SCHEMA: Checked = Checked::new(schema).checking_status(|new, _| conditions(new));
pub static LEVEL: Checked = Checked::new(level).checking_status(|new, _| conditions(new));

/// The mandatory ones are what they are.
fn fixed(out: &mut Causes, own: &Value, kind: &str) {
    let name = object::name(own);
    // Of the level `exempt`, the shares may be changed.
    let open = (kind == "PriorityLevelConfiguration" && name == "exempt").then_some("exempt");
    let comparable = |spec: &Value| {
        let mut spec = without_defaults(spec);
        if let Some(field) = open {
            object::remove(&mut spec, field);
        }
        spec
    };
    let own_kind = |wanted: &Value| wanted["kind"] == kind && object::name(wanted) == name;
    let mut wanted = flow_control::mandatory().filter(own_kind);
    if wanted.any(|wanted| !same(&comparable(&wanted["spec"]), &comparable(&own["spec"]))) {
        let but = open.map(|field| format!(" except the 'spec.{field}' field")).unwrap_or_default();
        let why = format!("spec of '{name}'{but} must equal the fixed value");
        out.push(Cause::invalid("spec", own["spec"].clone(), &why));
    }
}

/// As the fixed values are written: without `clusterScope: false`.
fn without_defaults(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for rule in spec["rules"].as_array_mut().into_iter().flatten() {
        for resource in rule["resourceRules"].as_array_mut().into_iter().flatten() {
            if resource["clusterScope"] == false {
                object::remove(resource, "clusterScope");
            }
        }
    }
    spec
}

fn conditions(own: &Value) -> Causes {
    let (mut out, mut seen) = (Vec::new(), Vec::new());
    for (at, condition) in indexed(&own["status"]["conditions"], "status.conditions") {
        let kind = text(&condition["type"]);
        if seen.contains(&kind) {
            out.push(Cause::duplicate(format!("{at}.type"), kind));
        }
        seen.push(kind);
        require(&mut out, &condition["type"], &format!("{at}.type"));
    }
    out
}

fn schema(own: &Value) -> Causes {
    let (spec, mut out) = (&own["spec"], Vec::new());
    let precedence = spec["matchingPrecedence"].as_i64().unwrap_or_default();
    let field = "spec.matchingPrecedence";
    if precedence <= 0 {
        out.push(Cause::invalid(field, precedence, "must be a positive value"));
    }
    if precedence > MAX_PRECEDENCE {
        out.push(Cause::invalid(field, precedence, "must not be greater than 10000"));
    }
    if precedence == 1 && object::name(own) != "exempt" {
        let why = "only the schema named 'exempt' may have matchingPrecedence 1";
        out.push(Cause::invalid(field, precedence, why));
    }
    let method = &spec["distinguisherMethod"];
    let methods = ["ByNamespace", "ByUser"];
    if method.is_object() && !methods.contains(&text(&method["type"])) {
        let shown = json!({"Type": text(&method["type"])});
        out.push(Cause::not_supported("spec.distinguisherMethod.type", shown, &methods));
    }
    let level = text(&spec["priorityLevelConfiguration"]["name"]);
    let field = "spec.priorityLevelConfiguration.name";
    if level.is_empty() {
        out.push(Cause::required(field, "must reference a priority level"));
    } else {
        add(&mut out, field, level, subdomain_problems(level));
    }
    for (at, rule) in indexed(&spec["rules"], "spec.rules") {
        rules(&mut out, rule, &at);
    }
    fixed(&mut out, own, "FlowSchema");
    out.extend(conditions(own));
    out
}

fn rules(out: &mut Causes, rule: &Value, at: &str) {
    if items(&rule["subjects"]).is_empty() {
        out.push(Cause::required(format!("{at}.subjects"), "subjects must contain at least one value"));
    }
    for (at, own) in indexed(&rule["subjects"], &format!("{at}.subjects")) {
        subject(out, own, &at);
    }
    if items(&rule["resourceRules"]).is_empty() && items(&rule["nonResourceRules"]).is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        out.push(Cause::required(at, why));
    }
    for (at, rule) in indexed(&rule["resourceRules"], &format!("{at}.resourceRules")) {
        verbs(out, rule, &at);
        list(out, rule, &at, "apiGroups", "resource rules must supply at least one api group");
        list(out, rule, &at, "resources", "resource rules must supply at least one resource");
        namespaces(out, rule, &at);
    }
    for (at, rule) in indexed(&rule["nonResourceRules"], &format!("{at}.nonResourceRules")) {
        verbs(out, rule, &at);
        list(out, rule, &at, "nonResourceURLs", "nonResourceURLs must contain at least one value");
        let urls = &rule["nonResourceURLs"];
        for (at, own) in indexed(urls, &format!("{at}.nonResourceURLs")).filter(|_| !has_wildcard(urls)) {
            if let Some(why) = url_problem(text(own)) {
                out.push(Cause::invalid(at, own.clone(), why));
            }
        }
    }
}

fn subject(out: &mut Causes, subject: &Value, at: &str) {
    // In the order in which the others are forbidden.
    const KINDS: [(&str, &str); 3] =
        [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = text(&subject["kind"]);
    let Some((_, field)) = KINDS.into_iter().find(|(own, _)| *own == kind) else {
        let kinds = ["Group", "ServiceAccount", "User"];
        return out.push(Cause::not_supported(format!("{at}.kind"), kind, &kinds));
    };
    let (own, path) = (&subject[field], format!("{at}.{field}"));
    if !own.is_object() {
        out.push(Cause::required(path, &format!("{field} is required when subject kind is '{kind}'")));
    } else if require(out, &own["name"], &format!("{path}.name")) && kind == "ServiceAccount" {
        let name = text(&own["name"]);
        if name != "*" {
            add(out, &format!("{path}.name"), name, subdomain_problems(name));
        }
    }
    if own.is_object() && kind == "ServiceAccount" {
        let (namespace, at) = (text(&own["namespace"]), format!("{at}.{field}.namespace"));
        if namespace.is_empty() {
            out.push(Cause::required(at, "must specify namespace for service account"));
        } else {
            add(out, &at, namespace, label_problems(namespace));
        }
    }
    for (other, field) in KINDS.into_iter().filter(|(own, _)| *own != kind) {
        if subject[field].is_object() {
            let why = format!("{field} is forbidden when subject kind is not '{other}'");
            out.push(Cause::forbidden(format!("{at}.{field}"), &why));
        }
    }
}

fn has_wildcard(list: &Value) -> bool {
    items(list).iter().any(|value| value == "*")
}

fn verbs(out: &mut Causes, rule: &Value, at: &str) {
    let own = &rule["verbs"];
    list(out, rule, at, "verbs", "verbs must contain at least one value");
    if !has_wildcard(own) && !items(own).iter().all(|verb| VERBS.contains(&text(verb))) {
        out.push(Cause::not_supported(format!("{at}.verbs"), own.clone(), &VERBS));
    }
}

fn namespaces(out: &mut Causes, rule: &Value, at: &str) {
    let (own, at) = (&rule["namespaces"], format!("{at}.namespaces"));
    if !is_set(own) && rule["clusterScope"] != true {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        out.push(Cause::required(at, why));
    } else if has_wildcard(own) {
        if items(own).len() > 1 {
            let why = "if '*' is present, must not specify other namespaces";
            out.push(Cause::invalid(at, own.clone(), why));
        }
    } else {
        for (at, name) in indexed(own, &at) {
            for problem in label_problems(text(name)) {
                let why = format!("each member of this list must be '*' or a DNS-1123 label; {problem}");
                out.push(Cause::invalid(at.as_str(), name.clone(), &why));
            }
        }
    }
}

fn url_problem(path: &str) -> Option<&'static str> {
    let wildcards = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if wildcards > 1 || (wildcards == 1 && !path.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

fn list(out: &mut Causes, rule: &Value, at: &str, field: &str, why: &str) {
    let values = items(&rule[field]);
    if values.is_empty() {
        out.push(Cause::required(format!("{at}.{field}"), why));
    } else if values.len() > 1 && has_wildcard(&rule[field]) {
        let what = match field {
            "apiGroups" => "api groups",
            "nonResourceURLs" => "non-resource URLs",
            field => field,
        };
        let why = format!("if '*' is present, must not specify other {what}");
        out.push(Cause::invalid(format!("{at}.{field}"), rule[field].clone(), &why));
    }
}

fn level(own: &Value) -> Causes {
    let (spec, mut out) = (&own["spec"], Vec::new());
    let kind = text(&spec["type"]);
    if (kind == "Exempt") != (object::name(own) == "exempt") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        out.push(Cause::invalid("spec.type", kind, why));
    }
    let (limited, exempt) = (&spec["limited"], &spec["exempt"]);
    match kind {
        "Exempt" => {
            if limited.is_object() {
                out.push(Cause::forbidden("spec.limited", "must be nil if the type is not Limited"));
            }
            shares(&mut out, exempt, "spec.exempt");
            percents(&mut out, exempt, "spec.exempt");
        }
        "Limited" => {
            if exempt.is_object() {
                out.push(Cause::forbidden("spec.exempt", "must be nil if the type is Limited"));
            }
            if limited.is_object() {
                shares(&mut out, limited, "spec.limited");
                response(&mut out, &limited["limitResponse"], "spec.limited.limitResponse");
                percents(&mut out, limited, "spec.limited");
            } else {
                out.push(Cause::required("spec.limited", "must not be empty when type is Limited"));
            }
        }
        other => out.push(Cause::not_supported("spec.type", other, &["Exempt", "Limited"])),
    }
    fixed(&mut out, own, "PriorityLevelConfiguration");
    out.extend(conditions(own));
    out
}

fn number(out: &mut Causes, parent: &Value, path: &str, field: &str, holds: impl Fn(i64) -> bool, why: &str) {
    if let Some(number) = parent[field].as_i64().filter(|number| !holds(*number)) {
        out.push(Cause::invalid(format!("{path}.{field}"), number, why));
    }
}

fn shares(out: &mut Causes, parent: &Value, path: &str) {
    let why = "must be a non-negative integer";
    number(out, parent, path, "nominalConcurrencyShares", |shares| shares >= 0, why);
}

fn percents(out: &mut Causes, parent: &Value, path: &str) {
    let why = "must be between 0 and 100, inclusive";
    number(out, parent, path, "lendablePercent", |percent| (0..=100).contains(&percent), why);
    let why = "if specified, must be a non-negative integer";
    number(out, parent, path, "borrowingLimitPercent", |percent| percent >= 0, why);
}

fn response(out: &mut Causes, response: &Value, at: &str) {
    let (queuing, path) = (&response["queuing"], format!("{at}.queuing"));
    match (text(&response["type"]), queuing.is_object()) {
        ("Reject", true) => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            out.push(Cause::forbidden(path, why));
        }
        ("Queue", false) => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            out.push(Cause::required(path, why));
        }
        ("Queue", true) => queues(out, queuing, &path),
        ("Reject", false) => {}
        (other, _) => out.push(Cause::not_supported(format!("{at}.type"), other, &["Queue", "Reject"])),
    }
}

fn queues(out: &mut Causes, queuing: &Value, at: &str) {
    const POSITIVE: &str = "must be positive";
    let given = |field: &str| queuing[field].as_i64().unwrap_or_default();
    let (length, queues, hand) = (given("queueLengthLimit"), given("queues"), given("handSize"));
    let mut refuse = |field: &str, number: i64, why: &str| {
        out.push(Cause::invalid(format!("{at}.{field}"), number, why));
    };
    if length <= 0 {
        refuse("queueLengthLimit", length, POSITIVE);
    }
    if queues <= 0 {
        refuse("queues", queues, POSITIVE);
    } else if queues > MAX_QUEUES {
        refuse("queues", queues, &format!("must not be greater than {MAX_QUEUES}"));
    }
    let bits = ((queues.max(1) as f64).log2() * hand as f64).ceil();
    if hand <= 0 {
        refuse("handSize", hand, POSITIVE);
    } else if hand > queues {
        refuse("handSize", hand, &format!("should not be greater than queues ({queues})"));
    } else if bits > f64::from(MAX_HASH_BITS) {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        );
        refuse("handSize", hand, &why);
    }
}

#[cfg(test)]
mod tests;
