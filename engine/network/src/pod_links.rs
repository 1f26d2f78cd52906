//! Gives pods their links and addresses, and takes them back.

use std::{
    collections::HashSet,
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    Config, HostPort, NetworkError,
    links::{self, Attachment, Leases, bridge::Bridge},
    service::{Owner, Plan, Rules, plan_pod},
};

/// Gives pods their links and addresses.
#[derive(Clone)]
pub struct PodLinks {
    inner: Arc<Inner>,
}

struct Inner {
    bridge: Bridge,
    leases: Mutex<Leases>,
    rules: Arc<Mutex<Rules>>,
}

impl PodLinks {
    /// Makes the device `coracle0`, reads the leases, removes links that no lease knows, stages what pods need in the table.
    pub(crate) fn build(config: &Config, rules: Arc<Mutex<Rules>>) -> Result<PodLinks, NetworkError> {
        let bridge = links::bridge::ensure(config)?;
        let leases = Leases::open(config.state_dir.join("pod-addresses"), config.pod_cidr)?;
        let known: HashSet<String> = leases.iter().map(|(pod, _)| links::link_name(pod)).collect();
        for stray in links::bridge::pod_links()?.iter().filter(|name| !known.contains(*name)) {
            links::detach(stray)?;
        }
        rules
            .lock()
            .stage(leases.iter().map(|(pod, lease)| (Owner::Pod(pod.clone()), plan_pod(lease))).collect());
        Ok(PodLinks { inner: Arc::new(Inner { bridge, leases: Mutex::new(leases), rules }) })
    }

    /// Gives the pod's network namespace `eth0` with an address, loopback, default route and its host ports. Idempotent: the same pod keeps its address.
    pub async fn attach(
        &self,
        pod_uid: &str,
        netns: &Path,
        host_ports: &[HostPort],
    ) -> Result<Ipv4Addr, NetworkError> {
        let (pod_uid, netns, host_ports) = (pod_uid.to_owned(), netns.to_owned(), host_ports.to_vec());
        self.blocking(move |inner| inner.attach(&pod_uid, netns, &host_ports)).await
    }

    pub async fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        let pod_uid = pod_uid.to_owned();
        self.blocking(move |inner| inner.detach(&pod_uid)).await
    }

    /// Detaches every pod that is not in `pod_uids`.
    pub async fn retain(&self, pod_uids: &HashSet<String>) -> Result<(), NetworkError> {
        let gone: Vec<String> = {
            let leases = self.inner.leases.lock();
            leases.iter().map(|(pod, _)| pod).filter(|pod| !pod_uids.contains(*pod)).cloned().collect()
        };
        for pod in gone {
            self.detach(&pod).await?;
        }
        Ok(())
    }

    /// Entering a namespace and talking to the kernel takes a few milliseconds: off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or_else(|error| {
            let source = io::Error::other(error);
            Err(NetworkError::Failed { action: "finish link change of", subject: "pod".to_owned(), source })
        })
    }
}

impl Inner {
    fn attach(
        &self,
        pod_uid: &str,
        netns: PathBuf,
        host_ports: &[HostPort],
    ) -> Result<Ipv4Addr, NetworkError> {
        let lease = self.leases.lock().acquire(pod_uid, host_ports)?;
        let link = links::link_name(pod_uid);
        links::attach(&self.bridge, &Attachment { link: &link, netns: &netns, address: lease.address })?;
        self.rules.lock().update(vec![(Owner::Pod(pod_uid.to_owned()), plan_pod(&lease))])?;
        Ok(lease.address)
    }

    /// The address is free again only when nothing leads to it any more.
    fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        if self.leases.lock().get(pod_uid).is_none() {
            return Ok(());
        }
        self.rules.lock().update(vec![(Owner::Pod(pod_uid.to_owned()), Plan::default())])?;
        links::detach(&links::link_name(pod_uid))?;
        self.leases.lock().release(pod_uid)
    }
}
