//! Objects of every kind that make no sense: generated from the published shapes, created and merged into good ones.
//!
//! Kept true: whatever fits a kind's shape, its validation answers; nothing is stored, as all are dry runs.

use serde_json::{Map, Value, json};

use super::{Random, tame};
use crate::harness::Harness;

/// How many objects of each kind; `CORACLE_CASES` sets another number.
const CASES: usize = 8;
/// Below it only what must be there.
const MAX_DEPTH: usize = 9;

const TEXTS: &[&str] = &[
    "",
    "a",
    "A b",
    "a.b/c",
    "/",
    "..",
    "*",
    "-1",
    "0",
    "80",
    "8080",
    "65536",
    "18446744073709551616",
    "50%",
    "101%",
    "1Gi",
    "1e400",
    "-5m",
    "1.5.2",
    "10.0.0.1",
    "10.0.0.0/8",
    "::1",
    "fe80::/64",
    "256.0.0.1",
    "http",
    "TCP",
    "SCTP",
    "https://a:b@[::1]:99999/x?y#z",
    "2024-02-30T00:00:00Z",
    "2024-02-03T04:05:06Z",
    "0 0 31 2 *",
    "@every 1s",
    "TZ=Mars/Base 0 0 * * *",
    "a=b,c in (d",
    "metadata.name",
    "self.x > 0 && [1][2] == 3",
    "{.spec.a[0]}",
    "$(A)",
    "é\u{301}🎉",
    "\u{0}",
    "\n",
    "RollingUpdate",
    "Always",
    "ClusterIP",
    "ExternalName",
    "Never",
    "Prefix",
    "Exists",
    "NotIn",
    "Orphan",
    "ReadWriteOnce",
    "Localhost",
    "x509",
    "BQ==",
    "=",
    "system:masters",
    "kubernetes.io/x",
    "x",
    "default",
    "v1",
    "apps/v1",
];
const NUMBERS: &[i64] =
    &[0, 1, -1, 2, 80, 443, 65_535, 65_536, 86_400, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN];

/// Good objects, a collection and an object a line.
const GOOD: &str = r#"
/api/v1/namespaces/default/pods {"spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}}
/api/v1/namespaces/default/services {"spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "name": "http"}]}}
/api/v1/namespaces/default/secrets {"stringData": {"a": "b"}}
/api/v1/namespaces/default/configmaps {"data": {"a": "b"}}
/api/v1/namespaces/default/persistentvolumeclaims {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
/api/v1/namespaces/default/resourcequotas {"spec": {"hard": {"pods": "100"}}}
/api/v1/namespaces/default/limitranges {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "100"}}]}}
/api/v1/namespaces/default/replicationcontrollers {"spec": {"selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
/api/v1/namespaces/default/podtemplates {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
/api/v1/namespaces/default/events {"involvedObject": {"kind": "Pod", "name": "x", "namespace": "default"}, "reason": "R", "type": "Normal"}
/api/v1/persistentvolumes {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}
/api/v1/nodes {"spec": {"podCIDR": "10.42.0.0/24"}}
/api/v1/namespaces {}
/apis/apps/v1/namespaces/default/deployments {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
/apis/apps/v1/namespaces/default/replicasets {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
/apis/apps/v1/namespaces/default/daemonsets {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
/apis/apps/v1/namespaces/default/statefulsets {"spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
/apis/apps/v1/namespaces/default/controllerrevisions {"revision": 1, "data": {"a": 1}}
/apis/batch/v1/namespaces/default/jobs {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}
/apis/batch/v1/namespaces/default/cronjobs {"spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}
/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers {"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}
/apis/policy/v1/namespaces/default/poddisruptionbudgets {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}
/apis/networking.k8s.io/v1/namespaces/default/ingresses {"spec": {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}
/apis/networking.k8s.io/v1/namespaces/default/networkpolicies {"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}}
/apis/networking.k8s.io/v1/ingressclasses {"spec": {"controller": "a.b/c"}}
/apis/discovery.k8s.io/v1/namespaces/default/endpointslices {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}
/apis/rbac.authorization.k8s.io/v1/clusterroles {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}
/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "u"}]}
/apis/storage.k8s.io/v1/storageclasses {"provisioner": "a.b/c"}
/apis/storage.k8s.io/v1/csidrivers {"spec": {}}
/apis/storage.k8s.io/v1/csinodes {"spec": {"drivers": []}}
/apis/storage.k8s.io/v1/volumeattachments {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "x"}}}
/apis/scheduling.k8s.io/v1/priorityclasses {"value": 5}
/apis/node.k8s.io/v1/runtimeclasses {"handler": "h"}
/apis/coordination.k8s.io/v1/namespaces/default/leases {"spec": {"holderIdentity": "h"}}
/apis/apiextensions.k8s.io/v1/customresourcedefinitions {"metadata": {"name": "as.b.c"}, "spec": {"group": "b.c", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"}, "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}}}}]}}
/apis/apiregistration.k8s.io/v1/apiservices {"metadata": {"name": "v1.b.d"}, "spec": {"group": "b.d", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, "service": {"name": "s", "namespace": "n"}}}
/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations {"webhooks": []}
/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies {"spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["b.c"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["as"]}]}, "validations": [{"expression": "true"}]}}
/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}}
/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas {"spec": {"priorityLevelConfiguration": {"name": "x"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "u"}}], "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["default"]}]}]}}
/apis/resource.k8s.io/v1/deviceclasses {"spec": {"selectors": [{"cel": {"expression": "device.driver == 'a'"}}]}}
/apis/resource.k8s.io/v1/namespaces/default/resourceclaims {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "x"}}]}}}
/apis/resource.k8s.io/v1/resourceslices {"spec": {"driver": "a.b", "nodeName": "n", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "devices": [{"name": "d"}]}}
"#;

