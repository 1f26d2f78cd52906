//! The server's life: built (keys, bootstrap objects, bound socket), then served until told to stop.
//!
//! Writes: the bootstrap objects (`bootstrap/upkeep.rs`).

use std::{path::Path, sync::Arc, time::Duration};

use coracle_client::Identity;
use coracle_store::{Scope, Store};
use futures::{FutureExt, future::BoxFuture};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    ComponentCheck, Config, PodAccess,
    aggregation::{self, Aggregator},
    audit, authn, authz,
    bootstrap::upkeep,
    crd, flow,
    health::{Hook, Hooks},
    http::{listener, service::ApiService},
    kinds::service::Allocations,
    metrics,
    outbound::Outbound,
    pki,
    registry::{Resources, store_resource},
    types::State,
    verbs,
};

/// How often snapshots that no list goes on reading are let go.
const PINNED_PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("open keys and certificates")]
    Pki(#[from] pki::PkiError),
    #[error("open the key of service account tokens")]
    Tokens(#[from] authn::TokenError),
    #[error("set up OpenID Connect")]
    Issuer(#[from] authn::IssuerError),
    #[error("set up the audit log")]
    Audit(#[from] audit::PolicyError),
    #[error("bind `{address}`")]
    Bind { address: std::net::SocketAddr, source: std::io::Error },
}

/// Built: keys and bootstrap objects exist, the socket is bound, nothing is served over the network yet.
pub struct ApiServer {
    state: Arc<State>,
    /// Taken by `serve`.
    listener: Mutex<Option<TcpListener>>,
    /// End with the server.
    _tasks: JoinSet<()>,
    address: std::net::SocketAddr,
}

impl ApiServer {
    pub async fn build(mut config: Config, store: &Store) -> Result<ApiServer, BuildError> {
        let address = config.bind;
        let bind_failed = |source| BuildError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_failed)?;
        let address = listener.local_addr().map_err(bind_failed)?;
        config.bind = address;
        let state = Arc::new(state(config, store)?);
        let missing = upkeep::bootstrap(&state).await;
        state.hooks.done(Hook::Bootstrapped);
        flow::maintain(&state).await;
        state.hooks.done(Hook::FlowObjects);
        flow::pass(&state).await;
        let mut definitions = crd::Controller::default();
        definitions.pass(&state).await;
        aggregation::Controller::register(&state).await;
        state.hooks.done(Hook::Registered);
        aggregation::Controller::recall(&state);
        let mut tasks = JoinSet::new();
        let mut spawn = |hook, controller: BoxFuture<'static, ()>| {
            let running = state.hooks.running(hook);
            tasks.spawn(async move {
                let _running = running;
                controller.await;
            });
        };
        let weak = || Arc::downgrade(&state);
        spawn(Hook::ApiServices, aggregation::Controller::default().run(weak()).boxed());
        spawn(Hook::Definitions, definitions.run(weak()).boxed());
        spawn(Hook::Flow, flow::run(weak()).boxed());
        tasks.spawn(upkeep::run(weak(), missing));
        if let Some(file) = state.config.protection.authentication_file.clone() {
            tasks.spawn(authn::follow_configuration(Arc::downgrade(&state), file));
        }
        Ok(ApiServer { state, _tasks: tasks, listener: Mutex::new(Some(listener)), address })
    }

    /// Where the socket is bound; interesting when the configured port was 0.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// A client straight into this server; works before `serve`.
    pub fn client(&self, identity: Identity) -> kube::Client {
        coracle_client::in_process(ApiService { state: self.state.clone() }, identity)
    }

    /// The server as a tower service; requests without an identity in their extensions are authenticated.
    pub fn service(&self) -> ApiService {
        ApiService { state: self.state.clone() }
    }

    pub fn set_pod_access(&self, access: Arc<dyn PodAccess>) {
        *self.state.pod_access.write() = Some(access);
    }

    /// The components that ComponentStatuses tell of, besides the store.
    pub fn set_components(&self, components: Vec<(&'static str, ComponentCheck)>) {
        *self.state.components.write() = components;
    }

    /// What else `/metrics` shows: whole families, in the text format of Prometheus.
    pub fn add_metrics(&self, render: metrics::More) {
        self.state.more_metrics.write().push(render);
    }

    /// A kubeconfig (YAML) with a client certificate of the group `system:masters`. The certificate is valid for
    /// `expiry`, by default a year.
    pub fn admin_kubeconfig(
        &self,
        expiry: Option<Duration>,
        namespace: Option<&str>,
    ) -> Result<String, BuildError> {
        let server =
            format!("https://{}", std::net::SocketAddr::new(self.state.config.node_ip, self.address.port()));
        Ok(self.state.pki.admin_kubeconfig(&server, expiry, namespace)?)
    }

    /// PEM of the cluster's certificate authority.
    pub fn ca_pem(&self) -> String {
        self.state.pki.ca_pem().to_owned()
    }

    /// Waits until what was audited so far is in the log.
    pub async fn flush_audit(&self) {
        self.state.audit.flush().await;
    }

    /// A token of the service account without an end, good as long as the Secret `secret` of its namespace holds it.
    pub fn secret_token(
        &self,
        namespace: &str,
        account: &authn::ObjectRef,
        secret: &str,
    ) -> Result<String, authn::TokenError> {
        self.state.tokens.issue_for_secret(namespace, account, secret)
    }

    /// Signs what the certificate controllers approve of.
    pub fn authority(&self) -> Arc<pki::Authority> {
        self.state.pki.authority()
    }

    /// Serves until `stop`, then lets requests in flight end (watches are closed at once).
    pub async fn serve(self: Arc<Self>, stop: CancellationToken) {
        let Some(listener) = self.listener.lock().take() else {
            return tracing::error!("API server is served already");
        };
        let serving = listener::serve(self.state.clone(), listener, stop.clone());
        let closing = async {
            stop.cancelled().await;
            self.state.stop.cancel();
        };
        let forgetting = async {
            while tokio::time::timeout(PINNED_PERIOD, stop.cancelled()).await.is_err() {
                self.state.pinned.purge();
            }
        };
        tokio::join!(serving, closing, forgetting);
        self.state.audit.flush().await;
    }
}

fn state(config: Config, store: &Store) -> Result<State, BuildError> {
    let schema = coracle_schema::Registry::builtin();
    let reader = store.reader();
    let pki = pki::Pki::open(&config)?;
    let tokens = authn::Tokens::open(&config, &pki)?;
    let outbound = Arc::new(Outbound::new(reader.clone(), pki.front_proxy_client()?));
    let snapshot = reader.snapshot();
    let scope = Scope { resource: store_resource("", "services"), namespace: None, name: None };
    let services: Vec<Value> =
        snapshot.list(&scope).filter_map(|service| verbs::decode(service).ok()).collect();
    let services = Allocations::new(config.service_cidr, config.node_port_range.clone(), services.iter());
    let protection = &config.protection;
    Ok(State {
        metrics: metrics::Metrics::default(),
        hooks: Hooks::default(),
        issuers: authn::Issuers::open(&protection.issuers, tokens.issuer())?,
        audit: audit::Audit::open(&protection.audit)?,
        flow: flow::FlowControl::new(protection.max_in_flight + protection.max_mutating_in_flight),
        authorizer: authz::Authorizer::new(reader.clone()),
        reader,
        writer: store.writer(),
        schema,
        pki,
        tokens,
        pod_access: RwLock::new(None),
        components: RwLock::default(),
        more_metrics: RwLock::default(),
        resources: Resources::new(schema),
        pinned: verbs::pinned::Pinned::default(),
        services,
        quotas: crate::admission::Ledger::default(),
        event_limits: crate::admission::EventLimits::default(),
        outbound,
        aggregator: Aggregator::default(),
        stop: CancellationToken::new(),
        config,
    })
}

/// Makes a kubeconfig for an admin from the keys in `data_dir/pki` alone, without a running server (`coracle kubeconfig`).
pub fn admin_kubeconfig_from(
    data_dir: &Path,
    server: &str,
    expiry: Option<Duration>,
    namespace: Option<&str>,
) -> Result<String, BuildError> {
    Ok(pki::admin_kubeconfig_from(data_dir, server, expiry, namespace)?)
}
