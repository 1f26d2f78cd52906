//! The addresses and ports that a Service holds.

use std::net::Ipv4Addr;

use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub addresses: Vec<Ipv4Addr>,
    pub ports: Vec<u16>,
}

impl Claims {
    pub fn of(service: &Value) -> Claims {
        let spec = &service["spec"];
        let mut addresses: Vec<Ipv4Addr> = crate::object::strings(&spec["clusterIPs"])
            .into_iter()
            .chain(spec["clusterIP"].as_str())
            .filter_map(|text| text.parse().ok())
            .collect();
        addresses.sort();
        addresses.dedup();
        let mut ports: Vec<u16> = spec["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| &port["nodePort"])
            .chain([&spec["healthCheckNodePort"]])
            .filter_map(|port| u16::try_from(port.as_u64()?).ok())
            .filter(|port| *port > 0)
            .collect();
        ports.sort();
        ports.dedup();
        Claims { addresses, ports }
    }

    pub fn without(&self, other: &Claims) -> Claims {
        Claims {
            addresses: self.addresses.iter().filter(|own| !other.addresses.contains(own)).copied().collect(),
            ports: self.ports.iter().filter(|own| !other.ports.contains(own)).copied().collect(),
        }
    }
}
