//! The networks of pods and Services, and the addresses in them that are Coracle's.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;

use super::{Values, options::required};

pub struct Networks {
    pub pods: Ipv4Net,
    pub services: Ipv4Net,
    pub dns: Ipv4Addr,
}

/// A smaller one has no room for pods besides the gateway.
const LONGEST_POD_PREFIX: u8 = 28;

pub fn networks(values: &Values) -> Result<Networks> {
    let services = network(values, "service-cidr")?;
    let dns = match values.parse("cluster-dns")? {
        Some(address) => address,
        None => tenth(services)?,
    };
    if !services.contains(&dns) {
        bail!("setting `cluster-dns` ({dns}) lies outside `service-cidr` ({services})");
    }
    if dns == services.network() || dns == services.broadcast() {
        bail!(
            "setting `cluster-dns` ({dns}) is no address for a Service: it is the first or last of `service-cidr` ({services})"
        );
    }
    if services.hosts().next() == Some(dns) {
        bail!("setting `cluster-dns` ({dns}) is the address of the API's Service `kubernetes`");
    }
    let pods = network(values, "pod-cidr")?;
    if pods.prefix_len() > LONGEST_POD_PREFIX {
        bail!(
            "setting `pod-cidr` ({pods}) has room for hardly a pod: take a /{LONGEST_POD_PREFIX} or larger"
        );
    }
    if pods.contains(&services) || services.contains(&pods) {
        bail!("settings `pod-cidr` ({pods}) and `service-cidr` ({services}) overlap");
    }
    Ok(Networks { pods, services, dns })
}

/// Written as a network: what is an address in one may be a slip of the pen.
fn network(values: &Values, key: &str) -> Result<Ipv4Net> {
    let given: Ipv4Net = required(values, key)?;
    if given != given.trunc() {
        bail!("setting `{key}` is `{given}`, an address in a network: the network is `{}`", given.trunc());
    }
    Ok(given)
}

/// Where stock clusters have their DNS as well.
fn tenth(service_cidr: Ipv4Net) -> Result<Ipv4Addr> {
    service_cidr.hosts().nth(9).with_context(|| {
        format!("setting `service-cidr` ({service_cidr}) has room for less than ten Services: take a /28 or larger")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dns_has_the_tenth_address_of_a_range_that_has_one() {
        assert_eq!(tenth("10.96.0.0/12".parse().unwrap()).unwrap(), Ipv4Addr::new(10, 96, 0, 10));
        assert!(tenth("10.96.0.0/29".parse().unwrap()).is_err());
    }

    #[test]
    fn networks_that_cannot_work_are_refused() {
        let of = |flags: &[&str]| networks(&Values::of_flags(flags));
        assert_eq!(of(&["--pod-cidr=10.44.0.0/28"]).unwrap().pods.to_string(), "10.44.0.0/28");
        for (flag, says) in [
            (
                "--pod-cidr=10.44.7.0/16",
                "`pod-cidr` is `10.44.7.0/16`, an address in a network: the network is `10.44.0.0/16`",
            ),
            ("--service-cidr=10.43.0.1/16", "the network is `10.43.0.0/16`"),
            ("--pod-cidr=10.44.0.0/32", "take a /28 or larger"),
            (
                "--pod-cidr=10.43.8.0/24",
                "`pod-cidr` (10.43.8.0/24) and `service-cidr` (10.43.0.0/16) overlap",
            ),
            ("--cluster-dns=10.43.0.0", "`cluster-dns` (10.43.0.0) is no address for a Service"),
            ("--cluster-dns=10.43.255.255", "`cluster-dns` (10.43.255.255) is no address for a Service"),
            ("--cluster-dns=10.43.0.1", "is the address of the API's Service"),
            ("--cluster-dns=10.42.0.1", "lies outside"),
        ] {
            let said = of(&[flag]).err().unwrap().to_string();
            assert!(said.contains(says), "{flag}: {said}");
        }
    }
}
