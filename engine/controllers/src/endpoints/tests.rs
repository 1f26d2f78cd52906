use std::sync::Arc;

use super::*;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

fn service(spec: Value) -> Service {
    let mut service = json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "s" },
        "spec": { "clusterIP": "10.43.0.7", "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    });
    if let Value::Object(spec) = spec {
        spec.into_iter().for_each(|(key, value)| service["spec"][key] = value);
    }
    serde_json::from_value(service).unwrap()
}

fn pod(name: &str, ip: &str, ready: bool) -> Arc<Pod> {
    let pod = json!({
        "metadata": { "name": name, "namespace": "default", "uid": name },
        "spec": { "containers": [], "nodeName": "n1" },
        "status": {
            "phase": "Running", "podIP": ip,
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
        },
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

#[test]
fn ready_and_other_addresses_are_listed_apart_and_sorted() {
    let pods = [pod("b", "10.42.0.6", true), pod("a", "10.42.0.5", true), pod("c", "10.42.0.7", false)];
    let endpoints = plan::plan(&service(json!({})), &pods, None).unwrap();
    let subset = &endpoints.subsets.as_ref().unwrap()[0];
    let ips = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
        list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ips(&subset.addresses), ["10.42.0.5", "10.42.0.6"]);
    assert_eq!(ips(&subset.not_ready_addresses), ["10.42.0.7"]);
    assert_eq!(subset.ports.as_ref().unwrap()[0].port, 8080);
    assert_eq!(endpoints.metadata.labels.as_ref().unwrap()[plan::MANAGED_BY], plan::MANAGER);
}

#[test]
fn a_second_pass_finds_nothing_to_do() {
    let pods = [pod("a", "10.42.0.5", true)];
    let first = plan::plan(&service(json!({})), &pods, None).unwrap();
    assert_eq!(plan::plan(&service(json!({})), &pods, Some(&first)), None);
    assert!(plan::plan(&service(json!({})), &[], Some(&first)).unwrap().subsets.unwrap().is_empty());
}

#[test]
fn more_than_1000_addresses_are_cut_and_said_so() {
    let pods: Vec<Arc<Pod>> =
        (0..1001).map(|n| pod(&format!("p{n}"), &format!("10.42.{}.{}", n / 250, n % 250), true)).collect();
    let endpoints = plan::plan(&service(json!({})), &pods, None).unwrap();
    assert_eq!(endpoints.subsets.unwrap()[0].addresses.as_ref().unwrap().len(), 1000);
    assert_eq!(endpoints.metadata.annotations.unwrap()["endpoints.kubernetes.io/over-capacity"], "truncated");
}
