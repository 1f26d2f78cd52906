//! The list of controllers, and their common life.

use std::sync::Arc;

use coracle_lifecycle::Pulse;
use futures::{FutureExt, future::BoxFuture};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    bootstrap_signer::BootstrapSigner,
    certificates::{ApprovingController, CertificateAuthority, CleaningController, SigningController},
    cluster_role_aggregation::ClusterRoleAggregationController,
    deployment::DeploymentController,
    disruption::{DisruptionController, StaleDisruptionController},
    endpoint_slice::EndpointSliceController,
    endpoint_slice_mirroring::EndpointSliceMirroringController,
    endpoints::EndpointsController,
    garbage_collector::GarbageCollector,
    ip_address::IpAddressController,
    namespace::NamespaceController,
    node_lifecycle::NodeLifecycleController,
    pod_gc::PodGcController,
    queue_metrics::QueueMetrics,
    replica_set::ReplicaSetController,
    resource_quota::ResourceQuotaController,
    root_ca::RootCaController,
    runner::{self, Controller},
    service_account::ServiceAccountController,
    service_account_token::{ServiceAccountTokenController, TokenSigner},
    service_cidr::ServiceCidrController,
    service_load_balancer::ServiceLoadBalancerController,
    storage_protection::{ClaimProtectionController, VolumeProtectionController},
    storage_version_migrator::StorageVersionMigrator,
    taint_eviction::TaintEvictionController,
    token_cleaner::TokenCleanerController,
};

/// What a controller works with: it reads the store, and writes through the API as its own identity.
pub struct Dependencies {
    pub store: coracle_store::Reader,
    /// Makes the client of one controller: `client_for("deployment-controller")` acts as
    /// `system:serviceaccount:kube-system:deployment-controller`. A name that begins with `system:` is a user's.
    pub client_for: Box<dyn Fn(&str) -> kube::Client + Send + Sync>,
    /// For `kube-root-ca.crt`.
    pub ca_pem: String,
    /// LoadBalancer Services get this address.
    pub node_ip: std::net::IpAddr,
    /// TCP ports of the node that are never a Service's, and what they are: `(443, "the ingress's")`.
    pub own_ports: Vec<(u16, &'static str)>,
    /// Signs certificates.
    pub authority: Arc<dyn CertificateAuthority>,
    /// Signs tokens of service accounts.
    pub tokens: Arc<dyn TokenSigner>,
    /// Tells whether the controllers' loops turn.
    pub pulse: Pulse,
    pub queues: QueueMetrics,
}

/// Runs all controllers until `stop`. One that panics is reported and restarted.
pub async fn run(dependencies: Dependencies, stop: CancellationToken) {
    let mut roles = Roles { dependencies: Arc::new(dependencies), stop, tasks: JoinSet::new() };
    roles.start("deployment-controller", DeploymentController::new);
    roles.start("replicaset-controller", ReplicaSetController::new);
    roles.start("endpoint-controller", EndpointsController::new);
    roles.start("endpointslice-controller", EndpointSliceController::new);
    roles.start("endpointslicemirroring-controller", EndpointSliceMirroringController::new);
    roles.start("namespace-controller", NamespaceController::new);
    roles.start("service-account-controller", ServiceAccountController::new);
    roles.start("generic-garbage-collector", GarbageCollector::new);
    roles.start("pod-garbage-collector", PodGcController::new);
    roles.start("clusterrole-aggregation-controller", ClusterRoleAggregationController::new);
    roles.start("resourcequota-controller", ResourceQuotaController::new);
    roles.start("disruption-controller", DisruptionController::new);
    roles.start("disruption-controller", StaleDisruptionController::new);
    roles.start("pvc-protection-controller", ClaimProtectionController::new);
    roles.start("pv-protection-controller", VolumeProtectionController::new);
    roles.start("service-cidrs-controller", ServiceCidrController::new);
    roles.start("service-cidrs-controller", IpAddressController::new);
    let (ca_pem, node_ip) = (roles.dependencies.ca_pem.clone(), roles.dependencies.node_ip);
    let own_ports = roles.dependencies.own_ports.clone();
    let (signer, root) = (roles.dependencies.tokens.clone(), ca_pem.clone());
    // The stock one runs before there are tokens for service accounts, as the manager itself.
    roles.start("system:kube-controller-manager", move |reader, client| {
        ServiceAccountTokenController::new(reader, client, root.clone(), signer.clone())
    });
    roles.start("root-ca-cert-publisher", move |reader, client| {
        RootCaController::new(reader, client, ca_pem.clone())
    });
    roles.start("service-controller", move |reader, client| {
        ServiceLoadBalancerController::new(reader, client, node_ip, own_ports.clone())
    });
    roles.start("node-controller", move |reader, client| {
        NodeLifecycleController::new(reader, client, node_ip)
    });
    roles.start("node-controller", TaintEvictionController::new);
    let authority = roles.dependencies.authority.clone();
    roles.start("certificate-controller", move |reader, client| {
        SigningController::new(reader, client, authority.clone())
    });
    let authority = roles.dependencies.authority.clone();
    roles.start("certificate-controller", move |reader, client| {
        ApprovingController::new(reader, client, authority.clone())
    });
    roles.start("certificate-controller", CleaningController::new);
    roles.start("token-cleaner", TokenCleanerController::new);
    roles.start("bootstrap-signer", BootstrapSigner::new);
    roles.start("storage-version-migrator-controller", StorageVersionMigrator::new);
    while roles.tasks.join_next().await.is_some() {}
}

struct Roles {
    dependencies: Arc<Dependencies>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Roles {
    /// `identity` is for `client_for`.
    fn start<C: Controller>(
        &mut self,
        identity: &'static str,
        make: impl Fn(coracle_store::Reader, kube::Client) -> C + Send + Sync + 'static,
    ) {
        let (dependencies, stop) = (self.dependencies.clone(), self.stop.clone());
        let role = move || {
            let client = (dependencies.client_for)(identity);
            let controller = Arc::new(make(dependencies.store.clone(), client));
            let beat = dependencies.pulse.begin(C::NAME);
            let counts = dependencies.queues.begin(C::NAME);
            runner::run(controller, dependencies.store.clone(), beat, counts, stop.clone()).boxed()
        };
        self.tasks.spawn(supervise(C::NAME, self.stop.clone(), Box::new(role)));
    }
}

type Role = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Runs a role until it ends by itself or by `stop`; starts it again when it panics.
async fn supervise(name: &'static str, stop: CancellationToken, role: Role) {
    let mut delay = std::time::Duration::from_millis(100);
    while std::panic::AssertUnwindSafe(role()).catch_unwind().await.is_err() {
        tracing::error!(controller = name, "controller panicked, restarting");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(std::time::Duration::from_secs(60)),
        }
    }
}
