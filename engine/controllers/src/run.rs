//! The list of controllers, and their common life.

use std::{future::Future, sync::Arc};

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    deployment::DeploymentController,
    replica_set::ReplicaSetController,
    runner::{self, Controller},
};

/// What a controller works with: it reads the store, and writes through the API as its own identity.
pub struct Dependencies {
    pub store: coracle_store::Reader,
    /// Makes the client of one controller: `client_for("deployment-controller")` acts as
    /// `system:serviceaccount:kube-system:deployment-controller`.
    pub client_for: Box<dyn Fn(&str) -> kube::Client + Send + Sync>,
    /// For `kube-root-ca.crt`.
    pub ca_pem: String,
    /// LoadBalancer Services get this address.
    pub node_ip: std::net::IpAddr,
}

/// Runs all controllers until `stop`. One that panics is reported and restarted.
pub async fn run(dependencies: Dependencies, stop: CancellationToken) {
    let mut roles = Roles { dependencies: Arc::new(dependencies), stop, tasks: JoinSet::new() };
    roles.start("deployment-controller", DeploymentController::new);
    roles.start("replicaset-controller", ReplicaSetController::new);
    while roles.tasks.join_next().await.is_some() {}
}

struct Roles {
    dependencies: Arc<Dependencies>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Roles {
    /// A controller that needs no more than the store and a client.
    fn start<C: Controller>(
        &mut self,
        identity: &'static str,
        make: impl Fn(coracle_store::Reader, kube::Client) -> C + Send + Sync + 'static,
    ) {
        let dependencies = self.dependencies.clone();
        self.start_with(C::NAME, move || {
            make(dependencies.store.clone(), (dependencies.client_for)(identity))
        });
    }

    fn start_with<C: Controller>(
        &mut self,
        name: &'static str,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) {
        let (reader, stop) = (self.dependencies.store.clone(), self.stop.clone());
        self.tasks.spawn(supervise(name, stop.clone(), move || {
            runner::run(Arc::new(make()), reader.clone(), stop.clone())
        }));
    }
}

/// Runs a role until it ends by itself or by `stop`; starts it again when it panics.
async fn supervise<F: Future<Output = ()>>(
    name: &'static str,
    stop: CancellationToken,
    role: impl Fn() -> F,
) {
    let mut delay = std::time::Duration::from_millis(100);
    while std::panic::AssertUnwindSafe(role()).catch_unwind().await.is_err() {
        tracing::error!(controller = name, "controller panicked, restarting");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(std::time::Duration::from_secs(60)),
        }
    }
}
