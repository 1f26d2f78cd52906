//! Server-side tables: what `kubectl get` shows.
//!
//! One file per group of kinds gives a [`Printer`]; a kind without one shows its name and age.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

mod access;
pub mod age;
mod cells;
mod cluster;
mod network;
mod pods;
mod policy;
mod storage;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{present::partial_metadata, registry::Served};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `date`, `boolean`, `number`
    pub kind: &'static str,
    /// `name` for the column that names the object, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0: always shown; 1 and more: `-o wide` only.
    pub priority: i32,
}

/// How the objects of one resource are shown.
#[derive(Clone, Copy)]
pub struct Printer {
    pub columns: &'static [Column],
    /// One cell per column. `object` is in the served version.
    pub cells: fn(object: &Value, now: Timestamp) -> Vec<Value>,
}

pub const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
pub const AGE_DESCRIPTION: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

pub const NAME: Column =
    Column { name: "Name", kind: "string", format: "name", description: NAME_DESCRIPTION, priority: 0 };
pub const AGE: Column =
    Column { name: "Age", kind: "string", format: "", description: AGE_DESCRIPTION, priority: 0 };

const DEFAULT: Printer =
    Printer { columns: &[NAME, AGE], cells: |object, now| vec![name(object), age::of(object, now)] };

pub fn printer(group: &str, plural: &str) -> Printer {
    match (group, plural) {
        ("", "componentstatuses") => pods::COMPONENT_STATUSES,
        ("", "configmaps") => cluster::CONFIG_MAPS,
        ("", "endpoints") => network::ENDPOINTS,
        ("" | "events.k8s.io", "events") => cluster::EVENTS,
        ("", "limitranges") => cluster::WITH_CREATED_AT,
        ("", "namespaces") => cluster::NAMESPACES,
        ("", "nodes") => cluster::NODES,
        ("", "persistentvolumeclaims") => storage::CLAIMS,
        ("", "persistentvolumes") => storage::VOLUMES,
        ("", "pods") => pods::PODS,
        ("", "podtemplates") => pods::POD_TEMPLATES,
        ("", "replicationcontrollers") => workloads::REPLICATION_CONTROLLERS,
        ("", "resourcequotas") => policy::QUOTAS,
        ("", "secrets") => cluster::SECRETS,
        ("", "serviceaccounts") => cluster::SERVICE_ACCOUNTS,
        ("", "services") => network::SERVICES,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => access::MUTATING_POLICIES,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => access::VALIDATING_POLICIES,
        (
            "admissionregistration.k8s.io",
            "mutatingadmissionpolicybindings" | "validatingadmissionpolicybindings",
        ) => access::POLICY_BINDINGS,
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => access::WEBHOOKS,
        ("apiextensions.k8s.io", "customresourcedefinitions") => cluster::WITH_CREATED_AT,
        ("apiregistration.k8s.io", "apiservices") => policy::API_SERVICES,
        ("apps", "controllerrevisions") => pods::CONTROLLER_REVISIONS,
        ("apps", "daemonsets") => workloads::DAEMON_SETS,
        ("apps", "deployments") => workloads::DEPLOYMENTS,
        ("apps", "replicasets") => workloads::REPLICA_SETS,
        ("apps", "statefulsets") => workloads::STATEFUL_SETS,
        ("autoscaling", "horizontalpodautoscalers") => policy::AUTOSCALERS,
        ("batch", "cronjobs") => workloads::CRON_JOBS,
        ("batch", "jobs") => workloads::JOBS,
        ("certificates.k8s.io", "certificatesigningrequests") => cluster::CERTIFICATE_SIGNING_REQUESTS,
        ("coordination.k8s.io", "leases") => cluster::LEASES,
        ("discovery.k8s.io", "endpointslices") => network::ENDPOINT_SLICES,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => policy::FLOW_SCHEMAS,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => policy::PRIORITY_LEVELS,
        ("networking.k8s.io", "ingressclasses") => network::INGRESS_CLASSES,
        ("networking.k8s.io", "ingresses") => network::INGRESSES,
        ("networking.k8s.io", "ipaddresses") => network::IP_ADDRESSES,
        ("networking.k8s.io", "networkpolicies") => network::NETWORK_POLICIES,
        ("networking.k8s.io", "servicecidrs") => network::SERVICE_CIDRS,
        ("node.k8s.io", "runtimeclasses") => policy::RUNTIME_CLASSES,
        ("policy", "poddisruptionbudgets") => policy::DISRUPTION_BUDGETS,
        ("rbac.authorization.k8s.io", "clusterrolebindings" | "rolebindings") => access::BINDINGS,
        ("rbac.authorization.k8s.io", "clusterroles" | "roles") => cluster::WITH_CREATED_AT,
        ("resource.k8s.io", "resourceclaims") => policy::RESOURCE_CLAIMS,
        ("resource.k8s.io", "resourceslices") => policy::RESOURCE_SLICES,
        ("scheduling.k8s.io", "priorityclasses") => policy::PRIORITY_CLASSES,
        ("storage.k8s.io", "csidrivers") => storage::CSI_DRIVERS,
        ("storage.k8s.io", "csinodes") => storage::CSI_NODES,
        ("storage.k8s.io", "csistoragecapacities") => storage::CSI_CAPACITIES,
        ("storage.k8s.io", "storageclasses") => storage::STORAGE_CLASSES,
        ("storage.k8s.io", "volumeattachments") => storage::ATTACHMENTS,
        ("storage.k8s.io", "volumeattributesclasses") => storage::ATTRIBUTES_CLASSES,
        _ => DEFAULT,
    }
}

