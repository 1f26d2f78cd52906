//! FlowSchema, PriorityLevelConfiguration.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/flowcontrol/validation/validation.go

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, indexed, is_set, items, one_of, same, text},
};
use crate::{bootstrap::flow_control, metadata::subdomain_problems, object, status::Cause};

const MAX_PRECEDENCE: i64 = 10_000;
const MAX_QUEUES: i64 = 10_000_000;

pub static SCHEMA: Checked = Checked::new(schema);
pub static LEVEL: Checked = Checked::new(level);

/// The mandatory ones are what they are.
fn fixed(out: &mut Causes, own: &Value, kind: &str) {
    let name = object::name(own);
    // Of the level `exempt`, the shares may be changed.
    if kind == "PriorityLevelConfiguration" && name == "exempt" {
        return;
    }
    let own_kind = |wanted: &Value| wanted["kind"] == kind && object::name(wanted) == name;
    let mut wanted = flow_control::mandatory().filter(own_kind);
    if wanted.any(|wanted| !same(&wanted["spec"], &without_defaults(&own["spec"]))) {
        let why = format!("spec of '{name}' must equal the fixed value");
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

fn schema(own: &Value) -> Causes {
    let (spec, mut out) = (&own["spec"], Vec::new());
    fixed(&mut out, own, "FlowSchema");
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
    if spec["distinguisherMethod"].is_object() {
        let kind = &spec["distinguisherMethod"]["type"];
        one_of(&mut out, kind, "spec.distinguisherMethod.type", &["ByNamespace", "ByUser"]);
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
    out
}

fn rules(out: &mut Causes, rule: &Value, at: &str) {
    if items(&rule["subjects"]).is_empty() {
        out.push(Cause::required(format!("{at}.subjects"), "subjects must contain at least one value"));
    }
    for (at, subject) in indexed(&rule["subjects"], &format!("{at}.subjects")) {
        one_of(out, &subject["kind"], &format!("{at}.kind"), &["Group", "ServiceAccount", "User"]);
        for (kind, field, parts) in [
            ("User", "user", &["name"][..]),
            ("Group", "group", &["name"]),
            ("ServiceAccount", "serviceAccount", &["name", "namespace"]),
        ] {
            let is_kind = subject["kind"] == kind;
            if is_kind && !subject[field].is_object() {
                let why = format!("{field} is required when subject kind is '{kind}'");
                out.push(Cause::required(format!("{at}.{field}"), &why));
            } else if is_kind {
                let missing = parts.iter().filter(|part| !is_set(&subject[field][**part]));
                out.extend(missing.map(|part| Cause::required(format!("{at}.{field}.{part}"), "")));
            } else if subject[field].is_object() {
                let why = format!("{field} is forbidden when subject kind is not '{kind}'");
                out.push(Cause::forbidden(format!("{at}.{field}"), &why));
            }
        }
    }
    if items(&rule["resourceRules"]).is_empty() && items(&rule["nonResourceRules"]).is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        out.push(Cause::required(at, why));
    }
    for (at, rule) in indexed(&rule["resourceRules"], &format!("{at}.resourceRules")) {
        list(out, rule, &at, "verbs", "verbs must contain at least one value");
        list(out, rule, &at, "apiGroups", "resource rules must supply at least one api group");
        list(out, rule, &at, "resources", "resource rules must supply at least one resource");
        if items(&rule["namespaces"]).is_empty() && rule["clusterScope"] != true {
            let why = "resource rules that are not cluster scoped must supply at least one namespace";
            out.push(Cause::required(format!("{at}.namespaces"), why));
        }
    }
    for (at, rule) in indexed(&rule["nonResourceRules"], &format!("{at}.nonResourceRules")) {
        list(out, rule, &at, "verbs", "verbs must contain at least one value");
        list(out, rule, &at, "nonResourceURLs", "nonResourceURLs must contain at least one value");
    }
}

fn list(out: &mut Causes, rule: &Value, at: &str, field: &str, why: &str) {
    let values = items(&rule[field]);
    if values.is_empty() {
        out.push(Cause::required(format!("{at}.{field}"), why));
    } else if values.len() > 1 && values.iter().any(|value| value == "*") {
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
    fixed(&mut out, own, "PriorityLevelConfiguration");
    let kind = text(&spec["type"]);
    if (kind == "Exempt") != (object::name(own) == "exempt") && matches!(kind, "Exempt" | "Limited") {
        let why = "type must be 'Exempt' if and only if `name` is 'exempt'";
        out.push(Cause::invalid("spec.type", kind, why));
    }
    one_of(&mut out, &spec["type"], "spec.type", &["Exempt", "Limited"]);
    let limited = &spec["limited"];
    match (kind, limited.is_object()) {
        ("Exempt", true) => {
            out.push(Cause::forbidden("spec.limited", "must be nil if the type is not Limited"))
        }
        ("Limited", false) => {
            out.push(Cause::required("spec.limited", "must not be empty when type is Limited"))
        }
        ("Limited", true) => limits(&mut out, limited),
        _ => {}
    }
    if kind == "Limited" && spec["exempt"].is_object() {
        out.push(Cause::forbidden("spec.exempt", "must be nil if the type is Limited"));
    }
    out
}

fn limits(out: &mut Causes, limited: &Value) {
    const AT: &str = "spec.limited";
    let mut check = |field: &str, holds: fn(i64) -> bool, why: &str| {
        if let Some(number) = limited[field].as_i64().filter(|number| !holds(*number)) {
            out.push(Cause::invalid(format!("{AT}.{field}"), number, why));
        }
    };
    check("nominalConcurrencyShares", |number| number >= 0, "must be a non-negative integer");
    check("lendablePercent", |number| (0..=100).contains(&number), "must be between 0 and 100, inclusive");
    check("borrowingLimitPercent", |number| number >= 0, "if specified, must be a non-negative integer");
    let response = &limited["limitResponse"];
    let queuing = &response["queuing"];
    let at = format!("{AT}.limitResponse");
    one_of(out, &response["type"], &format!("{at}.type"), &["Queue", "Reject"]);
    match (text(&response["type"]), queuing.is_object()) {
        ("Reject", true) => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            out.push(Cause::forbidden(format!("{at}.queuing"), why));
        }
        ("Queue", false) => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            out.push(Cause::required(format!("{at}.queuing"), why));
        }
        ("Queue", true) => queues(out, queuing, &format!("{at}.queuing")),
        _ => {}
    }
}

fn queues(out: &mut Causes, queuing: &Value, at: &str) {
    for field in ["queueLengthLimit", "queues", "handSize"] {
        if let Some(number) = queuing[field].as_i64().filter(|number| *number <= 0) {
            out.push(Cause::invalid(format!("{at}.{field}"), number, "must be positive"));
        }
    }
    let number = |field: &str| queuing[field].as_i64().unwrap_or_default();
    let (queues, hand) = (number("queues"), number("handSize"));
    if queues > MAX_QUEUES {
        out.push(Cause::invalid(format!("{at}.queues"), queues, "must not be greater than 10000000"));
    }
    if hand > queues {
        let why = format!("should not be greater than queues ({queues})");
        out.push(Cause::invalid(format!("{at}.handSize"), hand, &why));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::checks::assert_cases, *};

    #[test]
    fn the_objects_of_a_new_cluster_are_valid_and_the_mandatory_ones_fixed() {
        for object in flow_control::objects() {
            let causes = if object["kind"] == "FlowSchema" { schema(&object) } else { level(&object) };
            assert_eq!(causes, [], "{object}");
        }
        let mut changed = flow_control::mandatory().find(|own| own["kind"] == "FlowSchema").expect("one");
        changed["spec"]["rules"] = json!([]);
        assert_eq!(schema(&changed).len(), 1);
    }

    #[test]
    fn schemas_and_levels_get_the_stock_causes() {
        let own = json!({"metadata": {"name": "x"}, "spec": {"matchingPrecedence": 5, "priorityLevelConfiguration": {"name": "y"}}});
        assert_cases(
            own,
            schema,
            &[
                (
                    json!({"spec": {"matchingPrecedence": 1}}),
                    &[
                        "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                    ],
                ),
                (
                    json!({"spec": {"priorityLevelConfiguration": {"name": ""}}}),
                    &[
                        "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                    ],
                ),
                (
                    json!({"spec": {"rules": [{"subjects": [{"kind": "User"}]}]}}),
                    &[
                        "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                        "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
                    ],
                ),
            ],
        );
        let own = json!({"metadata": {"name": "x"}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}});
        assert_cases(
            own,
            level,
            &[
                (
                    json!({"spec": {"limited": {"lendablePercent": 101}}}),
                    &[
                        "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                    ],
                ),
                (
                    json!({"spec": {"limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 2, "handSize": 3, "queueLengthLimit": 0}}}}}),
                    &[
                        "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: 0: must be positive",
                        "spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)",
                    ],
                ),
            ],
        );
    }
}
