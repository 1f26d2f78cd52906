//! Clients that read, write, list and watch at random, and record what they did and saw.

use std::{collections::HashMap, time::Duration};

use futures::{AsyncBufReadExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::record::{Event, Found, Kind, List, Op, Outcome, Recorder, Segment};

pub const RESOURCES: [&str; 3] = ["configmaps", "secrets", "resourcequotas"];
const KINDS: [&str; 3] = ["ConfigMap", "Secret", "ResourceQuota"];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Every object carries the value of its last write here.
const VALUE: &str = "history/value";

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// How an update is written.
#[derive(Clone, Copy)]
enum Means {
    Put,
    Patch,
    PutStatus,
    PatchStatus,
}

impl Means {
    fn pick(rng: &mut Rng, resource: &str) -> Means {
        match rng.below(4) {
            2 if resource == "resourcequotas" => Means::PutStatus,
            3 if resource == "resourcequotas" => Means::PatchStatus,
            1 | 3 => Means::Patch,
            _ => Means::Put,
        }
    }

    fn request(self, key: &str) -> (&'static str, String) {
        match self {
            Means::Put => ("PUT", path(key)),
            Means::Patch => ("PATCH", path(key)),
            Means::PutStatus => ("PUT", path(key) + "/status"),
            Means::PatchStatus => ("PATCH", path(key) + "/status"),
        }
    }
}

/// Why there is no answer.
enum Failure {
    Status(u16),
    /// The server is gone, or said that it does not know.
    Lost,
}

#[derive(Clone)]
pub struct Client {
    pub kube: kube::Client,
    pub recorder: Recorder,
}

fn path(key: &str) -> String {
    format!("/api/v1/namespaces/default/{key}")
}

fn found(object: &Value) -> Option<Found> {
    let metadata = &object["metadata"];
    let value = metadata["annotations"][VALUE].as_str()?.parse().ok()?;
    Some(Found { revision: metadata["resourceVersion"].as_str()?.parse().ok()?, value })
}

impl Client {
    async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(
                "content-type",
                if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
            )
            .body(bytes)
            .expect("a request");
        match self.kube.request::<Value>(request).await {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
                Err(Failure::Status(status.code))
            }
            Err(_) => Err(Failure::Lost),
        }
    }

    /// One operation of a writer. `None` when the server is gone.
    async fn operate(&self, key: &str, kind: Kind, known: Option<Found>, padding: usize) -> Option<Outcome> {
        self.operate_by(Means::Put, key, kind, known, padding).await
    }

    async fn operate_by(
        &self,
        means: Means,
        key: &str,
        kind: Kind,
        known: Option<Found>,
        padding: usize,
    ) -> Option<Outcome> {
        let version = known.map(|known| known.revision.to_string());
        let (resource, name) = key.split_once('/').expect("a key");
        let at = RESOURCES.iter().position(|own| *own == resource).expect("one of them");
        let object = |value: u64| {
            let mut object = json!({
                "apiVersion": "v1", "kind": KINDS[at],
                "metadata": {"name": name, "annotations": {VALUE: value.to_string()}},
            });
            if padding > 0 {
                object["data"] = json!({"padding": "x".repeat(padding)});
            }
            if let Some(version) = &version {
                object["metadata"]["resourceVersion"] = json!(version);
            }
            object
        };
        let invoked = self.recorder.now();
        let answer = match kind {
            Kind::Get => self.send("GET", &path(key), &Value::Null).await,
            Kind::Create(value) => self.send("POST", &path(resource), &object(value)).await,
            Kind::Update { to, .. } => {
                let (method, path) = means.request(key);
                self.send(method, &path, &object(to)).await
            }
            Kind::Delete { .. } => {
                let options = json!({"preconditions": {"resourceVersion": version}});
                self.send("DELETE", &path(key), &options).await
            }
            Kind::Remove => unreachable!("a collection is removed as one"),
        };
        let returned = self.recorder.now();
        let outcome = match (kind, answer) {
            (Kind::Get, Ok(object)) => Outcome::Found(Some(found(&object).expect("a value"))),
            (Kind::Get, Err(Failure::Status(404))) => Outcome::Found(None),
            (Kind::Get, Err(Failure::Lost)) => return None,
            (Kind::Delete { .. }, Ok(_)) => Outcome::Done(None),
            (_, Ok(object)) => Outcome::Done(Some(found(&object).expect("a value").revision)),
            (_, Err(Failure::Status(404))) => Outcome::Absent,
            (_, Err(Failure::Status(409))) => Outcome::Conflict,
            (_, Err(Failure::Status(code))) => panic!("{kind:?} of {key} was answered with {code}"),
            (_, Err(Failure::Lost)) => Outcome::Unknown,
        };
        let returned = if outcome == Outcome::Unknown { u64::MAX } else { returned };
        self.recorder.history.lock().ops.push(Op { key: key.into(), kind, invoked, returned, outcome });
        (outcome != Outcome::Unknown).then_some(outcome)
    }

    /// Deletes a collection; what the answer names is gone. False when the server is gone.
    async fn remove_all(&self, resource: &str) -> bool {
        let invoked = self.recorder.now();
        let answer = self.send("DELETE", &path(resource), &Value::Null).await;
        let returned = self.recorder.now();
        let (names, outcome, returned): (Vec<&str>, Outcome, u64) = match &answer {
            Ok(list) => {
                let items = list["items"].as_array().expect("items").iter();
                let names = items.map(|own| own["metadata"]["name"].as_str().expect("a name"));
                (names.collect(), Outcome::Done(None), returned)
            }
            Err(Failure::Status(code)) => panic!("the removal of all {resource} was answered with {code}"),
            Err(Failure::Lost) => (NAMES.to_vec(), Outcome::Unknown, u64::MAX),
        };
        for name in names {
            let key = format!("{resource}/{name}");
            self.recorder.history.lock().ops.push(Op { key, kind: Kind::Remove, invoked, returned, outcome });
        }
        answer.is_ok()
    }

    /// Works on objects that all writers share until the server is gone, or so many times.
    pub async fn write(&self, mut rng: Rng, times: usize) {
        let mut known: HashMap<String, Option<Found>> = HashMap::new();
        for _ in 0..times {
            let resource = RESOURCES[rng.below(RESOURCES.len() as u64) as usize];
            // Of ConfigMaps, one is written by somebody who must not lose it.
            if resource != "configmaps" && rng.below(30) == 0 {
                if !self.remove_all(resource).await {
                    return;
                }
                known.clear();
                continue;
            }
            let key = format!("{resource}/{}", NAMES[rng.below(NAMES.len() as u64) as usize]);
            let value = self.recorder.now();
            let kind = match known.get(&key) {
                Some(_) | None if rng.below(4) == 0 => Kind::Get,
                None => Kind::Get,
                Some(None) => Kind::Create(value),
                Some(Some(found)) if rng.below(5) == 0 => Kind::Delete { from: found.value },
                Some(Some(found)) => Kind::Update { from: found.value, to: value },
            };
            let (means, before) = (Means::pick(&mut rng, resource), known.get(&key).copied().flatten());
            let Some(outcome) = self.operate_by(means, &key, kind, before, 0).await else { return };
            match outcome {
                Outcome::Found(found) => _ = known.insert(key, found),
                Outcome::Done(None) => _ = known.insert(key, None),
                Outcome::Done(Some(revision)) => _ = known.insert(key, Some(Found { revision, value })),
                _ => _ = known.remove(&key),
            }
        }
    }

    /// Reads everything once.
    pub async fn read_all(&self) {
        for resource in RESOURCES {
            for name in NAMES.iter().chain(&["large"]) {
                self.operate(&format!("{resource}/{name}"), Kind::Get, None, 0).await;
            }
        }
    }

    /// Writes one large object over and over: the log comes to its next segment and to checkpoints.
    pub async fn fill(&self) {
        let key = "configmaps/large";
        let mut known = None;
        loop {
            let value = self.recorder.now();
            let kind = match known {
                None => Kind::Get,
                Some(None) => Kind::Create(value),
                Some(Some(Found { value: from, .. })) => Kind::Update { from, to: value },
            };
            match self.operate(key, kind, known.flatten(), 900_000).await {
                None => return,
                Some(Outcome::Found(found)) => known = Some(found),
                Some(Outcome::Done(Some(revision))) => known = Some(Some(Found { revision, value })),
                Some(other) => panic!("{other:?} of the one who writes {key}"),
            }
        }
    }

    /// A last object of each resource: where a watch has seen everything, by resource.
    pub async fn seal(&self) -> HashMap<&'static str, u64> {
        let mut last = HashMap::new();
        for resource in RESOURCES {
            let kind = Kind::Create(self.recorder.now());
            let outcome = self.operate(&format!("{resource}/last"), kind, None, 0).await;
            let Some(Outcome::Done(Some(revision))) = outcome else { panic!("{outcome:?}") };
            last.insert(resource, revision);
        }
        last
    }

    /// The list, in pages or whole; its revision. `None` when the server is gone.
    pub async fn list(&self, resource: &str, limit: u64) -> Option<u64> {
        let invoked = self.recorder.now();
        let (mut items, mut revision, mut after) = (Vec::new(), None, String::new());
        loop {
            let page = format!("{}?limit={limit}&continue={after}", path(resource));
            let Ok(page) = self.send("GET", &page, &Value::Null).await else { return None };
            let text = page["metadata"]["resourceVersion"].as_str().expect("a revision");
            let own: u64 = text.parse().expect("a number");
            assert_eq!(*revision.get_or_insert(own), own, "pages are of one revision");
            for object in page["items"].as_array().expect("items") {
                if let Some(found) = found(object) {
                    items.push((
                        format!("{resource}/{}", object["metadata"]["name"].as_str().expect("a name")),
                        found,
                    ));
                }
            }
            after = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if after.is_empty() {
                let resource = format!("{resource}/");
                self.recorder.history.lock().lists.push(List { resource, invoked, revision: own, items });
                return revision;
            }
        }
    }

    /// Lists without end, whole and in pages.
    pub async fn list_on(&self, mut rng: Rng) {
        loop {
            let resource = RESOURCES[rng.below(RESOURCES.len() as u64) as usize];
            if self.list(resource, [0, 2][rng.below(2) as usize]).await.is_none() {
                return;
            }
        }
    }
}

