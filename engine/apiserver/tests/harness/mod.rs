//! A whole API server on a store of its own in a temporary directory, asked without sockets.

#![allow(dead_code)]

use std::sync::Arc;

use bytes::Bytes;
use coracle_apiserver::{ApiServer, Config};
use coracle_client::Identity;
use coracle_store::{Store, StoreConfig};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

pub struct Harness {
    pub server: Arc<ApiServer>,
    /// Held: closes with the harness.
    pub store: Store,
    _dir: tempfile::TempDir,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The body, when the code is the expected one.
    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text);
        self.json()
    }
}

pub fn admin() -> Identity {
    Identity { user: "admin".into(), groups: vec!["system:masters".into()] }
}

/// A server on the loopback interface, on a port of its own.
pub fn config(data_dir: &std::path::Path) -> Config {
    Config {
        data_dir: data_dir.to_owned(),
        bind: "127.0.0.1:0".parse().expect("address"),
        node_ip: "127.0.0.1".parse().expect("address"),
        node_name: "node-1".into(),
        extra_sans: Vec::new(),
        service_cidr: "10.43.0.0/16".parse().expect("network"),
        cluster_domain: "cluster.local".into(),
        node_port_range: 30000..=32767,
        protection: coracle_apiserver::Protection::default(),
    }
}

impl Harness {
    pub async fn start() -> Harness {
        Harness::start_with(|_| ()).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Harness {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(StoreConfig {
            dir: dir.path().join("store"),
            encrypted: Vec::new(),
            history_events: 1000,
        })
        .await
        .expect("store opens");
        let mut config = config(dir.path());
        change(&mut config);
        let server = ApiServer::build(config, &store).await.expect("server builds");
        Harness { server: Arc::new(server), store, _dir: dir }
    }

    /// Another server on the same store.
    pub async fn restarted(self) -> Harness {
        drop(self.server);
        let server = ApiServer::build(config(self._dir.path()), &self.store).await.expect("server builds");
        Harness { server: Arc::new(server), store: self.store, _dir: self._dir }
    }

    pub fn client(&self) -> kube::Client {
        self.server.client(admin())
    }

    pub async fn send(
        &self,
        identity: Option<Identity>,
        request: http::Request<Full<Bytes>>,
    ) -> http::Response<coracle_apiserver::types::Body> {
        let mut request = request;
        if let Some(identity) = identity {
            request.extensions_mut().insert(identity);
        }
        self.server.service().oneshot(request).await.expect("infallible")
    }

    /// As an admin, with extra headers.
    pub async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut builder = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let request = builder.body(Full::new(body.into())).expect("request");
        answer(self.send(Some(admin()), request).await).await
    }

    /// As an admin. The body is JSON unless it is null.
    pub async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).expect("encodes") };
        let content_type = if method == "PATCH" {
            if body.is_array() { "application/json-patch+json" } else { "application/merge-patch+json" }
        } else {
            "application/json"
        };
        self.ask_with(method, path, &[("content-type", content_type)], bytes).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Value::Null).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, body).await
    }

    /// Makes what namespaced tests need: the namespace's default ServiceAccount.
    pub async fn account(&self, namespace: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let answer = self.post(&path, serde_json::json!({"metadata": {"name": "default"}})).await;
        assert!(answer.code == 201 || answer.code == 409, "{}", answer.text);
    }

    /// Opens a watch and gives its lines.
    pub async fn watch(&self, path: &str) -> Lines {
        let request = http::Request::builder().uri(path).body(Full::new(Bytes::new())).expect("request");
        let response = self.send(Some(admin()), request).await;
        assert_eq!(response.status(), 200);
        Lines { body: response.into_body(), rest: Vec::new() }
    }
}

pub async fn answer(response: http::Response<coracle_apiserver::types::Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("body").to_bytes();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// The events of a watch.
pub struct Lines {
    body: coracle_apiserver::types::Body,
    rest: Vec<u8>,
}

impl Lines {
    /// The next event; none at the end of the watch.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return Some(serde_json::from_slice(&line).expect("event"));
            }
            let frame = self.body.frame().await?.expect("frame");
            self.rest.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }

    /// `TYPE name` of the next event.
    pub async fn brief(&mut self) -> String {
        let event = self.next().await.expect("an event");
        format!(
            "{} {}",
            event["type"].as_str().unwrap_or_default(),
            event["object"]["metadata"]["name"].as_str().unwrap_or_default()
        )
    }
}
