//! The engine without a node: store, API server, controllers and scheduler in this process, no sockets used, no root.
//! What a kubelet would say about pods is said by a task of the test.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use coracle_apiserver::{ApiServer, Config, authn::ObjectRef};
use coracle_client::Identity;
use coracle_controllers::Dependencies;
use coracle_lifecycle::Pulse;
use coracle_store::{EventKind, Object, Reader, Resource, Scope, Store, StoreConfig};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Nothing takes so long, whatever else the machine does: who waits longer waits in vain.
const DEADLINE: Duration = Duration::from_secs(180);

pub struct Cluster {
    pub client: Client,
    pub reader: Reader,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    store: Option<Store>,
    _dir: tempfile::TempDir,
}

fn identity(user: &str, groups: &[&str]) -> Identity {
    Identity { user: user.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
}

impl Cluster {
    pub async fn start() -> Cluster {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig {
            dir: dir.path().join("store"),
            encrypted: vec![Resource("secrets".into())],
            history_events: 10_000,
        })
        .await
        .unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            bind: "127.0.0.1:0".parse().unwrap(),
            node_ip: "192.0.2.10".parse().unwrap(),
            node_name: "n1".to_owned(),
            extra_sans: Vec::new(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            node_port_range: 30000..=32767,
            protection: coracle_apiserver::Protection::default(),
        };
        let server = Arc::new(ApiServer::build(config, &store).await.unwrap());
        let client = server.client(identity("admin", &["system:masters", "system:authenticated"]));
        let reader = store.reader();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let of_controller = {
            let server = server.clone();
            move |name: &str| {
                if name.starts_with("system:") {
                    return server.client(identity(name, &["system:authenticated"]));
                }
                let user = format!("system:serviceaccount:kube-system:{name}");
                let groups =
                    ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
                server.client(identity(&user, &groups))
            }
        };
        let dependencies = Dependencies {
            store: reader.clone(),
            client_for: Box::new(of_controller),
            ca_pem: server.ca_pem(),
            node_ip: "192.0.2.10".parse().unwrap(),
            own_ports: vec![(443, "the ingress's")],
            authority: Arc::new(Authority(server.authority())),
            tokens: Arc::new(Signer(server.clone())),
            pulse: Pulse::default(),
            queues: Default::default(),
        };
        tasks.spawn(coracle_controllers::run(dependencies, stop.clone()));
        let scheduler = server.client(identity("system:kube-scheduler", &["system:authenticated"]));
        tasks.spawn(coracle_scheduler::run(
            reader.clone(),
            scheduler,
            vec![443],
            Pulse::default().begin("scheduler"),
            stop.clone(),
        ));
        tasks.spawn(act_as_kubelet(client.clone(), reader.clone()));
        let cluster = Cluster { client, reader, stop, tasks, store: Some(store), _dir: dir };
        cluster.add_node("n1").await;
        cluster
            .until("the default service account", |it| it.exists("serviceaccounts", "default", "default"))
            .await;
        cluster
    }

    async fn add_node(&self, name: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node =
            from(json!({ "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } } }));
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let size = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
        let status = json!({ "status": { "capacity": size, "allocatable": size } });
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        self.tasks.shutdown().await;
        if let Some(store) = self.store.take() {
            store.close().await;
        }
    }

    pub fn objects(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let scope = scope(resource, namespace);
        self.reader.snapshot().list(&scope).cloned().collect()
    }

    pub fn typed<K>(&self, resource: &str, namespace: &str) -> Vec<Arc<K>>
    where
        K: coracle_kinds::Kind,
    {
        self.objects(resource, Some(namespace)).iter().map(|object| object.decode::<K>().unwrap()).collect()
    }

    pub fn exists(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.objects(resource, Some(namespace).filter(|it| !it.is_empty()))
            .iter()
            .any(|it| &*it.key.name == name)
    }

    /// Waits until `holds`; looks again whenever anything of these resources changes.
    pub async fn until(&self, what: &str, holds: impl Fn(&Cluster) -> bool) {
        let mut revision = self.reader.revision();
        let waiting = async {
            while !holds(self) {
                // The store has no watch over everything: a change shows in its revision.
                while self.reader.revision() == revision {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                revision = self.reader.revision();
            }
        };
        if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
            panic!("never came: {what}\n{}", self.describe());
        }
    }

    fn describe(&self) -> String {
        let interesting = ["pods", "replicasets.apps", "deployments.apps", "events", "namespaces"];
        let objects = interesting.iter().flat_map(|resource| self.objects(resource, None));
        objects.map(|object| String::from_utf8_lossy(&object.json).into_owned() + "\n").collect()
    }
}

pub fn scope(resource: &str, namespace: Option<&str>) -> Scope {
    Scope { resource: Resource(resource.into()), namespace: namespace.map(Into::into), name: None }
}

pub fn from<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// Every pod on a node runs and is ready at once; every terminating one ends at once.
async fn act_as_kubelet(client: Client, reader: Reader) {
    let (snapshot, mut watch) = reader.list_watch(scope("pods", None));
    let mut seen = BTreeSet::new();
    drop(snapshot);
    let mut address = 1;
    while let Ok(event) = watch.next().await {
        if event.kind == EventKind::Deleted {
            continue;
        }
        let Ok(pod) = event.object.decode::<Pod>() else { continue };
        let pods: Api<Pod> = Api::namespaced(client.clone(), &event.object.key.namespace);
        let name = &*event.object.key.name;
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = pods.delete(name, &DeleteParams::default().grace_period(0)).await;
        } else if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
            && seen.insert(pod.metadata.uid.clone())
        {
            address += 1;
            let now = jiff::Timestamp::now();
            let ip = format!("10.42.{}.{}", address / 250, address % 250);
            let status = json!({ "status": {
                "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }], "startTime": now,
                "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": now }],
            }});
            let _ = pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await;
        }
    }
}

struct Signer(Arc<ApiServer>);

impl coracle_controllers::TokenSigner for Signer {
    fn sign(&self, wanted: &coracle_controllers::SecretToken<'_>) -> Result<String, String> {
        let account = ObjectRef { name: wanted.account.to_owned(), uid: wanted.account_uid.to_owned() };
        let signed = self.0.secret_token(wanted.namespace, &account, wanted.secret);
        signed.map_err(|error| error.to_string())
    }
}

struct Authority(Arc<coracle_apiserver::pki::Authority>);

impl coracle_controllers::CertificateAuthority for Authority {
    fn inspect(&self, request: &[u8]) -> Result<coracle_controllers::Requested, String> {
        let asked = coracle_apiserver::pki::request::inspect(request).map_err(|error| error.to_string())?;
        Ok(coracle_controllers::Requested {
            common_name: asked.common_name,
            organizations: asked.organizations,
            dns_names: asked.dns_names,
            ip_addresses: asked.ip_addresses,
            emails: asked.emails,
            uris: asked.uris,
        })
    }

    fn sign(&self, request: &[u8], usages: &[String], validity: Duration) -> Result<String, String> {
        self.0.sign_request(request, usages, validity).map_err(|error| error.to_string())
    }
}
