//! What nobody sends who means well: no request may panic, and none may cost more than its size.
//!
//! Deterministic: the seed is printed when a request is answered wrongly; `CORACLE_SEED` sets another one.

mod kinds;

use std::time::Duration;

use coracle_apiserver::protobuf;
use serde_json::{Value, json};

use crate::{MAPS, harness::Harness, map};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

struct Random(u64);

impl Random {
    fn new() -> (Random, u64) {
        let seed = std::env::var("CORACLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(36);
        (Random(seed | 1), seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A few bytes changed, taken out, doubled or put in.
    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, self.pick(b"{}[]\",:\\0-9e.&*#|>\n \x00\xff")),
                3 if at < bytes.len() => drop(bytes.remove(at)),
                _ => {
                    let end = (at + self.below(40)).min(bytes.len());
                    let copied = bytes[at..end].to_vec();
                    bytes.splice(at..at, copied);
                }
            }
        }
        bytes
    }
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i",
                "ports": [{"containerPort": 80, "name": "http"}], "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": "http"}}}]}}}})
}

/// Codes that say that the client is wrong, or what it can have.
async fn tame(harness: &Harness, seed: u64, method: &str, path: &str, content_type: &str, body: Vec<u8>) {
    let shown = String::from_utf8_lossy(&body).chars().take(2000).collect::<String>();
    if path.parse::<http::Uri>().is_err() {
        return;
    }
    let headers = [("content-type", content_type), ("accept", "application/json")];
    let ask = harness.ask_with(method, path, &headers, body);
    let answer = tokio::time::timeout(Duration::from_secs(180), ask).await;
    let answer = answer.unwrap_or_else(|_| panic!("seed {seed}: {method} {path} hangs: {shown}"));
    // A stock server answers some wrong applies with 500 too, but without this reason.
    let broken = answer.text.contains("InternalError");
    assert!(!broken, "seed {seed}: {method} {path} ({content_type}): {}\n{shown}", answer.text);
}

#[tokio::test]
async fn mutated_bodies_are_answered() {
    let harness = Harness::start().await;
    let (mut random, seed) = Random::new();
    let json = serde_json::to_vec(&deployment()).expect("encodes");
    let yaml = b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, labels: &l {a: b}}\nspec:\n  replicas: 1\n  selector: {matchLabels: *l}\n  template:\n    metadata: {labels: *l}\n    spec:\n      containers:\n      - name: c\n        image: \"i\"\n        command: [sh, -c, |-\n          a\n          b]\n";
    let proto = protobuf::encode(&deployment()).expect("encodes");
    for _ in 0..300 {
        for (content_type, body) in [
            ("application/json", json.as_slice()),
            ("application/yaml", yaml.as_slice()),
            (protobuf::MEDIA_TYPE, proto.as_slice()),
        ] {
            let path = format!(
                "{DEPLOYMENTS}?dryRun=All&fieldValidation={}",
                random.pick(&["Strict", "Warn", "Ignore"])
            );
            let body = random.mutate(body);
            tame(&harness, seed, "POST", &path, content_type, body).await;
        }
    }
}

#[tokio::test]
async fn mutated_patches_are_answered() {
    let harness = Harness::start().await;
    let (mut random, seed) = Random::new();
    harness.post(DEPLOYMENTS, deployment()).await.expect(201);
    let merge = serde_json::to_vec(&json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
        {"name": "c", "ports": [{"$patch": "delete", "containerPort": 80}], "env": [{"name": "A", "value": null}]}],
        "$setElementOrder/containers": [{"name": "c"}]}}}, "metadata": {"labels": {"$retainKeys": ["a"]}}}));
    let operations = serde_json::to_vec(&json!([
        {"op": "add", "path": "/metadata/labels/x~1y", "value": "z"},
        {"op": "copy", "from": "/metadata/labels", "path": "/metadata/annotations"},
        {"op": "move", "from": "/metadata/annotations/a", "path": "/metadata/annotations/b"},
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "j"},
        {"op": "remove", "path": "/spec/template/spec/containers/0/ports/-1"}]));
    let (merge, operations) = (merge.expect("encodes"), operations.expect("encodes"));
    let apply = serde_json::to_vec(&deployment()).expect("encodes");
    for _ in 0..250 {
        for (content_type, body) in [
            ("application/merge-patch+json", &merge),
            ("application/strategic-merge-patch+json", &merge),
            ("application/json-patch+json", &operations),
            ("application/apply-patch+yaml", &apply),
        ] {
            let path = format!("{DEPLOYMENTS}/x?dryRun=All&fieldManager=m");
            let path = if content_type.contains("apply") { format!("{path}&force=true") } else { path };
            let body = random.mutate(body);
            tame(&harness, seed, "PATCH", &path, content_type, body).await;
        }
    }
}

