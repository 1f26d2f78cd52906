//! The ranges of addresses that ServiceCIDR objects name.
//!
//! Reads:  ServiceCIDRs.
//! Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects

use coracle_store::{Reader, Scope};
use ipnet::Ipv4Net;
use serde_json::Value;

use crate::{object::strings, registry::store_resource, verbs};

/// Those of IPv4 from which new addresses may be given, in the order of their objects' names.
pub fn ready(reader: &Reader) -> Vec<Ipv4Net> {
    let resource = store_resource("networking.k8s.io", "servicecidrs");
    let snapshot = reader.snapshot();
    snapshot
        .list(&Scope::all(resource))
        .filter(|object| object.meta.deletion_timestamp.is_none())
        .filter_map(|object| verbs::decode(object).ok())
        .filter(is_ready)
        .flat_map(|range| networks(&range))
        .collect()
}

fn networks(range: &Value) -> Vec<Ipv4Net> {
    strings(&range["spec"]["cidrs"]).iter().filter_map(|cidr| cidr.parse().ok()).collect()
}

/// One that nothing was said of yet is.
fn is_ready(range: &Value) -> bool {
    let mut conditions = range["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == "Ready").is_none_or(|ready| ready["status"] == "True")
}
