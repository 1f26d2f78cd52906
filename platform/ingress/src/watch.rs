//! Keeps the table equal to the cluster's objects.
//!
//! One reflector a kind; whenever one of them changes, the table is built anew from all and swapped in. Requests under
//! way keep the table they began with.

use std::{fmt::Debug, hash::Hash, sync::Arc};

use futures::{StreamExt, future::BoxFuture};
use k8s_openapi::api::{
    core::v1::{Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{WatchStreamExt, reflector, reflector::Store, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    Config,
    certificates::{self, CertificateCache},
    forward::Forwarder,
    notices,
    objects::Objects,
    status,
    table::Table,
};

/// `known` is cancelled when the first table is in place.
pub async fn run(config: &Config, client: &kube::Client, forwarder: &Forwarder, known: &CancellationToken) {
    let changed = Arc::new(Notify::new());
    let any = watcher::Config::default();
    // A certificate may be in a Secret of any type, but not of these, which may be many and large.
    let secrets = watcher::Config::default()
        .fields("type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token");
    let (ingresses, watch_ingresses) = reflect::<Ingress>(client, any.clone(), &changed, |_| ());
    let (classes, watch_classes) = reflect::<IngressClass>(client, any.clone(), &changed, |_| ());
    let (services, watch_services) = reflect::<Service>(client, any.clone(), &changed, |_| ());
    let (slices, watch_slices) = reflect::<EndpointSlice>(client, any, &changed, |_| ());
    let (secrets, watch_secrets) = reflect::<Secret>(client, secrets, &changed, certificates::keep_pair);
    let (tell, told) = tokio::sync::watch::channel(notices::Told::default());
    let (announce, announced) = tokio::sync::watch::channel(Vec::new());
    let rebuild = async move {
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
            let mut table = Table::build(&objects, &config.ingress_class, &config.cluster_domain, &mut cache);
            let served = table.served.clone();
            let problems = std::mem::take(&mut table.problems);
            let addresses = table.addresses();
            forwarder.table.store(Arc::new(table));
            known.cancel();
            forwarder.pool.retain(&addresses);
            debug!(ingresses = served.len(), "routes changed");
            tell.send_replace((served.clone(), problems));
            announce.send_replace(served);
            changed.notified().await;
        }
    };
    let notices = notices::keep(client, told);
    let report = status::keep(client, announced, config.status_ip);
    let watches = async {
        tokio::join!(watch_ingresses, watch_classes, watch_services, watch_slices, watch_secrets);
    };
    tokio::select! {
        () = forwarder.tasks.stopping.cancelled() => {}
        _ = async { tokio::join!(rebuild, report, notices, watches) } => {}
    }
}

/// A store of all objects of a kind, and the work that keeps it current.
fn reflect<K>(
    client: &kube::Client,
    config: watcher::Config,
    changed: &Arc<Notify>,
    slim: fn(&mut K),
) -> (Store<K>, BoxFuture<'static, ()>)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let (reader, writer) = reflector::store();
    // Nobody here reads who wrote which field.
    let slim = move |object: &mut K| {
        object.managed_fields_mut().clear();
        slim(object);
    };
    let events = watcher(Api::<K>::all(client.clone()), config).default_backoff().modify(slim);
    let events = reflector(writer, events);
    let changed = changed.clone();
    // On the heap: five of these futures inside their callers' take a megabyte of a thread's stack when not optimised.
    let work = Box::pin(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => changed.notify_one(),
                Err(error) => info!(error = &error as &dyn std::error::Error, "watch is set up again"),
            }
        }
    });
    (reader, work)
}
