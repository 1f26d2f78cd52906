//! ResourceQuotas and LimitRanges.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go
//! (`ValidateResourceQuotaSpec`, `ValidateLimitRange`)

use std::collections::BTreeSet;

use coracle_quota::Amounts;
use coracle_schema::Quantity;
use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, NON_NEGATIVE, add, indexed, is_set, items, text},
    pod_spec::{container_resource, is_extended_resource, resource_name},
};
use crate::{metadata::qualified_name_problems, object::strings, status::Cause};

pub static QUOTA: Checked =
    Checked::new(quota).checking_status(|quota, _| quota_status(quota)).comparing(|new, old| {
        let (now, before) = (&new["spec"]["scopes"], &old["spec"]["scopes"]);
        let set = |scopes| -> BTreeSet<String> { strings(scopes).into_iter().map(String::from).collect() };
        if set(now) == set(before) {
            return Vec::new();
        }
        vec![Cause::invalid("spec.scopes", now.clone(), super::checks::IMMUTABLE)]
    });
pub static LIMIT_RANGE: Checked = Checked::new(limit_range).created_by_update();

/// Names without a prefix that a quota may limit.
const QUOTA_RESOURCES: [&str; 18] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
];
const COMPUTE: [&str; 6] =
    ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
/// What comes in whole numbers only.
const COUNTS: [&str; 9] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_quota_resource(name: &str) -> bool {
    QUOTA_RESOURCES.contains(&name)
        || name == "services.loadbalancers"
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
}

fn is_whole(name: &str) -> bool {
    COUNTS.contains(&name) || is_extended_resource(name)
}

fn quota(quota: &Value) -> Causes {
    let (spec, mut out) = (&quota["spec"], Vec::new());
    amounts(&mut out, &spec["hard"], "spec.hard");
    out.extend(quota_status(quota));
    scopes(&mut out, spec);
    selector(&mut out, spec);
    out
}

fn quota_status(quota: &Value) -> Causes {
    let (status, mut out) = (&quota["status"], Vec::new());
    amounts(&mut out, &status["hard"], "status.hard");
    amounts(&mut out, &status["used"], "status.used");
    out
}

fn amounts(out: &mut Causes, list: &Value, path: &str) {
    for (name, amount) in list.as_object().into_iter().flatten() {
        hard(out, name, amount, &format!("{path}[{name}]"));
    }
}

fn hard(out: &mut Causes, name: &str, amount: &Value, path: &str) {
    let problems = qualified_name_problems(name);
    let bad = !problems.is_empty();
    add(out, path, name, problems);
    if !bad && !name.contains('/') && !is_quota_resource(name) {
        if !super::pod_spec::is_standard_resource(name) {
            out.push(Cause::invalid(path, name, "must be a standard resource type or fully qualified"));
        }
        out.push(Cause::invalid(path, name, "must be a standard resource for quota"));
    }
    let Some(quantity) = Quantity::from_value(amount) else { return };
    if quantity.is_negative() {
        out.push(Cause::invalid(path, amount.clone(), NON_NEGATIVE));
    }
    if is_whole(name) && quantity.round_up() != quantity {
        out.push(Cause::invalid(path, amount.clone(), "must be an integer"));
    }
}

/// What a scope can be combined with; `None`: there is no such scope.
fn scope_allows(scope: &str, resource: &str) -> Option<bool> {
    match scope {
        "BestEffort" => Some(resource == "pods"),
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => Some(resource == "pods" || COMPUTE.contains(&resource)),
        "VolumeAttributesClass" => Some(matches!(resource, "persistentvolumeclaims" | "requests.storage")),
        _ => None,
    }
}

const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

/// Each scope is known, fits to what is limited, and to the others.
fn check_scopes(out: &mut Causes, names: &[&str], hard: &Value, at: &str, shown: &Value, unknown_at: &str) {
    let limited: Vec<&String> = hard.as_object().into_iter().flatten().map(|(name, _)| name).collect();
    for name in names {
        if scope_allows(name, "").is_none() {
            let value = if at == unknown_at { shown.clone() } else { (*name).into() };
            out.push(Cause::invalid(unknown_at, value, "unsupported scope"));
        }
        for resource in limited.iter().filter(|resource| is_quota_resource(resource)) {
            if scope_allows(name, resource) == Some(false) {
                out.push(Cause::invalid(at, shown.clone(), "unsupported scope applied to resource"));
            }
        }
    }
    if OPPOSITES.iter().any(|pair| pair.iter().all(|name| names.contains(name))) {
        out.push(Cause::invalid(at, shown.clone(), "conflicting scopes"));
    }
}

fn scopes(out: &mut Causes, spec: &Value) {
    let names = strings(&spec["scopes"]);
    check_scopes(out, &names, &spec["hard"], "spec.scopes", &spec["scopes"], "spec.scopes");
}

