//! What limits and ranks workloads: autoscalers, budgets, quotas, priorities, flow control, device claims.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    AGE, NAME, Printer, age,
    cells::{NONE, UNSET, boolean, either, has_condition, integer, items, number, shown, shown_or, text},
    name,
};

pub const AUTOSCALERS: Printer = Printer {
    columns: &[
        NAME,
        text("Reference", "scaleTargetRef points to the target resource to scale."),
        text(
            "Targets",
            "metrics contains the specifications for which to use to calculate the desired replica count.",
        ),
        text(
            "MinPods",
            "minReplicas is the lower limit for the number of replicas to which the autoscaler can scale down.",
        ),
        text(
            "MaxPods",
            "maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale up.",
        ),
        integer(
            "Replicas",
            "currentReplicas is current number of replicas of pods managed by this autoscaler.",
        ),
        AGE,
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let target = &spec["scaleTargetRef"];
        let min = spec["minReplicas"].as_i64().map_or(UNSET.into(), |own| own.to_string());
        vec![
            name(object),
            format!("{}/{}", shown(&target["kind"]), shown(&target["name"])).into(),
            targets(spec, status).into(),
            min.into(),
            number(&spec["maxReplicas"]).to_string().into(),
            number(&status["currentReplicas"]).into(),
            age::of(object, now),
        ]
    },
};

/// How many metrics a cell names before it only counts them.
const METRICS_MAX: usize = 2;

fn targets(spec: &Value, status: &Value) -> String {
    if let Some(wanted) = spec["targetCPUUtilizationPercentage"].as_i64() {
        let current = status["currentCPUUtilizationPercentage"].as_i64();
        return format!("cpu: {}/{wanted}%", current.map_or("<unknown>".into(), |own| format!("{own}%")));
    }
    let metrics = items(&spec["metrics"]);
    if metrics.is_empty() {
        return NONE.into();
    }
    let current = items(&status["currentMetrics"]);
    let nothing = Value::Null;
    let mut texts: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(at, metric)| target(metric, current.get(at).unwrap_or(&nothing)))
        .collect();
    let more = texts.len().saturating_sub(METRICS_MAX);
    texts.truncate(METRICS_MAX);
    let text = texts.join(", ");
    if more > 0 { format!("{text} + {more} more...") } else { text }
}

fn target(metric: &Value, current: &Value) -> String {
    let (source, head) = match shown(&metric["type"]) {
        "Resource" => ("resource", format!("{}: ", shown(&metric["resource"]["name"]))),
        "ContainerResource" => {
            ("containerResource", format!("{}: ", shown(&metric["containerResource"]["name"])))
        }
        "Pods" => ("pods", String::new()),
        "Object" => ("object", String::new()),
        "External" => ("external", String::new()),
        _ => return "<unknown type>".into(),
    };
    let (wanted, now) = (&metric[source]["target"], &current[source]["current"]);
    let current_text = |field: &str, unit: &str| match &now[field] {
        Value::Null => "<unknown>".to_owned(),
        value => format!("{}{unit}", either(value)),
    };
    match shown(&wanted["type"]) {
        "Utilization" => {
            format!(
                "{head}{}/{}%",
                current_text("averageUtilization", "%"),
                number(&wanted["averageUtilization"])
            )
        }
        "AverageValue" => {
            let unit = if source == "pods" || source.ends_with("esource") { "" } else { " (avg)" };
            format!("{head}{}/{}{unit}", current_text("averageValue", ""), either(&wanted["averageValue"]))
        }
        _ => format!("{head}{}/{}", current_text("value", ""), either(&wanted["value"])),
    }
}

pub const DISRUPTION_BUDGETS: Printer = Printer {
    columns: &[
        NAME,
        text("Min Available", "The minimum number of pods that must be available."),
        text("Max Unavailable", "The maximum number of pods that may be unavailable."),
        integer("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."),
        AGE,
    ],
    cells: |object, now| {
        let bound = |field: &str| match &object["spec"][field] {
            Value::Null => "N/A".to_owned(),
            value => either(value),
        };
        vec![
            name(object),
            bound("minAvailable").into(),
            bound("maxUnavailable").into(),
            number(&object["status"]["disruptionsAllowed"]).into(),
            age::of(object, now),
        ]
    },
};

pub const QUOTAS: Printer = Printer {
    columns: &[
        NAME,
        text("Request", "Request represents a minimum amount of cpu/memory that a container may consume."),
        text(
            "Limit",
            "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
        ),
        AGE,
    ],
    cells: |quota, now| {
        let used = &quota["status"]["used"];
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        let hard: BTreeMap<&String, &Value> =
            quota["status"]["hard"].as_object().into_iter().flatten().collect();
        for (resource, hard) in hard {
            let used = match &used[resource] {
                Value::Null => "0".into(),
                value => either(value),
            };
            let text = format!("{resource}: {used}/{}", either(hard));
            if resource.starts_with("limits") { limits.push(text) } else { requests.push(text) }
        }
        vec![name(quota), requests.join(", ").into(), limits.join(", ").into(), age::of(quota, now)]
    },
};

pub const PRIORITY_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        integer("Value", "value represents the integer value of this priority class."),
        boolean(
            "Global-Default",
            "globalDefault specifies whether this PriorityClass should be considered as the default priority for pods that do not have any priority class.",
        ),
        AGE,
        text("PreemptionPolicy", "preemptionPolicy is the Policy for preempting pods with lower priority."),
    ],
    cells: |class, now| {
        vec![
            name(class),
            number(&class["value"]).into(),
            class["globalDefault"].as_bool().unwrap_or_default().into(),
            age::of(class, now),
            shown_or(&class["preemptionPolicy"], NONE).into(),
        ]
    },
};