#[tokio::test]
async fn odd_paths_queries_and_selectors_are_answered() {
    let harness = Harness::start().await;
    let (mut random, seed) = Random::new();
    harness.post(MAPS, map("a", json!({}))).await.expect(201);
    let parts = [
        "api",
        "apis",
        "v1",
        "apps",
        "namespaces",
        "default",
        "configmaps",
        "deployments",
        "a",
        "status",
        "scale",
        "",
        ".",
        "..",
        "%2F",
        "%00",
        "%ff",
        "x%20y",
        "nodes",
        "healthz",
        "livez",
        "openapi",
        "v3",
        "version",
        "%F0%9F%8E%89",
    ];
    let values = [
        "",
        "0",
        "-1",
        "1",
        "18446744073709551616",
        "true",
        "a%3Db",
        "a!%3Db",
        "a+in+(b,c)",
        "!a",
        "a,,b",
        "(",
        ")",
        "a%3E1",
        "metadata.name%3Da",
        "status.phase!%3Dx",
        "All",
        "Exact",
        "NotOlderThan",
        "%00",
        "eyJ2IjoibWV0YSJ9",
        "x%3D%22",
        "%",
    ];
    let names = [
        "labelSelector",
        "fieldSelector",
        "limit",
        "continue",
        "resourceVersion",
        "resourceVersionMatch",
        "dryRun",
        "fieldManager",
        "fieldValidation",
        "timeoutSeconds",
        "pretty",
        "propagationPolicy",
        "gracePeriodSeconds",
        "",
    ];
    for _ in 0..1500 {
        let mut path = if random.below(2) == 0 { MAPS.to_owned() } else { String::new() };
        for _ in 0..random.below(6) {
            path.push('/');
            path.push_str(random.pick(&parts));
        }
        if path.is_empty() {
            path.push('/');
        }
        for at in 0..random.below(4) {
            path.push(if at == 0 { '?' } else { '&' });
            let value = random.pick(&values).as_bytes();
            let value = if random.below(3) == 0 { random.mutate(value) } else { value.to_vec() };
            path.push_str(&format!("{}={}", random.pick(&names), String::from_utf8_lossy(&value)));
        }
        let method = random.pick(&["GET", "GET", "GET", "DELETE", "HEAD", "OPTIONS"]);
        tame(&harness, seed, method, &path, "application/json", Vec::new()).await;
    }
}

/// A field of a protobuf message.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for mut value in [number << 3 | 2, bytes.len() as u64] {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    out.extend_from_slice(bytes);
    out
}

#[tokio::test]
async fn bombs_are_refused() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("a", json!({"k": "v"}))).await.expect(201);
    let deep = |open: &str, close: &str, count: usize| {
        let body = format!(
            "{{\"metadata\":{{\"name\":\"d\"}},\"data\":{}1{}}}",
            open.repeat(count),
            close.repeat(count)
        );
        body.into_bytes()
    };
    let mut laughs = String::from("a0: &a0 [x]\n");
    for at in 1..40 {
        laughs.push_str(&format!("a{at}: &a{at} [*a{0}, *a{0}]\n", at - 1));
    }
    // A schema in a schema, without end: `spec.versions.schema.openAPIV3Schema.not.not…`.
    let mut schema = Vec::new();
    for _ in 0..3000 {
        schema = field(28, &schema);
    }
    for number in [1, 4, 7, 2, 2] {
        schema = field(number, &schema);
    }
    let type_meta =
        field(1, &[field(1, b"apiextensions.k8s.io/v1"), field(2, b"CustomResourceDefinition")].concat());
    let schema = [b"k8s\0", type_meta.as_slice(), &schema].concat();
    let doubling: Vec<Value> = (0..60)
        .map(|at| json!({"op": "copy", "from": "/metadata", "path": format!("/metadata/x{at}")}))
        .collect();
    let rows: Vec<(&str, String, &str, Vec<u8>)> = vec![
        ("POST", MAPS.into(), "application/json", deep("[", "]", 100_000)),
        ("POST", MAPS.into(), "application/json", deep("{\"a\":", "}", 100_000)),
        ("POST", MAPS.into(), "application/yaml", deep("[", "]", 100_000)),
        ("POST", MAPS.into(), "application/yaml", laughs.into_bytes()),
        ("POST", DEFINITIONS.into(), protobuf::MEDIA_TYPE, schema),
        ("POST", MAPS.into(), "application/json", format!("[{}]", "{},".repeat(900_000)).into_bytes()),
        (
            "PATCH",
            format!("{MAPS}/a"),
            "application/json-patch+json",
            serde_json::to_vec(&doubling).expect("encodes"),
        ),
        ("PATCH", format!("{MAPS}/a"), "application/merge-patch+json", deep("{\"a\":", "}", 100_000)),
        (
            "PATCH",
            format!("{MAPS}/a?fieldManager=m"),
            "application/apply-patch+yaml",
            deep("[", "]", 100_000),
        ),
        ("GET", format!("{MAPS}?labelSelector={}", "(".repeat(5000)), "", Vec::new()),
        ("GET", format!("{MAPS}?labelSelector={}a", "a,".repeat(5000)), "", Vec::new()),
    ];
    for (method, path, content_type, body) in rows {
        let headers = [("content-type", content_type), ("accept", "application/json")];
        let answer = harness.ask_with(method, &path, &headers, body).await;
        let head: String = path.chars().take(80).collect();
        let selects = method == "GET";
        assert!(
            answer.code < 500 && (selects || answer.code >= 400),
            "{method} {head}: {} {}",
            answer.code,
            answer.text
        );
    }
}

#[tokio::test]
async fn a_patch_to_another_type_is_invalid() {
    let harness = Harness::start().await;
    harness.post(DEPLOYMENTS, deployment()).await.expect(201);
    let path = format!("{DEPLOYMENTS}/x");
    for (content_type, patch, message) in [
        (
            "application/strategic-merge-patch+json",
            json!({"spec": {"replicas": "two"}}),
            " \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:two]]\": unrecognized type: int32",
        ),
        (
            "application/merge-patch+json",
            json!({"spec": {"replicas": "two"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "application/json-patch+json",
            json!([{"op": "replace", "path": "/spec/replicas", "value": 1.5}]),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
    ] {
        let body = serde_json::to_vec(&patch).expect("encodes");
        let answer = harness.ask_with("PATCH", &path, &[("content-type", content_type)], body).await;
        let seen = answer.json();
        assert_eq!((answer.code, &seen["reason"]), (422, &json!("Invalid")), "{content_type}");
        assert!(answer.message().ends_with(message), "{}", answer.message());
        assert_eq!(seen["details"]["causes"][0]["field"], "patch");
    }
}