pub fn name(object: &Value) -> Value {
    crate::object::name(object).into()
}

/// `metadata` is the table's ListMeta, `meta` its apiVersion.
pub fn table(served: &Served, metadata: Value, rows: Vec<Value>, meta: &str) -> Value {
    let columns: Vec<Value> = match &served.custom {
        Some(custom) => custom.columns.definitions(),
        None => printer(&served.api.gvk.group, &served.api.plural).columns.iter().map(column).collect(),
    };
    whole(metadata, columns, rows, meta)
}

/// Of the table of one object: what is not stored (a dry run) has no revision.
pub fn list_metadata(object: &Value) -> Value {
    match &object["metadata"]["resourceVersion"] {
        Value::Null => json!({}),
        revision => json!({ "resourceVersion": revision }),
    }
}

/// A Scale, of whatever it is.
pub fn scale(scale: &Value, include: IncludeObject, meta: &str) -> Value {
    let metadata = list_metadata(scale);
    let cells = (workloads::SCALES.cells)(scale, Timestamp::now());
    let columns = workloads::SCALES.columns.iter().map(column).collect();
    whole(metadata, columns, vec![row_of(cells, scale, include, meta)], meta)
}

fn whole(metadata: Value, columns: Vec<Value>, rows: Vec<Value>, meta: &str) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": meta,
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// `object` is in the served version.
pub fn row(served: &Served, object: &Value, include: IncludeObject, meta: &str) -> Value {
    let now = Timestamp::now();
    let cells = match &served.custom {
        Some(custom) => custom.columns.cells(object, now),
        None => (printer(&served.api.gvk.group, &served.api.plural).cells)(object, now),
    };
    row_of(cells, object, include, meta)
}

fn row_of(cells: Vec<Value>, object: &Value, include: IncludeObject, meta: &str) -> Value {
    let mut row = json!({"cells": cells});
    match include {
        // As Go writes an extension that holds nothing.
        IncludeObject::None => row["object"] = Value::Null,
        IncludeObject::Metadata => row["object"] = partial_metadata(object, meta),
        IncludeObject::Object => row["object"] = object.clone(),
    }
    row
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printer_has_a_cell_for_each_column_even_of_an_empty_object() {
        let registry = coracle_schema::Registry::builtin();
        let now = Timestamp::now();
        for api in registry.resources() {
            let printer = printer(&api.gvk.group, &api.plural);
            let cells = (printer.cells)(&json!({}), now);
            assert_eq!(cells.len(), printer.columns.len(), "{}", api.plural);
            assert!(printer.columns.iter().any(|column| column.format == "name"), "{}", api.plural);
        }
    }
}
