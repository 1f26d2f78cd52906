//! A node whose network follows a real store.

use std::{
    thread,
    time::{Duration, Instant},
};

use coracle_store::{
    Body, Change, Durability, Expect, Key, Meta, Resource, Revision, Store, StoreConfig, Write, Writer,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::host::{Machine, config, enter_private_network, nft, uid};
use crate::{Config, Network, PodLinks};

pub struct Cluster {
    pub config: Config,
    pub client: Machine,
    pub store: Store,
    writer: Writer,
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    _dir: tempfile::TempDir,
}

struct Running {
    links: PodLinks,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

pub fn on_cluster(test: impl FnOnce(&mut Cluster) + Send + 'static) {
    let thread = thread::spawn(|| {
        let client = enter_private_network();
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store_config =
            StoreConfig { dir: dir.path().join("store"), encrypted: vec![], history_events: 1000 };
        let store = runtime.block_on(Store::open(store_config)).unwrap();
        let mut config = config(dir.path().join("network"));
        config.upstream_dns = vec![super::host::CLIENT_IP.into()];
        let writer = store.writer();
        let mut cluster = Cluster { config, client, store, writer, runtime, running: None, _dir: dir };
        cluster.start();
        test(&mut cluster);
        if cluster.running.is_some() {
            cluster.stop();
        }
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Cluster {
    pub fn start(&mut self) {
        // Answers under way hold the DNS sockets of the run before for a moment.
        let mut built = None;
        eventually("the network is built", || {
            let build = Network::build(self.config.clone(), self.store.reader());
            built = self.runtime.block_on(build).inspect_err(|error| eprintln!("{error:?}")).ok();
            built.is_some()
        });
        let network = built.expect("it was waited for");
        let (links, stop) = (network.pod_links(), CancellationToken::new());
        let task = self.runtime.spawn(network.run(stop.clone()));
        self.running = Some(Running { links, stop, task });
    }

    pub fn stop(&mut self) {
        let Running { stop, task, .. } = self.running.take().unwrap();
        stop.cancel();
        self.runtime.block_on(task).unwrap();
    }

    pub fn put(&self, resource: &str, mut object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let key = Key::new(Resource::new(resource), &namespace, &name);
        object["metadata"]["resourceVersion"] = "".into();
        let json = serde_json::to_vec(&object).unwrap();
        let marker = br#""resourceVersion":""#;
        let revision_at = json.windows(marker.len()).position(|at| at == marker).unwrap() + marker.len();
        let body = Body { json, revision_at };
        let meta = Meta::from_value(&object).unwrap();
        self.write(key, Change::Put { meta, body });
    }

    pub fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let key = Key::new(Resource::new(resource), namespace, name);
        let json = br#"{"metadata":{"resourceVersion":""}}"#.to_vec();
        let body = Body { revision_at: json.len() - 3, json };
        self.write(key, Change::Delete { body });
    }

    fn write(&self, key: Key, change: Change) {
        let current = self.store.reader().get(&key).map(|object| object.revision);
        let expect = current.map_or(Expect::Absent, |revision: Revision| Expect::Revision(revision));
        let write = Write { key, expect, change, durability: Durability::Durable };
        self.runtime.block_on(self.writer.commit(write)).unwrap();
    }

    pub fn pod(&self, name: &str, port: u16) -> (Machine, std::net::Ipv4Addr) {
        let machine = Machine::new();
        let links = &self.running.as_ref().unwrap().links;
        let address = self.runtime.block_on(links.attach(&uid(name), &machine.path(), &[])).unwrap();
        machine.serve(name, port);
        (machine, address)
    }

    pub fn remove_network(&self) {
        self.runtime.block_on(Network::remove(&self.config)).unwrap();
    }
}

/// Waits until the condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

pub fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec})
}

pub fn slice(service: &str, ports: Value, endpoints: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": "default", "uid": format!("{service}-1"),
            "labels": {"kubernetes.io/service-name": service}},
        "ports": ports, "endpoints": endpoints,
    })
}

pub const SLICES: &str = "endpointslices.discovery.k8s.io";

#[test]
fn rules_follow_the_store_and_hold_while_coracle_restarts() {
    on_cluster(|cluster| {
        let (a, _) = cluster.pod("a", 1);
        let (_b, b_ip) = cluster.pod("b", 8080);
        let (_c, c_ip) = cluster.pod("c", 8080);
        let ports = || json!([{"name": "", "port": 8080, "protocol": "TCP"}]);
        let vip = std::net::Ipv4Addr::new(10, 43, 0, 80);
        let answers = |with: &str| a.ask((vip, 80)).is_ok_and(|answer| answer.starts_with(with));
        cluster.put(SLICES, slice("web", ports(), json!([{"addresses": [b_ip], "nodeName": "n"}])));
        cluster.put(
            "services",
            service("web", json!({"clusterIP": vip, "ports": [{"port": 80, "protocol": "TCP"}]})),
        );
        eventually("created", || answers("b"));
        cluster.put(SLICES, slice("web", ports(), json!([{"addresses": [c_ip], "nodeName": "n"}])));
        eventually("endpoints change", || answers("c"));
        cluster.stop();
        assert!(answers("c"), "rules hold while Coracle is stopped");
        let (wait, client) = (a.clone(), cluster.client.clone());
        cluster.start();
        assert!(answers("c"), "rules are restored from the store");
        drop((wait, client));
        cluster.delete(SLICES, "default", "web-1");
        eventually("endpoints gone", || a.ask((vip, 80)) == Err(std::io::ErrorKind::ConnectionRefused));
        cluster.delete("services", "default", "web");
        eventually("service gone", || !nft("list table inet coracle").contains(&vip.to_string()));
    });
}

#[test]
fn pods_attached_at_the_same_time_get_different_addresses() {
    on_cluster(|cluster| {
        let machines: Vec<Machine> = (0..30).map(|_| Machine::new()).collect();
        let links = &cluster.running.as_ref().unwrap().links;
        let started = Instant::now();
        let addresses: std::collections::HashSet<_> = cluster.runtime.block_on(async {
            let attach = |(number, machine): (usize, &Machine)| {
                let (links, path) = (links.clone(), machine.path());
                async move { links.attach(&uid(&format!("p{number:03}")), &path, &[]).await.unwrap() }
            };
            futures::future::join_all(machines.iter().enumerate().map(attach)).await.into_iter().collect()
        });
        println!("30 pods at once: {:?}", started.elapsed());
        assert_eq!(addresses.len(), 30);
        let started = Instant::now();
        let machine = Machine::new();
        cluster.runtime.block_on(links.attach("abcdef01-1", &machine.path(), &[])).unwrap();
        println!("one pod: {:?}", started.elapsed());
    });
}

#[test]
fn removal_leaves_no_trace() {
    on_cluster(|cluster| {
        let _a = cluster.pod("a", 8080);
        cluster.stop();
        cluster.remove_network();
        assert_eq!(nft("list ruleset"), "");
        let links = std::process::Command::new("ip").args(["-br", "link"]).output().unwrap();
        let links = String::from_utf8_lossy(&links.stdout).into_owned();
        assert!(!links.contains("veth") && !links.contains("coracle0"), "{links}");
        let routes =
            std::process::Command::new("ip").args(["route", "show", "table", "all"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&routes.stdout).contains("10.4"));
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "0\n");
        cluster.remove_network();
    });
}
