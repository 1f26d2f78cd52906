//! Nodes, Namespaces, Events, and the small objects of the core group.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AGE, Column, NAME, Printer, age,
    cells::{NONE, condition, count, created, integer, items, joined, number, shown, shown_or, text},
    name,
};

const ROLE_LABEL: &str = "node-role.kubernetes.io/";
const OLD_ROLE_LABEL: &str = "kubernetes.io/role";
const ADDRESSES: &str = "List of addresses reachable to the node.";

pub const NODES: Printer = Printer {
    columns: &[
        NAME,
        text("Status", "The status of the node"),
        text("Roles", "The roles of the node"),
        AGE,
        text("Version", "Kubelet Version reported by the node."),
        text("Internal-IP", ADDRESSES).wide(),
        text("External-IP", ADDRESSES).wide(),
        text("OS-Image", "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).").wide(),
        text("Kernel-Version", "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).").wide(),
        text("Container-Runtime", "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).").wide(),
    ],
    cells: |node, now| {
        let info = &node["status"]["nodeInfo"];
        let address = |kind: &str| -> Value {
            let all = items(&node["status"]["addresses"]);
            let found = all.iter().find(|address| address["type"] == kind);
            found.map_or(NONE, |address| shown(&address["address"])).into()
        };
        vec![
            name(node),
            node_status(node).into(),
            joined(roles(node), NONE).into(),
            age::of(node, now),
            shown(&info["kubeletVersion"]).into(),
            address("InternalIP"),
            address("ExternalIP"),
            shown_or(&info["osImage"], "<unknown>").into(),
            shown_or(&info["kernelVersion"], "<unknown>").into(),
            shown_or(&info["containerRuntimeVersion"], "<unknown>").into(),
        ]
    },
};

fn node_status(node: &Value) -> String {
    let ready = match condition(node, "Ready") {
        Some(own) if own["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = (node["spec"]["unschedulable"] == true).then_some("SchedulingDisabled");
    joined([Some(ready), cordoned].into_iter().flatten(), "")
}

fn roles(node: &Value) -> BTreeSet<&str> {
    let labels = node["metadata"]["labels"].as_object();
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_LABEL) {
            None if key == OLD_ROLE_LABEL => Some(shown(value)),
            role => role,
        })
        .filter(|role| !role.is_empty())
        .collect()
}

pub const NAMESPACES: Printer = Printer {
    columns: &[NAME, text("Status", "The status of the namespace"), AGE],
    cells: |object, now| vec![name(object), shown(&object["status"]["phase"]).into(), age::of(object, now)],
};

const EVENT_NAME: Column = Column { priority: 1, ..NAME };

pub const EVENTS: Printer = Printer {
    columns: &[
        text("Last Seen", "The time at which the most recent occurrence of this event was recorded."),
        text("Type", "Type of this event (Normal, Warning), new types could be added in the future"),
        text("Reason", "This should be a short, machine understandable string that gives the reason for the transition into the object's current status."),
        text("Object", "The object that this event is about."),
        text("Subobject", "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go field access statement, such as desiredState.manifest.containers[2].").wide(),
        text("Source", "The component reporting this event. Should be a short machine understandable string.").wide(),
        text("Message", "A human-readable description of the status of this operation."),
        text("First Seen", "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)").wide(),
        integer("Count", "The number of times this event has occurred.").wide(),
        EVENT_NAME,
    ],
    cells: event,
};

/// Both of `v1` and `events.k8s.io/v1`: the latter calls the same fields by other names.
fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let field = |core: &str, new: &str| if event[core].is_null() { &event[new] } else { &event[core] };
    let first_time = match field("firstTimestamp", "deprecatedFirstTimestamp") {
        Value::Null => &event["eventTime"],
        time => time,
    };
    let last_time =
        match (&event["series"]["lastObservedTime"], field("lastTimestamp", "deprecatedLastTimestamp")) {
            (Value::Null, Value::Null) => first_time,
            (Value::Null, time) => time,
            (series, _) => series,
        };
    let counted = match event["series"]["count"].as_i64() {
        Some(series) => series,
        None => number(field("count", "deprecatedCount")).max(1),
    };
    let about = field("involvedObject", "regarding");
    let kind = shown(&about["kind"]).to_lowercase();
    let target = match shown(&about["name"]) {
        "" => kind,
        own => format!("{kind}/{own}"),
    };
    let source = field("source", "deprecatedSource");
    let component = shown_or(&source["component"], shown(field("reportingComponent", "reportingController")));
    let host = shown_or(&source["host"], shown(&event["reportingInstance"]));
    let source_text = if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") };
    vec![
        age::since(last_time, now).into(),
        shown(&event["type"]).into(),
        shown(&event["reason"]).into(),
        target.into(),
        shown(&about["fieldPath"]).into(),
        source_text.into(),
        shown(field("message", "note")).trim().into(),
        age::since(first_time, now).into(),
        counted.into(),
        name(event),
    ]
}

