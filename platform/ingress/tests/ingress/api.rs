//! Lists, watches and writes of a Kubernetes API, as far as the ingress uses them, from memory.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::DEADLINE;

type Line = Result<Frame<Bytes>, Infallible>;
type Lines = UnboundedReceiver<Line>;

#[derive(Clone)]
pub struct Api {
    state: Arc<Mutex<State>>,
    /// Counts writes of the ingress.
    writes: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<(&'static str, String), Value>,
    history: Vec<(u64, &'static str, Bytes)>,
    watchers: Vec<(&'static str, UnboundedSender<Line>)>,
    patched: usize,
    events: Vec<Value>,
}

impl Default for Api {
    fn default() -> Api {
        Api { state: Arc::default(), writes: Arc::new(watch::Sender::new(0)) }
    }
}

impl Api {
    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    pub fn put(&self, object: Value) {
        self.state.lock().unwrap().put(object);
    }

    pub fn get(&self, kind: &str, name: &str) -> Value {
        self.state.lock().unwrap().objects[&(path(kind), name.to_string())].clone()
    }

    pub fn events(&self) -> Vec<Value> {
        self.state.lock().unwrap().events.clone()
    }

    /// How often a status was written.
    pub fn patched(&self) -> usize {
        self.state.lock().unwrap().patched
    }

    pub fn count(&self, kind: &str) -> usize {
        let path = path(kind);
        self.state.lock().unwrap().objects.keys().filter(|(of, _)| *of == path).count()
    }

    /// Waits for the ingress to write what makes this true.
    pub async fn until(&self, holds: impl Fn(&Api) -> bool) {
        let mut writes = self.writes.subscribe();
        tokio::time::timeout(DEADLINE, writes.wait_for(|_| holds(self))).await.expect("in time").unwrap();
    }

    async fn answer(&self, request: Request<Body>) -> Response<StreamBody<Lines>> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let (sender, lines) = unbounded();
        match parts.method {
            Method::GET => self.state.lock().unwrap().read(parts.uri.path(), query, sender),
            method => {
                let body = body.collect().await.unwrap().to_bytes();
                let sent: Value = serde_json::from_slice(&body).unwrap();
                let answer = self.state.lock().unwrap().write(&method, parts.uri.path(), sent);
                send(&sender, &answer);
                self.writes.send_modify(|count| *count += 1);
            }
        }
        Response::new(StreamBody::new(lines))
    }
}

impl State {
    fn put(&mut self, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let path = path(object["kind"].as_str().unwrap());
        let name = object["metadata"]["name"].as_str().unwrap().to_string();
        let known = self.objects.insert((path, name), object.clone()).is_some();
        let line = line(&json!({"type": if known { "MODIFIED" } else { "ADDED" }, "object": object}));
        self.watchers.retain(|(of, sender)| {
            *of != path || sender.unbounded_send(Ok(Frame::data(line.clone()))).is_ok()
        });
        self.history.push((self.version, path, line));
    }

    fn read(&mut self, path: &str, query: &str, sender: UnboundedSender<Line>) {
        if path == "/api/v1/events" {
            let list = json!({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": self.events});
            return send(&sender, &list);
        }
        let path = KINDS.iter().find(|(_, known)| *known == path).expect("a known kind").1;
        if !query.contains("watch=true") {
            let items: Vec<&Value> =
                self.objects.iter().filter(|((of, _), _)| *of == path).map(|(_, object)| object).collect();
            let metadata = json!({"resourceVersion": self.version.to_string()});
            return send(
                &sender,
                &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}),
            );
        }
        let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")).unwrap();
        let since: u64 = since.parse().unwrap();
        for (_, _, line) in self.history.iter().filter(|(version, of, _)| *version > since && *of == path) {
            sender.unbounded_send(Ok(Frame::data(line.clone()))).unwrap();
        }
        self.watchers.push((path, sender));
    }

    fn write(&mut self, method: &Method, path: &str, sent: Value) -> Value {
        if *method == Method::POST && path.ends_with("/events") {
            self.events.push(sent.clone());
            return sent;
        }
        let name = path.strip_suffix("/status").and_then(|path| path.rsplit('/').next()).expect("a status");
        let mut object = self.objects[&(self::path("Ingress"), name.to_string())].clone();
        object["status"] = sent["status"].clone();
        self.put(object.clone());
        self.patched += 1;
        object
    }
}

const KINDS: [(&str, &str); 5] = [
    ("Ingress", "/apis/networking.k8s.io/v1/ingresses"),
    ("IngressClass", "/apis/networking.k8s.io/v1/ingressclasses"),
    ("Service", "/api/v1/services"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("Secret", "/api/v1/secrets"),
];

fn path(kind: &str) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).expect("a known kind").1
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

fn send(sender: &UnboundedSender<Line>, value: &Value) {
    // The reader may have gone.
    let _ = sender.unbounded_send(Ok(Frame::data(line(value))));
}