fn selector(out: &mut Causes, spec: &Value) {
    const AT: &str = "spec.scopeSelector.matchExpressions";
    let expressions = items(&spec["scopeSelector"]["matchExpressions"]);
    let names: Vec<&str> = expressions.iter().map(|one| text(&one["scopeName"])).collect();
    check_scopes(out, &names, &spec["hard"], AT, &spec["scopeSelector"], &format!("{AT}.scopeName"));
    for one in expressions {
        let (scope, operator) = (text(&one["scopeName"]), text(&one["operator"]));
        let takes_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if scope_allows(scope, "").is_some() && !takes_values && operator != "Exists" {
            let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            out.push(Cause::invalid(format!("{AT}.operator"), operator, why));
        }
        let values = format!("{AT}.values");
        match operator {
            "In" | "NotIn" if !is_set(&one["values"]) => out.push(Cause::required(
                values,
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if is_set(&one["values"]) => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                out.push(Cause::invalid(values, one["values"].clone(), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                out.push(Cause::invalid(format!("{AT}.operator"), other, "not a valid selector operator"))
            }
        }
    }
}

fn limit_range(range: &Value) -> Causes {
    let mut out = Vec::new();
    let mut kinds = BTreeSet::new();
    for (at, limit) in indexed(&range["spec"]["limits"], "spec.limits") {
        let kind = text(&limit["type"]);
        if !kinds.insert(kind) {
            out.push(Cause::duplicate(format!("{at}.type"), kind));
        }
        limit_item(&mut out, limit, kind, &at);
    }
    out
}

fn limit_item(out: &mut Causes, limit: &Value, kind: &str, at: &str) {
    let problems = qualified_name_problems(kind);
    let bad = !problems.is_empty();
    add(out, &format!("{at}.type"), kind, problems);
    if !bad && !kind.contains('/') && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") {
        let why = "must be a standard limit type or fully qualified";
        out.push(Cause::invalid(format!("{at}.type"), kind, why));
    }
    if kind == "Pod" {
        for field in ["default", "defaultRequest"] {
            if is_set(&limit[field]) {
                let why = "may not be specified when `type` is 'Pod'";
                out.push(Cause::forbidden(format!("{at}.{field}"), why));
            }
        }
    }
    if kind == "PersistentVolumeClaim"
        && limit["min"]["storage"].is_null()
        && limit["max"]["storage"].is_null()
    {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        out.push(Cause::required(format!("{at}.limits"), why));
    }
    for field in ["max", "min", "default", "defaultRequest"] {
        super::checks::amounts(out, &limit[field], &format!("{at}.{field}"));
    }
    let is_pods = matches!(kind, "Pod" | "Container");
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        for (name, _) in limit[field].as_object().into_iter().flatten() {
            let of_kind = if is_pods { container_resource } else { resource_name };
            of_kind(out, name, &format!("{at}.{field}[{name}]"));
        }
    }
    let bounds = Bounds {
        min: Amounts::of(&limit["min"]),
        max: Amounts::of(&limit["max"]),
        limit: Amounts::of(&limit["default"]),
        request: Amounts::of(&limit["defaultRequest"]),
        ratio: Amounts::of(&limit["maxLimitRequestRatio"]),
    };
    bounds.check(out, at);
}

struct Bounds {
    min: Amounts,
    max: Amounts,
    limit: Amounts,
    request: Amounts,
    ratio: Amounts,
}

impl Bounds {
    fn check(&self, out: &mut Causes, at: &str) {
        let all = [&self.min, &self.max, &self.limit, &self.request, &self.ratio];
        let names: BTreeSet<&str> = all.iter().flat_map(|amounts| amounts.names()).collect();
        for name in names {
            self.order(out, at, name);
            self.proportion(out, at, name);
        }
    }

    /// min ≤ defaultRequest ≤ default ≤ max
    fn order(&self, out: &mut Causes, at: &str, name: &str) {
        let [min, max, limit, request] =
            [&self.min, &self.max, &self.limit, &self.request].map(|amounts| amounts.get(name));
        // (what must not be greater, than what, where it shows, the value that is shown, in words)
        let rules = [
            (min, max, "min", min, ["min", "max"]),
            (min, request, "defaultRequest", request, ["min", "default request"]),
            (request, max, "defaultRequest", request, ["default request", "max"]),
            (request, limit, "defaultRequest", request, ["default request", "default limit"]),
            (min, limit, "default", min, ["min", "default"]),
            (limit, max, "default", max, ["default", "max"]),
        ];
        for (lower, upper, field, shown, [less, more]) in rules {
            if let (Some(lower), Some(upper), Some(shown)) = (lower, upper, shown)
                && lower > upper
            {
                let why = format!("{less} value {lower} is greater than {more} value {upper}");
                out.push(Cause::invalid(format!("{at}.{field}[{name}]"), shown.to_string(), &why));
            }
        }
        let shared = !name.contains('/') && !name.starts_with("hugepages-");
        if let (false, Some(limit), Some(request)) = (shared, limit, request)
            && limit != request
        {
            let why = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
            out.push(Cause::invalid(format!("{at}.defaultRequest[{name}]"), request.to_string(), &why));
        }
    }

    fn proportion(&self, out: &mut Causes, at: &str, name: &str) {
        let Some(ratio) = self.ratio.get(name) else { return };
        let field = format!("{at}.maxLimitRequestRatio[{name}]");
        if ratio < Quantity::whole(1) {
            let why = format!("ratio {ratio} is less than 1");
            out.push(Cause::invalid(field.as_str(), ratio.to_string(), &why));
        }
        if let (Some(min), Some(max)) = (self.min.get(name).filter(|min| !min.is_zero()), self.max.get(name))
        {
            let most = max.nanos() as f64 / min.nanos() as f64;
            if ratio.nanos() as f64 / Quantity::whole(1).nanos() as f64 > most {
                let why = format!("ratio {ratio} is greater than max/min = {most:.6}");
                out.push(Cause::invalid(field, ratio.to_string(), &why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn quotas_get_the_stock_causes() {
        let on = |scopes: Value| json!({"spec": {"scopes": scopes}});
        let select = |scope: &str, operator: &str, values: Value| json!({"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": scope, "operator": operator, "values": values}]}}});
        assert_cases(
            json!({"spec": {"hard": {"pods": "1"}}}),
            quota,
            &[
                (
                    json!({"spec": {"hard": {"requests.nvidia.com/gpu": "1", "count/a.b": "1", "x.storageclass.storage.k8s.io/requests.storage": "1Gi"}}}),
                    &[],
                ),
                (
                    json!({"spec": {"hard": {"storage": "1"}}}),
                    &[
                        "spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota",
                    ],
                ),
                (
                    json!({"spec": {"hard": {"pods": "1500m"}}}),
                    &["spec.hard[pods]: Invalid value: \"1500m\": must be an integer"],
                ),
                (
                    json!({"spec": {"hard": {"cpu": "-1"}}}),
                    &["spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
                ),
                (
                    on(json!(["Sometimes"])),
                    &["spec.scopes: Invalid value: [\"Sometimes\"]: unsupported scope"],
                ),
                (
                    on(json!(["BestEffort", "NotBestEffort"])),
                    &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
                ),
                (
                    json!({"spec": {"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}}),
                    &["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"],
                ),
                (select("PriorityClass", "In", json!(["high"])), &[]),
                (
                    select("PriorityClass", "In", json!([])),
                    &[
                        "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                    ],
                ),
            ],
        );
        assert_cases(
            json!({"status": {"hard": {"pods": "2"}, "used": {"pods": "1"}}}),
            |quota| (QUOTA.status)(quota, quota),
            &[(
                json!({"status": {"used": {"pods": "-1", "foo": "1"}}}),
                &[
                    "status.used[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
                    "status.used[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
                    "status.used[foo]: Invalid value: \"foo\": must be a standard resource for quota",
                ],
            )],
        );
        let scopes = |scopes: Value| json!({"spec": {"scopes": scopes}});
        let causes = (QUOTA.compare)(&scopes(json!(["Terminating"])), &scopes(json!([])));
        assert_eq!(
            causes[0].to_string(),
            "spec.scopes: Invalid value: [\"Terminating\"]: field is immutable"
        );
    }

    #[test]
    fn limit_ranges_get_the_stock_causes() {
        let of = |limit: Value| json!({"spec": {"limits": [limit]}});
        let cpu = |amount: &str| json!({"cpu": amount});
        assert_cases(
            of(json!({"type": "Container", "max": {"cpu": "2"}})),
            limit_range,
            &[
                (
                    of(json!({"type": "Container", "min": cpu("2"), "max": cpu("1")})),
                    &[
                        "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                    ],
                ),
                (
                    of(json!({"type": "Container", "defaultRequest": cpu("2"), "default": cpu("1")})),
                    &[
                        "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1",
                    ],
                ),
                (
                    of(json!({"type": "Container", "maxLimitRequestRatio": cpu("500m")})),
                    &[
                        "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
                    ],
                ),
                (
                    of(
                        json!({"type": "Container", "min": cpu("1"), "max": cpu("2"), "maxLimitRequestRatio": cpu("3")}),
                    ),
                    &[
                        "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
                    ],
                ),
                (
                    of(json!({"type": "Pod", "default": cpu("1")})),
                    &["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
                ),
                (
                    of(json!({"type": "PersistentVolumeClaim"})),
                    &[
                        "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
                    ],
                ),
                (
                    of(json!({"type": "Container", "max": {"gold": "2"}})),
                    &[
                        "spec.limits[0].max[gold]: Invalid value: \"gold\": must be a standard resource type or fully qualified",
                        "spec.limits[0].max[gold]: Invalid value: \"gold\": must be a standard resource for containers",
                    ],
                ),
                (
                    of(json!({"type": "example.com/thing", "max": {"gold": "2"}})),
                    &[
                        "spec.limits[0].max[gold]: Invalid value: \"gold\": must be a standard resource type or fully qualified",
                    ],
                ),
                (
                    of(json!({"type": "Planet"})),
                    &[
                        "spec.limits[0].type: Invalid value: \"Planet\": must be a standard limit type or fully qualified",
                    ],
                ),
            ],
        );
    }
}
