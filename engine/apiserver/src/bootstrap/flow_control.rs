//! The FlowSchemas and PriorityLevelConfigurations of a stock cluster, mandatory and suggested.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/apis/flowcontrol/bootstrap/default.go

use serde_json::{Value, json};

const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
const MAINTAINED: &str = "apf.kubernetes.io/autoupdate-spec";
const EVERYBODY: [&str; 2] = ["group:system:unauthenticated", "group:system:authenticated"];

pub fn objects() -> Vec<Value> {
    let mut objects = levels();
    objects.extend(schemas());
    objects
}

/// Those without which the server does not run; they are brought back at once.
pub fn mandatory() -> impl Iterator<Item = Value> {
    objects().into_iter().filter(is_mandatory)
}

pub fn is_mandatory(object: &Value) -> bool {
    matches!(object["metadata"]["name"].as_str(), Some("exempt" | "catch-all"))
}

/// Whether the spec of a suggested object is this server's to set: where nobody said so, as long as nobody changed it.
pub fn is_maintained(object: &Value) -> bool {
    match object["metadata"]["annotations"][MAINTAINED].as_str() {
        Some(word) => word == "true",
        None => object["metadata"]["generation"] == 1,
    }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "annotations": {MAINTAINED: "true"}},
        "spec": spec,
    })
}

fn levels() -> Vec<Value> {
    let level = |name: &str, spec: Value| object("PriorityLevelConfiguration", name, spec);
    let mut levels = vec![
        level(
            "exempt",
            json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
        ),
        level(
            "catch-all",
            json!({"type": "Limited", "limited": {
                "nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0,
            }}),
        ),
    ];
    // Name, shares, queues, hand, lendable.
    for (name, shares, queues, hand, lendable) in [
        ("system", 30, 64, 6, 33),
        ("node-high", 40, 64, 6, 25),
        ("leader-election", 10, 16, 4, 0),
        ("workload-high", 40, 128, 6, 50),
        ("workload-low", 100, 128, 6, 90),
        ("global-default", 20, 128, 6, 50),
    ] {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 50});
        levels.push(level(
            name,
            json!({"type": "Limited", "limited": {
                "nominalConcurrencyShares": shares,
                "limitResponse": {"type": "Queue", "queuing": queuing},
                "lendablePercent": lendable,
            }}),
        ));
    }
    levels
}

fn schemas() -> Vec<Value> {
    let all = || {
        vec![
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}),
        ]
    };
    let any_path = || vec![json!({"verbs": ["*"], "nonResourceURLs": ["*"]})];
    let probes = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]});
    let elect = |resources: &str, group: &str| {
        vec![
            json!({"verbs": ["get", "create", "update"], "apiGroups": [group], "resources": [resources], "namespaces": ["*"]}),
        ]
    };
    let node = vec![
        json!({"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "namespaces": ["*"], "clusterScope": true}),
        json!({"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]}),
    ];
    let leases = || elect("leases", "coordination.k8s.io");
    let manager = "user:system:kube-controller-manager";
    let scheduler = "user:system:kube-scheduler";
    let kube_system = "sa:kube-system/*";
    let endpoints =
        [manager, "sa:kube-system/endpoint-controller", "sa:kube-system/endpointslicemirroring-controller"];
    let (user, namespace) = (Some("ByUser"), Some("ByNamespace"));
    let none = Vec::new;
    vec![
        schema("exempt", "exempt", 1, None, &["group:system:masters"], all(), any_path()),
        schema("probes", "exempt", 2, None, &EVERYBODY, none(), vec![probes]),
        schema(
            "system-leader-election",
            "leader-election",
            100,
            user,
            &[manager, scheduler, kube_system],
            leases(),
            none(),
        ),
        schema("endpoint-controller", "workload-high", 150, user, &endpoints, elect("endpoints", ""), none()),
        schema("workload-leader-election", "leader-election", 200, user, &[kube_system], leases(), none()),
        schema("system-node-high", "node-high", 400, user, &["group:system:nodes"], node, none()),
        schema("system-nodes", "system", 500, user, &["group:system:nodes"], all(), any_path()),
        schema("kube-controller-manager", "workload-high", 800, namespace, &[manager], all(), any_path()),
        schema("kube-scheduler", "workload-high", 800, namespace, &[scheduler], all(), any_path()),
        schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            namespace,
            &[kube_system],
            all(),
            any_path(),
        ),
        schema(
            "service-accounts",
            "workload-low",
            9000,
            user,
            &["group:system:serviceaccounts"],
            all(),
            any_path(),
        ),
        schema("global-default", "global-default", 9900, user, &EVERYBODY, all(), any_path()),
        schema("catch-all", "catch-all", 10000, user, &EVERYBODY, all(), any_path()),
    ]
}

/// `subjects` are `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
fn schema(
    name: &str,
    level: &str,
    precedence: i32,
    distinguisher: Option<&str>,
    subjects: &[&str],
    resources: Vec<Value>,
    paths: Vec<Value>,
) -> Value {
    let subjects: Vec<Value> = subjects.iter().filter_map(|text| subject(text)).collect();
    let mut rule = json!({"subjects": subjects});
    for (field, rules) in [("resourceRules", resources), ("nonResourceRules", paths)] {
        if !rules.is_empty() {
            rule[field] = rules.into();
        }
    }
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    });
    if let Some(method) = distinguisher {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    object("FlowSchema", name, spec)
}

fn subject(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(':')?;
    Some(match kind {
        "user" => json!({"kind": "User", "user": {"name": name}}),
        "group" => json!({"kind": "Group", "group": {"name": name}}),
        _ => {
            let (namespace, name) = name.split_once('/')?;
            json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}})
        }
    })
}
