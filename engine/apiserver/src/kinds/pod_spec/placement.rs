//! Where a pod may go: affinity, tolerations, topology spread, scheduling gates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::checks::{Causes, add, indexed, is_set, items, one_of, text},
    label_keys::{names_itself, names_twice},
    selector,
};
use crate::{
    metadata::{label_problems, label_value_problems, qualified_name_problems, subdomain_problems},
    status::Cause,
};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub fn validate(out: &mut Causes, spec: &Value, path: &str) {
    node_affinity(out, &spec["affinity"]["nodeAffinity"], &format!("{path}.affinity.nodeAffinity"));
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = &spec["affinity"][kind];
        let at = format!("{path}.affinity.{kind}");
        for (at, term) in indexed(&affinity[REQUIRED], &format!("{at}.{REQUIRED}")) {
            pod_term(out, term, &at);
        }
        for (at, weighted) in indexed(&affinity[PREFERRED], &format!("{at}.{PREFERRED}")) {
            weight(out, weighted, &at);
            pod_term(out, &weighted["podAffinityTerm"], &format!("{at}.podAffinityTerm"));
        }
    }
    gates(out, spec, path);
    spread(out, &spec["topologySpreadConstraints"], &format!("{path}.topologySpreadConstraints"));
    tolerations(out, &spec["tolerations"], &format!("{path}.tolerations"));
}

fn weight(out: &mut Causes, weighted: &Value, path: &str) {
    let weight = weighted["weight"].as_i64().unwrap_or_default();
    if !(1..=100).contains(&weight) {
        out.push(Cause::invalid(format!("{path}.weight"), weight, "must be in the range 1-100"));
    }
}

fn node_affinity(out: &mut Causes, affinity: &Value, path: &str) {
    if affinity[REQUIRED].is_object() {
        node_selector(out, &affinity[REQUIRED], &format!("{path}.{REQUIRED}"));
    }
    for (at, weighted) in indexed(&affinity[PREFERRED], &format!("{path}.{PREFERRED}")) {
        weight(out, weighted, &at);
        let (term, at) = (&weighted["preference"], format!("{at}.preference"));
        for (at, expression) in indexed(&term["matchExpressions"], &format!("{at}.matchExpressions")) {
            node_requirement(out, expression, &at);
        }
        node_fields(out, term, &at);
    }
}

pub fn node_selector(out: &mut Causes, selector: &Value, path: &str) {
    let (terms, at) = (&selector["nodeSelectorTerms"], format!("{path}.nodeSelectorTerms"));
    if items(terms).is_empty() {
        out.push(Cause::required(at.as_str(), "must have at least one node selector term"));
    }
    for (at, term) in indexed(terms, &at) {
        for (at, expression) in indexed(&term["matchExpressions"], &format!("{at}.matchExpressions")) {
            node_requirement(out, expression, &at);
            // Of what is only preferred, upstream does not look at the values.
            for (at, value) in indexed(&expression["values"], &format!("{at}.values")) {
                add(out, &at, text(value), label_value_problems(text(value)));
            }
        }
        node_fields(out, term, &at);
    }
}

fn node_fields(out: &mut Causes, term: &Value, path: &str) {
    for (at, own) in indexed(&term["matchFields"], &format!("{path}.matchFields")) {
        let (values, values_at) = (&own["values"], format!("{at}.values"));
        match text(&own["operator"]) {
            "In" | "NotIn" if items(values).len() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                out.push(Cause::required(values_at.as_str(), why));
            }
            "In" | "NotIn" => {}
            other => {
                out.push(Cause::invalid(format!("{at}.operator"), other, "not a valid selector operator"))
            }
        }
        let key = text(&own["key"]);
        if key != "metadata.name" {
            out.push(Cause::invalid(format!("{at}.key"), key, "not a valid field selector key"));
            continue;
        }
        for (at, value) in indexed(values, &values_at) {
            add(out, &at, text(value), subdomain_problems(text(value)));
        }
    }
}