/// The document of one group and version.
struct Shapes(Value);

impl Shapes {
    /// Something of this shape.
    fn some(&self, random: &mut Random, schema: &Value, depth: usize) -> Value {
        if let Some(name) = reference(schema) {
            return self.some(random, &self.0["components"]["schemas"][name], depth);
        }
        match schema["type"].as_str() {
            Some("object") => Value::Object(self.object(random, schema, depth)),
            Some("array") => {
                let count = if depth > MAX_DEPTH { 0 } else { random.below(4) };
                let mut items: Vec<Value> =
                    (0..count).map(|_| self.some(random, &schema["items"], depth + 1)).collect();
                if let Some(first) = items.first().filter(|_| random.below(4) == 0).cloned() {
                    items.push(first);
                }
                items.into()
            }
            Some("integer") => random.pick(NUMBERS).into(),
            Some("number") => json!(random.pick(&[0.0, -1.5, 1e300])),
            Some("boolean") => (random.below(2) == 0).into(),
            Some("string") => text(random),
            // Quantities, numbers or texts, and free values.
            _ if random.below(2) == 0 => random.pick(NUMBERS).into(),
            _ => text(random),
        }
    }

    fn object(&self, random: &mut Random, schema: &Value, depth: usize) -> Map<String, Value> {
        let mut fields = Map::new();
        if depth > MAX_DEPTH {
            return fields;
        }
        let required = schema["required"].as_array();
        for (name, shape) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.is_some_and(|all| all.iter().any(|one| one == name.as_str()));
            let taken = match (is_required, depth) {
                (true, _) => random.below(12) > 0,
                (false, 0) => true,
                (false, _) => random.below(4) == 0,
            };
            if taken && !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                fields.insert(name.clone(), self.some(random, shape, depth + 1));
            } else if taken && name == "metadata" && depth > 0 {
                fields.insert(
                    name.clone(),
                    json!({"labels": {random.pick(&["a", "A b"]): random.pick(TEXTS)}}),
                );
            }
        }
        if schema["additionalProperties"].is_object() {
            for _ in 0..random.below(3) {
                let value = self.some(random, &schema["additionalProperties"], depth + 1);
                fields.insert(random.pick(TEXTS).into(), value);
            }
        }
        fields
    }

    /// Path, with names filled in, and the shape of the body of each that takes such a method.
    fn taking(&self, method: &str) -> Vec<(String, Value)> {
        let paths = self.0["paths"].as_object().into_iter().flatten();
        let taking = paths.filter(|(_, path)| path[method].is_object());
        taking
            .map(|(path, operations)| {
                let path = path.replace("{namespace}", "default").replace("{name}", "x");
                let operation = &operations[if method == "patch" { "get" } else { method }];
                let content = match method {
                    "patch" => &operation["responses"]["200"]["content"],
                    _ => &operation["requestBody"]["content"],
                };
                let shape = content.as_object().and_then(|all| all.values().next());
                (path, shape.map_or(Value::Null, |shape| shape["schema"].clone()))
            })
            .filter(|(_, shape)| shape.is_object())
            .collect()
    }
}