pub const CONFIG_MAPS: Printer = Printer {
    columns: &[NAME, integer("Data", "Data contains the configuration data."), AGE],
    cells: |object, now| {
        vec![name(object), json!(count(&object["data"]) + count(&object["binaryData"])), age::of(object, now)]
    },
};

pub const SECRETS: Printer = Printer {
    columns: &[
        NAME,
        text("Type", "Used to facilitate programmatic handling of secret data."),
        integer("Data", "Data contains the secret data."),
        AGE,
    ],
    cells: |object, now| {
        vec![name(object), shown(&object["type"]).into(), json!(count(&object["data"])), age::of(object, now)]
    },
};

pub const SERVICE_ACCOUNTS: Printer = Printer {
    columns: &[
        NAME,
        integer(
            "Secrets",
            "Secrets is a list of the secrets in the same namespace that pods running using this ServiceAccount are allowed to use.",
        ),
        AGE,
    ],
    cells: |object, now| vec![name(object), json!(count(&object["secrets"])), age::of(object, now)],
};

pub const LEASES: Printer = Printer {
    columns: &[
        NAME,
        text("Holder", "holderIdentity contains the identity of the holder of a current lease."),
        AGE,
    ],
    cells: |object, now| {
        vec![name(object), shown(&object["spec"]["holderIdentity"]).into(), age::of(object, now)]
    },
};

pub const CERTIFICATE_SIGNING_REQUESTS: Printer = Printer {
    columns: &[
        NAME,
        AGE,
        text("SignerName", "signerName indicates the requested signer, and is a qualified name."),
        text(
            "Requestor",
            "username contains the name of the user that created the CertificateSigningRequest.",
        ),
        text(
            "RequestedDuration",
            "expirationSeconds is the requested duration of validity of the issued certificate.",
        ),
        text("Condition", "conditions applied to the request."),
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let duration = spec["expirationSeconds"].as_i64().map_or(NONE.into(), age::human);
        let mut conditions: Vec<&str> = ["Approved", "Denied", "Failed"]
            .into_iter()
            .filter(|kind| condition(object, kind).is_some())
            .collect();
        if conditions.is_empty() {
            conditions.push("Pending");
        }
        if !shown(&status["certificate"]).is_empty() {
            conditions.push("Issued");
        }
        vec![
            name(object),
            age::of(object, now),
            shown_or(&spec["signerName"], NONE).into(),
            shown(&spec["username"]).into(),
            duration.into(),
            joined(conditions, "").into(),
        ]
    },
};

const CREATED_AT: Column = Column { name: "Created At", kind: "date", ..AGE };

/// Kinds that show when they were made: Roles, ClusterRoles, LimitRanges, CustomResourceDefinitions.
pub const WITH_CREATED_AT: Printer =
    Printer { columns: &[NAME, CREATED_AT], cells: |object, _| vec![name(object), created(object)] };

#[cfg(test)]
mod tests {
    use super::*;

    fn line(printer: Printer, object: Value) -> String {
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().expect("time");
        let cells = (printer.cells)(&object, now);
        assert_eq!(cells.len(), printer.columns.len());
        cells.iter().map(super::super::cells::either).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_node_shows_its_state_roles_and_addresses() {
        let node = json!({
            "metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1.36.0"}}
        });
        assert_eq!(
            line(NODES, node),
            "n|Ready,SchedulingDisabled|control-plane,worker|5m|v1.36.0|10.0.0.1|<none>|<unknown>|<unknown>|<unknown>"
        );
    }

    #[test]
    fn events_of_both_groups_show_alike() {
        let old = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "message": "m ",
            "reason": "R", "type": "Normal", "count": 2, "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:04:00Z"});
        let new = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"}, "note": "m",
            "reason": "R", "type": "Normal", "reportingController": "kubelet", "reportingInstance": "n",
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "series": {"count": 2, "lastObservedTime": "2026-01-01T00:04:00.000000Z"}});
        let expected = "60s|Normal|R|pod/p||kubelet, n|m|5m|2|e";
        assert_eq!(line(EVENTS, old), expected);
        assert_eq!(line(EVENTS, new), expected);
    }
}
