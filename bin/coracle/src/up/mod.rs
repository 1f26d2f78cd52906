//! Wires the roles of the process together, starts them in order and stops them in reverse.
//!
//! Order: store, API server, node (images, runtime, network, kubelet), controllers and scheduler, ingress.
//! Invariant: pods and the rules that carry their traffic outlive this process.

mod bootstrap;
mod certificates;
mod components;
mod kubeconfig;
mod network_claim;
mod node_adapters;
pub mod pid_file;
pub mod run_owner;
mod tokens;
mod traces;

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use coracle_apiserver::{ApiServer, BuildError};
use coracle_client::Identity;
use coracle_kubelet::Kubelet;
use coracle_lifecycle::{Pulse, Stages};
use coracle_network::{Firewall, Network, NetworkError};
use coracle_runtime::{containers::Runtime, images::ImageStore};
use coracle_store::{Reader, Resource, Store, StoreConfig};
use tokio::sync::mpsc;

use crate::settings::{DataOptions, UpOptions};
pub use network_claim::NetworkClaim;
pub use traces::{remove_traces, runtime_config};

/// All roles have stopped by then, or are dropped.
const DRAIN_DEADLINE: Duration = Duration::from_millis(4500);

/// Enough for some minutes of a busy cluster; a watcher that is further behind lists again.
const HISTORY_EVENTS: usize = 2048;

/// Runtime events wait for the kubelet here: one per container that ends, and the kubelet takes them at once.
const RUNTIME_EVENTS: usize = 256;

/// What the API reports as the version it implements.
const KUBERNETES_VERSION: &str = concat!("v1.36.0+coracle.", env!("CARGO_PKG_VERSION"));

pub async fn run(options: UpOptions, started: Instant) -> Result<()> {
    // Signals are caught before anything exists that a signal must clean up.
    let signals = Signals::new()?;
    // Who is refused leaves no directory behind.
    pid_file::check(&options.data.pid_file())?;
    let _network = NetworkClaim::acquire()?;
    run_owner::check(&options.data)?;
    Network::check_free(&network_config(&options)).context(
        "check the networks of pods and Services\nhint: --pod-cidr and --service-cidr choose others",
    )?;
    create_private_dir(&options.data.data_dir)?;
    let _pid_file = pid_file::PidFile::acquire(&options.data.pid_file())?;
    let claim = run_owner::claim(&options.data)?;
    let outcome = serve(&options, signals, started).await;
    if outcome.is_err() {
        claim.give_up();
    }
    outcome
}

/// From the claimed directories to the end.
async fn serve(options: &UpOptions, mut signals: Signals, started: Instant) -> Result<()> {
    coracle_backup::finish(&options.data.data_dir).context("finish a restore that was stopped")?;
    let mut stages = Stages::default();
    let store = open_store(&options.data).await?;
    let started_all = tokio::select! {
        outcome = start(options, &store, &mut stages, started) => outcome,
        () = signals.received() => Ok(()),
    };
    if started_all.is_ok() {
        signals.received().await;
    }
    stages.drain(DRAIN_DEADLINE).await;
    store.close().await;
    started_all
}

/// What lies on the disk encrypted.
pub fn encrypted_resources() -> Vec<Resource> {
    vec![Resource("secrets".into())]
}

/// The data directory's lock is held by then.
pub async fn open_store(options: &DataOptions) -> Result<Store> {
    let dir = options.store_dir();
    let config =
        StoreConfig { dir: dir.clone(), encrypted: encrypted_resources(), history_events: HISTORY_EVENTS };
    Store::open(config).await.with_context(|| format!("open the store in `{}`", dir.display()))
}

