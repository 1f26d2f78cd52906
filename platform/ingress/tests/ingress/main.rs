//! The whole ingress on loopback sockets, with real clients and backends; only the API is a table in memory.

mod api;
mod backends;
mod clients;
mod connections;
mod messages;
mod objects;
mod secure;
mod wire;

use std::{net::SocketAddr, time::Duration};

use coracle_ingress::{Config, Ingress};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::Api;

/// Far longer than anything here takes.
pub const DEADLINE: Duration = Duration::from_secs(180);

pub struct Proxy {
    pub api: Api,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub stop: CancellationToken,
    pub running: JoinHandle<()>,
}

/// An ingress over `objects`: its sockets are bound.
pub async fn built(objects: Vec<Value>) -> (Api, Ingress) {
    let api = Api::default();
    for object in objects {
        api.put(object);
    }
    let any = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        http: any,
        https: any,
        ingress_class: "nginx".into(),
        status_ip: "192.0.2.1".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
    };
    let ingress = Ingress::build(config, api.client()).await.unwrap();
    (api, ingress)
}

/// An ingress over `objects`, whose routes are in place: each Ingress among them has its status.
pub async fn proxy(objects: Vec<Value>) -> Proxy {
    let (api, ingress) = built(objects).await;
    let (http, https) = ingress.addresses();
    let stop = CancellationToken::new();
    let running = tokio::spawn(ingress.run(stop.clone()));
    api.until(|api| api.patched() >= api.count("Ingress")).await;
    Proxy { api, http, https, stop, running }
}

/// Service, its endpoints on 127.0.0.1, and an Ingress that sends `a.example` there.
pub fn site(ports: &[SocketAddr], annotations: Value) -> Vec<Value> {
    vec![service("web"), slice("web", ports), ingress("web", annotations, json!({}))]
}

pub fn service(name: &str) -> Value {
    json!({"kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80}]}})
}

/// All of `backends` have the port of the first, as the endpoints of a slice do.
pub fn slice(service: &str, backends: &[SocketAddr]) -> Value {
    let port = backends.first().map_or(1, SocketAddr::port);
    json!({"kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}],
        "endpoints": backends.iter().map(|address| json!({"addresses": [address.ip()]})).collect::<Vec<_>>()})
}

pub fn ingress(name: &str, annotations: Value, extra: Value) -> Value {
    let backend = json!({"service": {"name": "web", "port": {"name": "http"}}});
    let mut ingress = json!({"kind": "Ingress",
        "metadata": {"name": name, "namespace": "default", "uid": name, "annotations": annotations},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": "a.example",
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}});
    for (key, value) in extra.as_object().unwrap() {
        ingress["spec"][key] = value.clone();
    }
    ingress
}