pub const RUNTIME_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        text(
            "Handler",
            "handler specifies the underlying runtime and configuration that the CRI implementation will use to handle pods of this class.",
        ),
        AGE,
    ],
    cells: |class, now| vec![name(class), shown(&class["handler"]).into(), age::of(class, now)],
};

pub const FLOW_SCHEMAS: Printer = Printer {
    columns: &[
        NAME,
        text(
            "PriorityLevel",
            "`name` is the name of the priority level configuration being referenced Required.",
        ),
        integer(
            "MatchingPrecedence",
            "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request.",
        ),
        text(
            "DistinguisherMethod",
            "`type` is the type of flow distinguisher method The supported types are \"ByUser\" and \"ByNamespace\".",
        ),
        AGE,
        text("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
    ],
    cells: |schema, now| {
        let spec = &schema["spec"];
        let dangling = super::cells::condition(schema, "Dangling").map_or("?", |own| shown(&own["status"]));
        vec![
            name(schema),
            shown_or(&spec["priorityLevelConfiguration"]["name"], NONE).into(),
            number(&spec["matchingPrecedence"]).into(),
            shown_or(&spec["distinguisherMethod"]["type"], NONE).into(),
            age::of(schema, now),
            dangling.into(),
        ]
    },
};

pub const PRIORITY_LEVELS: Printer = Printer {
    columns: &[
        NAME,
        text(
            "Type",
            "`type` indicates whether this priority level is subject to limitation on request execution.",
        ),
        text(
            "NominalConcurrencyShares",
            "`nominalConcurrencyShares` contributes to the computation of the NominalConcurrencyLimit of this level.",
        ),
        text("Queues", "`queues` is the number of queues for this priority level."),
        text(
            "HandSize",
            "`handSize` is a small positive number that configures the shuffle sharding of requests into queues.",
        ),
        text(
            "QueueLengthLimit",
            "`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given queue of this priority level at a time.",
        ),
        AGE,
    ],
    cells: |level, now| {
        let spec = &level["spec"];
        let limited = &spec["limited"];
        let queuing = &limited["limitResponse"]["queuing"];
        let some =
            |value: &Value| -> Value { if value.is_null() { NONE.into() } else { either(value).into() } };
        let shares = match &limited["nominalConcurrencyShares"] {
            Value::Null => &spec["exempt"]["nominalConcurrencyShares"],
            own => own,
        };
        vec![
            name(level),
            shown(&spec["type"]).into(),
            some(shares),
            some(&queuing["queues"]),
            some(&queuing["handSize"]),
            some(&queuing["queueLengthLimit"]),
            age::of(level, now),
        ]
    },
};

pub const RESOURCE_CLAIMS: Printer = Printer {
    columns: &[
        NAME,
        text("State", "A summary of the current state (allocated, pending, reserved, etc.)."),
        AGE,
    ],
    cells: |claim, now| {
        let status = &claim["status"];
        let mut states = Vec::new();
        if claim["metadata"]["deletionTimestamp"].is_string() {
            states.push("deleted");
        }
        if status["allocation"].is_object() {
            states.push("allocated");
        } else if states.is_empty() {
            states.push("pending");
        }
        if !items(&status["reservedFor"]).is_empty() {
            states.push("reserved");
        }
        vec![name(claim), states.join(",").into(), age::of(claim, now)]
    },
};

pub const RESOURCE_SLICES: Printer = Printer {
    columns: &[
        NAME,
        text("Node", "NodeName identifies the node which provides the resources in this pool."),
        text("Driver", "Driver identifies the DRA driver providing the capacity information."),
        text("Pool", "Pool describes the pool that this ResourceSlice belongs to."),
        AGE,
    ],
    cells: |slice, now| {
        let spec = &slice["spec"];
        vec![
            name(slice),
            shown_or(&spec["nodeName"], UNSET).into(),
            shown(&spec["driver"]).into(),
            shown(&spec["pool"]["name"]).into(),
            age::of(slice, now),
        ]
    },
};

pub const API_SERVICES: Printer = Printer {
    columns: &[
        NAME,
        text("Service", "The reference to the service that hosts this API endpoint."),
        text("Available", "Whether this service is available."),
        AGE,
    ],
    cells: |object, now| {
        let service = &object["spec"]["service"];
        let place = match shown(&service["name"]) {
            "" => "Local".into(),
            own => format!("{}/{own}", shown(&service["namespace"])),
        };
        let available = match super::cells::condition(object, "Available") {
            _ if has_condition(object, "Available") => "True".into(),
            Some(own) => format!("{} ({})", shown(&own["status"]), shown(&own["reason"])),
            None => "Unknown".into(),
        };
        vec![name(object), place.into(), available.into(), age::of(object, now)]
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn targets_show_what_is_and_what_is_wanted() {
        let cpu = |current: Value| {
            let status = json!({"currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]});
            let spec = json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]});
            targets(&spec, &status)
        };
        assert_eq!(cpu(json!({"averageUtilization": 7})), "cpu: 7%/50%");
        assert_eq!(cpu(json!({})), "cpu: <unknown>/50%");
        assert_eq!(targets(&json!({"targetCPUUtilizationPercentage": 80}), &json!({})), "cpu: <unknown>/80%");
        assert_eq!(targets(&json!({}), &json!({})), "<none>");
    }
}
