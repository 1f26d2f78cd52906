use super::plan::{Plan, plan};
use super::*;
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use serde_json::{Value, json};

fn service(spec: Value) -> Service {
    let mut service = json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "s", "labels": { "team": "a" } },
        "spec": {
            "clusterIP": "10.43.0.7", "selector": { "app": "web" },
            "ports": [{ "name": "http", "port": 80, "targetPort": "http", "protocol": "TCP" }],
        },
    });
    if let Value::Object(spec) = spec {
        spec.into_iter().for_each(|(key, value)| service["spec"][key] = value);
    }
    serde_json::from_value(service).unwrap()
}

/// `a 10.42.0.5 ready terminating port=8080`
fn pod(line: &str) -> Arc<Pod> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    let port =
        words.iter().find_map(|word| word.strip_prefix("port=")).unwrap_or("8080").parse::<u16>().unwrap();
    let mut pod = json!({
        "metadata": { "name": words[0], "namespace": "default", "uid": words[0], "labels": { "app": "web" } },
        "spec": {
            "nodeName": "n1",
            "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": port, "protocol": "TCP" }] }],
        },
        "status": {
            "phase": if has("done") { "Succeeded" } else { "Running" }, "podIP": words[1],
            "conditions": [{ "type": "Ready", "status": if has("ready") { "True" } else { "False" } }],
        },
    });
    if has("terminating") {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn pods(lines: &[&str]) -> Vec<Arc<Pod>> {
    lines.iter().map(|line| pod(line)).collect()
}

fn pass(service: &Service, lines: &[&str], existing: &[Arc<EndpointSlice>]) -> Plan {
    plan(service, &pods(lines), &BTreeMap::new(), existing)
}

/// What the API server would make of the slices of a plan.
fn stored(plan: Plan) -> Vec<Arc<EndpointSlice>> {
    let named = plan.create.into_iter().chain(plan.update).enumerate().map(|(index, mut slice)| {
        slice.metadata.name.get_or_insert_with(|| format!("web-{index}"));
        Arc::new(slice)
    });
    named.collect()
}

/// `10.42.0.5:8080 ready serving`
fn shown(plan: &Plan) -> Vec<String> {
    let flag =
        |set: Option<bool>, name: &str| if set == Some(true) { format!(" {name}") } else { String::new() };
    let slices = plan.create.iter().chain(&plan.update);
    slices
        .flat_map(|slice| {
            let port = slice.ports.iter().flatten().next().and_then(|port| port.port).unwrap_or(0);
            slice.endpoints.iter().flatten().map(move |endpoint| {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                let ready = flag(conditions.ready, "ready") + &flag(conditions.serving, "serving");
                format!(
                    "{}:{port}{ready}{}",
                    endpoint.addresses[0],
                    flag(conditions.terminating, "terminating")
                )
            })
        })
        .collect()
}

#[test]
fn endpoints_show_readiness_and_the_named_port_of_each_pod() {
    let lines = [
        "a 10.42.0.5 ready",
        "b 10.42.0.6",
        "c 10.42.0.7 ready terminating",
        "d 10.42.0.8 ready port=9090",
        "e 10.42.0.9 done",
    ];
    let plan = pass(&service(json!({})), &lines, &[]);
    assert_eq!(
        shown(&plan),
        [
            "10.42.0.5:8080 ready serving",
            "10.42.0.6:8080",
            "10.42.0.7:8080 serving terminating",
            "10.42.0.8:9090 ready serving"
        ]
    );
    let unready = pass(&service(json!({ "publishNotReadyAddresses": true })), &["b 10.42.0.6"], &[]);
    assert_eq!(shown(&unready), ["10.42.0.6:8080 ready"]);
}

#[test]
fn a_slice_carries_the_stock_labels_and_its_owner() {
    let plan = pass(&service(json!({ "clusterIP": "None" })), &["a 10.42.0.5 ready"], &[]);
    let metadata = &plan.create[0].metadata;
    let labels = metadata.labels.as_ref().unwrap();
    assert_eq!(labels["kubernetes.io/service-name"], "web");
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!((&*labels["service.kubernetes.io/headless"], &*labels["team"]), ("", "a"));
    assert_eq!(metadata.generate_name.as_deref(), Some("web-"));
    assert_eq!(metadata.owner_references.as_ref().unwrap()[0].kind, "Service");
    let endpoint = &plan.create[0].endpoints.as_ref().unwrap()[0];
    assert_eq!(endpoint.node_name.as_deref(), Some("n1"));
    assert_eq!(endpoint.target_ref.as_ref().unwrap().name.as_deref(), Some("a"));
}

#[test]
fn a_second_pass_finds_nothing_to_do() {
    for lines in [&["a 10.42.0.5 ready", "b 10.42.0.6 port=9090"][..], &[]] {
        let first = stored(pass(&service(json!({})), lines, &[]));
        let second = pass(&service(json!({})), lines, &first);
        assert!(
            second.create.is_empty() && second.update.is_empty() && second.delete.is_empty(),
            "{second:?}"
        );
    }
}

#[test]
fn a_change_of_one_pod_updates_one_slice_in_place() {
    let first = stored(pass(&service(json!({})), &["a 10.42.0.5", "b 10.42.0.6"], &[]));
    let plan = pass(&service(json!({})), &["a 10.42.0.5 ready", "c 10.42.0.7"], &first);
    assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0));
    assert_eq!(shown(&plan), ["10.42.0.5:8080 ready serving", "10.42.0.7:8080"]);
}

#[test]
fn the_last_pod_leaves_an_empty_slice_and_the_first_one_replaces_it() {
    let first = stored(pass(&service(json!({})), &["a 10.42.0.5"], &[]));
    let plan = pass(&service(json!({})), &[], &first);
    assert_eq!((plan.create.len(), plan.delete.len()), (1, 1));
    assert_eq!(plan.create[0].endpoints.as_deref(), Some(&[][..]));
    let empty = stored(plan);
    let plan = pass(&service(json!({})), &["a 10.42.0.5"], &empty);
    assert_eq!((plan.create.len(), plan.delete.len()), (1, 1));
}

#[test]
fn a_slice_holds_at_most_100_endpoints() {
    let lines: Vec<String> = (0..250).map(|n| format!("p{n} 10.42.{}.{}", n / 250, n % 250)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let plan = pass(&service(json!({})), &lines, &[]);
    let sizes: Vec<usize> = plan.create.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
}