/// Where watches have seen everything, once it is known.
pub type Target = Option<HashMap<&'static str, u64>>;

/// Follows a resource over many connections and servers.
pub struct Watcher {
    pub resource: &'static str,
    /// Where it goes on; a list tells when it does not know.
    pub after: Option<u64>,
}

enum End {
    Enough,
    Gone,
    Lost,
}

impl Watcher {
    /// Until the server is gone, or `target` is reached when one is set. It hangs up now and then and goes on where it was.
    pub async fn follow(&mut self, client: &Client, mut rng: Rng, target: watch::Receiver<Target>) {
        let mut new_server = true;
        loop {
            let after = match self.after {
                Some(after) => after,
                None => match client.list(self.resource, 0).await {
                    Some(revision) => revision,
                    None => return,
                },
            };
            self.after = Some(after);
            if target.borrow().as_ref().is_some_and(|last| after >= last[self.resource]) {
                return;
            }
            let mut events = Vec::new();
            let end = self.segment(client, after, 1 + rng.below(60) as usize, &mut events).await;
            if let Some(last) = events.last() {
                self.after = Some(last.found.revision);
            }
            let resource = format!("{}/", self.resource);
            client.recorder.history.lock().watches.push(Segment { resource, after, events });
            match end {
                End::Enough => {}
                End::Lost => return,
                // After its start a server knows nothing of what was before; later it still knows all.
                End::Gone if new_server => self.after = None,
                End::Gone => panic!("the watch of {} cannot go on from {after}", self.resource),
            }
            new_server = false;
        }
    }