async fn start(options: &UpOptions, store: &Store, stages: &mut Stages, started: Instant) -> Result<()> {
    bootstrap::same_node(&store.reader(), &options.node_name)?;
    let api = Arc::new(ApiServer::build(api_config(options), store).await.map_err(|error| {
        let hint = match error {
            BuildError::Bind { .. } => "\nhint: `ss -ltnp` names who has a port; --api-port chooses another",
            _ => "",
        };
        anyhow::Error::from(error).context(format!("build the API server{hint}"))
    })?);
    let stage = stages.stage("api");
    let (serving, stop) = (api.clone(), stage.stop_token());
    stage.run_once("api", serving.serve(stop));
    kubeconfig::write(&options.data.kubeconfig(), &api)?;

    let admin = api.client(Identity { user: "system:admin".into(), groups: vec!["system:masters".into()] });
    // What refuses it, a webhook or a quota, is to be put right through the API; the DNS answers without it.
    if let Err(error) = bootstrap::cluster_dns(&admin, options).await {
        tracing::warn!("the cluster's DNS has no Service until the next start: {error:#}");
    }

    let kubelet = start_node(options, &api, store.reader(), stages).await?;
    api.set_pod_access(Arc::new(node_adapters::Pods(kubelet)));
    start_controllers(options, &api, store.reader(), stages);
    start_ingress(options, &api, stages).await?;
    if let Err(error) = bootstrap::node_ready(&store.reader(), &options.node_name).await {
        tracing::warn!("{error:#}");
        tell(&format!("coracle serves its API at https://{}:{}", options.node_ip, options.api_port));
        return Ok(());
    }
    tell(&format!(
        "coracle is ready in {:.2} s: node {} at https://{}:{}, kubeconfig {}",
        started.elapsed().as_secs_f64(),
        options.node_name,
        options.node_ip,
        options.api_port,
        options.data.kubeconfig().display()
    ));
    Ok(())
}

/// A line for whoever waits. That it cannot be written, as to a file on a full disk, stops nothing.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn start_node(
    options: &UpOptions,
    api: &ApiServer,
    store: Reader,
    stages: &mut Stages,
) -> Result<Arc<Kubelet>> {
    let images = ImageStore::open(options.data.images_dir(), options.registries.clone())
        .await
        .context("open the images")?;
    // Each pod would fail at it, one after the other.
    images.check().await.context("read the images")?;
    let (events, runtime_events) = mpsc::channel(RUNTIME_EVENTS);
    let runtime = Runtime::open(traces::runtime_config(&options.data), images.clone(), events)
        .await
        .context("open the container runtime")?;
    let network = Network::build(network_config(options), store.clone()).await.map_err(|error| {
        let hint = match error {
            NetworkError::DnsPort { .. } => {
                "\nhint: `ss -lnptu 'sport = :53'` names who has the port on all addresses; let it listen on its own ones \
                 (dnsmasq: bind-interfaces, unbound: interface, bind9: listen-on)"
            }
            _ => "",
        };
        anyhow::Error::from(error).context(format!("build the pod network{hint}"))
    })?;
    for firewall in Firewall::without_rule_for(options.pod_cidr).unwrap_or_default() {
        let remedy = firewall.remedy(options.pod_cidr);
        tracing::warn!(chain = %firewall, remedy, "a firewall may drop what pods send");
    }
    let links = network.pod_links();
    let stage = stages.stage("network");
    let stop = stage.stop_token();
    stage.run_once("network", network.run(stop));

    let dependencies = coracle_kubelet::Dependencies {
        store,
        client: api.client(Identity {
            user: format!("system:node:{}", options.node_name),
            groups: vec!["system:nodes".into(), "system:authenticated".into()],
        }),
        runtime,
        runtime_events,
        images,
        network: Arc::new(node_adapters::Links(links)),
    };
    let kubelet = Kubelet::build(kubelet_config(options), dependencies).await.context("build the kubelet")?;
    let stage = stages.stage("kubelet");
    let stop = stage.stop_token();
    stage.run_once("kubelet", kubelet.clone().run(stop));
    Ok(kubelet)
}

/// TCP ports of the node on which Coracle listens, and whose they are.
fn own_ports(options: &UpOptions) -> Vec<(u16, &'static str)> {
    vec![
        (options.api_port, "the API server's"),
        (options.http_port, "the ingress's"),
        (options.https_port, "the ingress's"),
    ]
}

fn own_port_numbers(options: &UpOptions) -> Vec<u16> {
    own_ports(options).into_iter().map(|(port, _)| port).collect()
}