fn node_requirement(out: &mut Causes, expression: &Value, path: &str) {
    let count = items(&expression["values"]).len();
    let at = format!("{path}.values");
    match text(&expression["operator"]) {
        "In" | "NotIn" if count == 0 => {
            out.push(Cause::required(at, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            out.push(Cause::forbidden(
                at,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ));
        }
        "Gt" | "Lt" if count != 1 => {
            out.push(Cause::required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => out.push(Cause::invalid(format!("{path}.operator"), other, "not a valid selector operator")),
    }
    let key = text(&expression["key"]);
    add(out, &format!("{path}.key"), key, qualified_name_problems(key));
}

fn pod_term(out: &mut Causes, term: &Value, path: &str) {
    selector(out, &term["labelSelector"], &format!("{path}.labelSelector"));
    selector(out, &term["namespaceSelector"], &format!("{path}.namespaceSelector"));
    for name in items(&term["namespaces"]) {
        add(out, &format!("{path}.namespace"), text(name), label_problems(text(name)));
    }
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let at = format!("{path}.{field}");
        if is_set(&term[field]) && term["labelSelector"].is_null() {
            out.push(Cause::forbidden(at, "must not be specified when labelSelector is not set"));
            continue;
        }
        for (at, key) in indexed(&term[field], &at) {
            add(out, &at, text(key), qualified_name_problems(text(key)));
        }
    }
    for (at, key) in indexed(&term["matchLabelKeys"], path) {
        if names_twice(&term["labelSelector"], text(key)) {
            // Upstream leaves out the field.
            out.push(Cause::invalid(at, key.clone(), "exists in both matchLabelKeys and labelSelector"));
        }
    }
    for (at, key) in indexed(&term["matchLabelKeys"], &format!("{path}.matchLabelKeys")) {
        if items(&term["mismatchLabelKeys"]).contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            out.push(Cause::invalid(at, key.clone(), why));
        }
    }
    topology_key(out, term, path);
}

fn topology_key(out: &mut Causes, term: &Value, path: &str) {
    let at = format!("{path}.topologyKey");
    let key = text(&term["topologyKey"]);
    if key.is_empty() {
        out.push(Cause::required(at.as_str(), "can not be empty"));
    }
    add(out, &at, key, qualified_name_problems(key));
}

fn gates(out: &mut Causes, spec: &Value, path: &str) {
    let mut seen = BTreeSet::new();
    for (at, gate) in indexed(&spec["schedulingGates"], &format!("{path}.schedulingGates")) {
        let name = text(&gate["name"]);
        add(out, &at, name, qualified_name_problems(name));
        if !seen.insert(name) {
            out.push(Cause::duplicate(at, name));
        }
    }
    if is_set(&spec["schedulingGates"]) && is_set(&spec["nodeName"]) {
        let why = "cannot be set until all schedulingGates have been cleared";
        out.push(Cause::forbidden(format!("{path}.nodeName"), why));
    }
    for (at, gate) in indexed(&spec["readinessGates"], &format!("{path}.readinessGates")) {
        let name = text(&gate["conditionType"]);
        add(out, &format!("{at}.conditionType"), name, qualified_name_problems(name));
    }
}

const NOT_POSITIVE: &str = "must be greater than zero";

fn spread(out: &mut Causes, constraints: &Value, path: &str) {
    for (position, (at, constraint)) in indexed(constraints, path).enumerate() {
        let skew = constraint["maxSkew"].as_i64().unwrap_or_default();
        if skew <= 0 {
            out.push(Cause::invalid(format!("{at}.maxSkew"), skew, NOT_POSITIVE));
        }
        let key = text(&constraint["topologyKey"]);
        if key.is_empty() {
            out.push(Cause::required(format!("{at}.topologyKey"), "can not be empty"));
        }
        let allowed = ["DoNotSchedule", "ScheduleAnyway"];
        let when = text(&constraint["whenUnsatisfiable"]);
        if !allowed.contains(&when) {
            out.push(Cause::not_supported(format!("{at}.whenUnsatisfiable"), when, &allowed));
        }
        let again =
            |other: &Value| text(&other["topologyKey"]) == key && text(&other["whenUnsatisfiable"]) == when;
        if items(constraints)[position + 1..].iter().any(again) {
            let pair = format!("{at}.{{topologyKey, whenUnsatisfiable}}");
            out.push(Cause::duplicate(pair, format!("{{{key}, {when}}}")));
        }
        if let Some(domains) = constraint["minDomains"].as_i64() {
            let at = format!("{at}.minDomains");
            if domains <= 0 {
                out.push(Cause::invalid(at.as_str(), domains, NOT_POSITIVE));
            }
            if when != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
                out.push(Cause::invalid(at, domains, &why));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(out, &constraint[field], &format!("{at}.{field}"), &["Honor", "Ignore"]);
        }
        matched_keys(out, constraint, &format!("{at}.matchLabelKeys"));
        selector(out, &constraint["labelSelector"], &format!("{at}.labelSelector"));
    }
}

/// Label keys that join a constraint's selector are not in it already.
fn matched_keys(out: &mut Causes, constraint: &Value, path: &str) {
    let (keys, selector) = (&constraint["matchLabelKeys"], &constraint["labelSelector"]);
    if is_set(keys) && selector.is_null() {
        out.push(Cause::forbidden(path, "must not be specified when labelSelector is not set"));
    }
    for (at, key) in indexed(keys, path) {
        let key = text(key);
        add(out, &at, key, qualified_name_problems(key));
        if names_itself(selector, key) {
            out.push(Cause::invalid(at, key, "exists in both matchLabelKeys and labelSelector"));
        }
    }
}

pub fn tolerations(out: &mut Causes, tolerations: &Value, path: &str) {
    for (at, toleration) in indexed(tolerations, path) {
        let (key, operator) = (text(&toleration["key"]), text(&toleration["operator"]));
        if !key.is_empty() {
            add(out, &format!("{at}.key"), key, qualified_name_problems(key));
        } else if operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            out.push(Cause::invalid(format!("{at}.operator"), operator, why));
        }
        let effect = text(&toleration["effect"]);
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            out.push(Cause::invalid(format!("{at}.effect"), effect, why));
        }
        match operator {
            "" | "Equal" => {
                let value = text(&toleration["value"]);
                let problems = label_value_problems(value);
                if !problems.is_empty() {
                    out.push(Cause::invalid(format!("{at}.operator"), value, &problems.join(";")));
                }
            }
            "Exists" if is_set(&toleration["value"]) => {
                let why = "value must be empty when `operator` is 'Exists'";
                out.push(Cause::invalid(format!("{at}.operator"), toleration["value"].clone(), why));
            }
            "Exists" => {}
            other => out.push(Cause::not_supported(format!("{at}.operator"), other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            one_of(out, &toleration["effect"], &format!("{at}.effect"), &EFFECTS);
        }
    }
}
