//! Keeps the table equal to the cluster's objects.
//!
//! One reflector a kind; whenever one of them changes, the table is built anew from all and swapped in. Requests under
//! way keep the table they began with.

use std::{fmt::Debug, hash::Hash, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt, reflector, reflector::Store, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    Config, certificates::CertificateCache, objects::Objects, serve::Frontend, status, table::Table,
};

pub async fn run(config: &Config, client: &kube::Client, frontend: &Frontend, stop: &CancellationToken) {
    let changed = Arc::new(Notify::new());
    let any = watcher::Config::default();
    let tls_only = watcher::Config::default().fields("type=kubernetes.io/tls");
    let (ingresses, watch_ingresses) = reflect::<Ingress>(client, any.clone(), &changed);
    let (classes, watch_classes) = reflect::<IngressClass>(client, any.clone(), &changed);
    let (services, watch_services) = reflect::<Service>(client, any.clone(), &changed);
    let (slices, watch_slices) = reflect::<EndpointSlice>(client, any, &changed);
    let (secrets, watch_secrets) = reflect::<Secret>(client, tls_only, &changed);
    let rebuild = async {
        let ready = tokio::try_join!(
            ingresses.wait_until_ready(),
            classes.wait_until_ready(),
            services.wait_until_ready(),
            slices.wait_until_ready(),
            secrets.wait_until_ready(),
        );
        if ready.is_err() {
            return;
        }
        let mut cache = CertificateCache::default();
        loop {
            let objects = Objects {
                ingresses: ingresses.state(),
                classes: classes.state(),
                services: services.state(),
                slices: slices.state(),
                secrets: secrets.state(),
            };
            let table = Table::build(&objects, &config.ingress_class, &config.cluster_domain, &mut cache);
            frontend.forwarder.pool.retain(&table.addresses());
            let served = table.served.clone();
            frontend.table.store(Arc::new(table));
            info!(ingresses = served.len(), "routes changed");
            status::write(client, &objects.ingresses, &served, config.status_ip).await;
            changed.notified().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        _ = async { tokio::join!(rebuild, watch_ingresses, watch_classes, watch_services, watch_slices, watch_secrets) } => {}
    }
}

/// A store of all objects of a kind, and the work that keeps it current.
fn reflect<K>(
    client: &kube::Client,
    config: watcher::Config,
    changed: &Arc<Notify>,
) -> (Store<K>, impl Future<Output = ()> + use<K>)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let (reader, writer) = reflector::store();
    let events = reflector(writer, watcher(Api::<K>::all(client.clone()), config)).default_backoff();
    let changed = changed.clone();
    let work = async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => changed.notify_one(),
                Err(error) => info!(error = &error as &dyn std::error::Error, "watch is set up again"),
            }
        }
    };
    (reader, work)
}
