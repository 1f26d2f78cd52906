//! The networks of Services that ServiceCIDR objects add to the configured one.
//!
//! Invariant: the machine's own networks and the pods' are never taken for one: what is not translated there is rejected.
//! Reads:     ServiceCIDRs.

use coracle_store::Reader;
use ipnet::Ipv4Net;
use k8s_openapi::api::networking::v1::ServiceCIDR;

use super::{
    plan::Environment,
    watch::{RANGES, scope},
};
use crate::{NetworkError, links};

pub fn further(store: &Reader, env: &Environment) -> Vec<Ipv4Net> {
    let snapshot = store.snapshot();
    let named = snapshot.list(&scope(RANGES)).filter_map(|object| object.decode::<ServiceCIDR>().ok());
    let mut networks: Vec<Ipv4Net> = named
        .flat_map(|range| range.spec.as_ref().and_then(|spec| spec.cidrs.clone()).unwrap_or_default())
        .filter_map(|cidr| cidr.parse().ok())
        .filter(|network| !env.service_cidr.contains(network))
        .collect();
    networks.sort();
    networks.dedup();
    networks.retain(|network| {
        is_free(*network, env)
            .inspect_err(
                |error| tracing::warn!(%network, %error, "what is not translated there is not rejected"),
            )
            .is_ok()
    });
    networks
}

fn is_free(network: Ipv4Net, env: &Environment) -> Result<(), NetworkError> {
    let pods = env.pod_cidr;
    if pods.contains(&network) || network.contains(&pods) {
        return Err(NetworkError::Taken { network, route: pods, link: "pods".into() });
    }
    links::bridge::check_apart(network)
}