fn start_controllers(options: &UpOptions, api: &Arc<ApiServer>, store: Reader, stages: &mut Stages) {
    let (controllers, scheduler) = (Pulse::default(), Pulse::default());
    api.set_components(vec![
        ("controller-manager", components::turns(&controllers)),
        ("scheduler", components::turns(&scheduler)),
    ]);
    let queues = coracle_controllers::QueueMetrics::default();
    let shown = queues.clone();
    api.add_metrics(Arc::new(move |out: &mut String| shown.render(out)));
    let stage = stages.stage("controllers");
    let (makes_clients, reader, node_ip) = (api.clone(), store.clone(), IpAddr::V4(options.node_ip));
    let own_ports = own_ports(options);
    let own_numbers = own_port_numbers(options);
    stage.supervise("controllers", move |stop| {
        let makes_clients = makes_clients.clone();
        let dependencies = coracle_controllers::Dependencies {
            store: reader.clone(),
            ca_pem: makes_clients.ca_pem(),
            authority: Arc::new(certificates::Authority(makes_clients.authority())),
            tokens: Arc::new(tokens::Signer(makes_clients.clone())),
            client_for: Box::new(move |name| makes_clients.client(component(name))),
            node_ip,
            own_ports: own_ports.clone(),
            pulse: controllers.clone(),
            queues: queues.clone(),
        };
        coracle_controllers::run(dependencies, stop)
    });
    let client = api.client(Identity {
        user: "system:kube-scheduler".into(),
        groups: vec!["system:authenticated".into()],
    });
    stage.supervise("scheduler", move |stop| {
        let beat = scheduler.begin("scheduler");
        coracle_scheduler::run(store.clone(), client.clone(), own_numbers.clone(), beat, stop)
    });
}

async fn start_ingress(options: &UpOptions, api: &ApiServer, stages: &mut Stages) -> Result<()> {
    let listen = |port| SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), port);
    let config = coracle_ingress::Config {
        http: listen(options.http_port),
        https: listen(options.https_port),
        ingress_class: "nginx".into(),
        status_ip: IpAddr::V4(options.node_ip),
        cluster_domain: options.cluster_domain.clone(),
    };
    let client = api.client(service_account("coracle-ingress"));
    let ingress = coracle_ingress::Ingress::build(config, client).await.context("build the ingress\nhint: `ss -ltnp` names who has a port; --http-port and --https-port choose others")?;
    let stage = stages.stage("ingress");
    let stop = stage.stop_token();
    stage.run_once("ingress", ingress.run(stop));
    Ok(())
}

/// A controller's identity: a user, or a service account in kube-system.
fn component(name: &str) -> Identity {
    match name.starts_with("system:") {
        true => Identity { user: name.to_owned(), groups: vec!["system:authenticated".into()] },
        false => service_account(name),
    }
}

/// The identity of a component that a stock cluster runs with a service account in kube-system.
fn service_account(name: &str) -> Identity {
    Identity {
        user: format!("system:serviceaccount:kube-system:{name}"),
        groups: vec![
            "system:serviceaccounts".into(),
            "system:serviceaccounts:kube-system".into(),
            "system:authenticated".into(),
        ],
    }
}

fn api_config(options: &UpOptions) -> coracle_apiserver::Config {
    coracle_apiserver::Config {
        data_dir: options.data.data_dir.clone(),
        bind: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), options.api_port),
        node_ip: IpAddr::V4(options.node_ip),
        node_name: options.node_name.clone(),
        extra_sans: options.api_sans.clone(),
        service_cidr: options.service_cidr,
        cluster_domain: options.cluster_domain.clone(),
        node_port_range: options.node_ports.clone(),
        protection: options.protection.clone(),
    }
}

fn network_config(options: &UpOptions) -> coracle_network::Config {
    coracle_network::Config {
        node_ip: IpAddr::V4(options.node_ip),
        pod_cidr: options.pod_cidr,
        service_cidr: options.service_cidr,
        dns_ip: options.cluster_dns,
        cluster_domain: options.cluster_domain.clone(),
        upstream_dns: options.upstream_dns.clone(),
        own_ports: own_port_numbers(options),
        ..traces::network_config(&options.data)
    }
}

fn kubelet_config(options: &UpOptions) -> coracle_kubelet::Config {
    coracle_kubelet::Config {
        node_name: options.node_name.clone(),
        node_ip: IpAddr::V4(options.node_ip),
        state_dir: traces::kubelet_dir(&options.data),
        log_dir: options.data.pod_log_dir.clone(),
        cluster_dns: IpAddr::V4(options.cluster_dns),
        cluster_domain: options.cluster_domain.clone(),
        pod_cidr: options.pod_cidr.to_string(),
        max_pods: options.max_pods,
        own_ports: own_port_numbers(options),
        kubelet_version: KUBERNETES_VERSION.into(),
        api_server: format!("https://{}:{}", options.node_ip, options.api_port),
    }
}

pub fn create_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.with_context(|| format!("create directory `{}`", dir.display()))
}

/// SIGTERM and SIGINT. Once received they stay received.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    seen: bool,
}

impl Signals {
    fn new() -> Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            seen: false,
        })
    }

    async fn received(&mut self) {
        if !self.seen {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            self.seen = true;
        }
    }
}