    async fn segment(&self, client: &Client, after: u64, count: usize, events: &mut Vec<Event>) -> End {
        let uri = format!("{}?watch=1&resourceVersion={after}", path(self.resource));
        let request = http::Request::get(uri).body(Vec::new()).expect("a request");
        let Ok(stream) = client.kube.request_stream(request).await else { return End::Lost };
        let mut lines = std::pin::pin!(stream.lines());
        while events.len() < count {
            // A watch that sees nothing for a while hangs up too, and asks whether there is more to wait for.
            let line = match tokio::time::timeout(Duration::from_millis(300), lines.next()).await {
                Err(_) => return End::Enough,
                Ok(Some(Ok(line))) => line,
                Ok(_) => return End::Lost,
            };
            // The last line of a server that was killed may be cut.
            let Ok(event) = serde_json::from_str::<Value>(&line) else { return End::Lost };
            let kind = event["type"].as_str().expect("a type").to_owned();
            if kind == "ERROR" {
                assert_eq!(event["object"]["code"], 410, "{event}");
                return End::Gone;
            }
            let name = event["object"]["metadata"]["name"].as_str().expect("a name");
            let found = found(&event["object"]).expect("a value");
            events.push(Event { kind, key: format!("{}/{name}", self.resource), found });
        }
        End::Enough
    }
}