fn reference(schema: &Value) -> Option<&str> {
    let whole = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str())?;
    whole.rsplit_once('/').map(|(_, name)| name)
}

fn text(random: &mut Random) -> Value {
    match random.below(60) {
        0 => "x".repeat(300).into(),
        _ => random.pick(TEXTS).into(),
    }
}

async fn documents(harness: &Harness) -> Vec<Shapes> {
    let index = harness.get("/openapi/v3").await.expect(200);
    let mut documents = Vec::new();
    for group in index["paths"].as_object().into_iter().flatten() {
        let path = group.1["serverRelativeURL"].as_str().unwrap_or_default();
        documents.push(Shapes(harness.get(path).await.expect(200)));
    }
    documents
}

fn cases() -> usize {
    std::env::var("CORACLE_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(CASES)
}

async fn send(harness: &Harness, seed: u64, method: &str, path: &str, content_type: &str, object: &Value) {
    let body = serde_json::to_vec(object).expect("encodes");
    tame(harness, seed, method, &format!("{path}?dryRun=All"), content_type, body).await;
}

#[tokio::test]
async fn senseless_objects_of_every_kind_are_answered() {
    let harness = Harness::start().await;
    let (mut random, seed) = Random::new();
    let mut kinds = 0;
    for shapes in documents(&harness).await {
        for (path, shape) in shapes.taking("post") {
            kinds += 1;
            for _ in 0..cases() {
                let mut object = shapes.some(&mut random, &shape, 0);
                object["metadata"] = json!({"name": "x"});
                send(&harness, seed, "POST", &path, "application/json", &object).await;
            }
        }
    }
    assert!(kinds > 60, "{kinds}");
}

#[tokio::test]
async fn senseless_changes_of_good_objects_are_answered() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let (mut random, seed) = Random::new();
    let mut names = std::collections::HashMap::new();
    for line in GOOD.lines().filter(|line| !line.is_empty()) {
        let (path, object) = line.split_once(' ').expect("a path and an object");
        let mut object: Value = serde_json::from_str(object).expect(line);
        if object["metadata"]["name"].is_null() {
            object["metadata"]["name"] = "x".into();
        }
        let made = harness.post(path, object).await;
        assert_eq!(made.code, 201, "{path}: {}", made.text);
        names.insert(path.to_owned(), made.json()["metadata"]["name"].clone());
    }
    let mut changed = 0;
    for shapes in documents(&harness).await {
        for (path, shape) in shapes.taking("patch") {
            let (collection, rest) = path.split_once("/x").unwrap_or((&path, ""));
            let Some(name) = names.get(collection).and_then(Value::as_str) else { continue };
            changed += 1;
            for _ in 0..cases() {
                let change = shapes.some(&mut random, &shape, 0);
                let path = format!("{collection}/{name}{rest}");
                send(&harness, seed, "PATCH", &path, "application/merge-patch+json", &change).await;
            }
        }
    }
    assert!(changed > names.len(), "{changed}");
}
