//! Services and what routes to them.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    AGE, NAME, Printer, age,
    cells::{
        LIST_MAX, NONE, UNSET, cut_short, items, joined, labels, number, selector, shown, shown_or, text,
    },
    name,
};
use crate::object::strings;

pub const SERVICES: Printer = Printer {
    columns: &[
        NAME,
        text(
            "Type",
            "type determines how the Service is exposed. Defaults to ClusterIP. Valid options are ExternalName, ClusterIP, NodePort, and LoadBalancer.",
        ),
        text("Cluster-IP", "clusterIP is the IP address of the service and is usually assigned randomly."),
        text(
            "External-IP",
            "externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for this service.",
        ),
        text("Port(s)", "The list of ports that are exposed by this service."),
        AGE,
        text("Selector", "Route service traffic to pods with label keys and values matching this selector.")
            .wide(),
    ],
    cells: |service, now| {
        let spec = &service["spec"];
        let ip = strings(&spec["clusterIPs"]).first().copied().unwrap_or_else(|| shown(&spec["clusterIP"]));
        vec![
            name(service),
            shown(&spec["type"]).into(),
            if ip.is_empty() { NONE.into() } else { ip.into() },
            external_ip(service).into(),
            joined(items(&spec["ports"]).iter().map(service_port), NONE).into(),
            age::of(service, now),
            labels(&spec["selector"]).into(),
        ]
    },
};

fn service_port(port: &Value) -> String {
    let protocol = shown_or(&port["protocol"], "TCP");
    match number(&port["nodePort"]) {
        0 => format!("{}/{protocol}", number(&port["port"])),
        node_port => format!("{}:{node_port}/{protocol}", number(&port["port"])),
    }
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let given = strings(&spec["externalIPs"]);
    match shown(&spec["type"]) {
        "LoadBalancer" => {
            let mut all: Vec<String> = balancer_addresses(service).into_iter().collect();
            all.extend(given.into_iter().map(String::from));
            joined(all, "<pending>")
        }
        "ExternalName" => shown(&spec["externalName"]).into(),
        "ClusterIP" | "NodePort" => joined(given, NONE),
        _ => "<unknown>".into(),
    }
}

fn balancer_addresses(object: &Value) -> BTreeSet<String> {
    items(&object["status"]["loadBalancer"]["ingress"])
        .iter()
        .map(|point| shown_or(&point["ip"], shown(&point["hostname"])).to_owned())
        .filter(|address| !address.is_empty())
        .collect()
}

pub const INGRESSES: Printer = Printer {
    columns: &[
        NAME,
        text(
            "Class",
            "The name of the IngressClass resource that should be used for additional configuration",
        ),
        text("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
        text("Address", "Address is a list containing ingress points for the load-balancer"),
        text("Ports", "Ports of TLS configurations that open"),
        AGE,
    ],
    cells: |ingress, now| {
        let spec = &ingress["spec"];
        let ports = if items(&spec["tls"]).is_empty() { "80" } else { "80, 443" };
        vec![
            name(ingress),
            shown_or(&spec["ingressClassName"], NONE).into(),
            hosts(items(&spec["rules"])).into(),
            joined(balancer_addresses(ingress), "").into(),
            ports.into(),
            age::of(ingress, now),
        ]
    },
};

/// Rules without a host do not show, but count.
fn hosts(rules: &[Value]) -> String {
    let mut shown_hosts: Vec<&str> = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= shown_hosts.len() == LIST_MAX;
        let host = shown(&rule["host"]);
        if !more && !host.is_empty() {
            shown_hosts.push(host);
        }
    }
    match joined(shown_hosts, "*") {
        text if more => format!("{text} + {} more...", rules.len() - LIST_MAX),
        text => text,
    }
}

pub const INGRESS_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        text("Controller", "Controller that is responsible for handling this class"),
        text("Parameters", "A reference to a resource with additional parameters"),
        AGE,
    ],
    cells: |class, now| {
        let parameters = &class["spec"]["parameters"];
        let group = parameters["apiGroup"].as_str().map(|group| format!(".{group}")).unwrap_or_default();
        let shown_parameters = match shown(&parameters["kind"]) {
            "" => NONE.into(),
            kind => format!("{kind}{group}/{}", shown(&parameters["name"])),
        };
        vec![
            name(class),
            shown(&class["spec"]["controller"]).into(),
            shown_parameters.into(),
            age::of(class, now),
        ]
    },
};

pub const NETWORK_POLICIES: Printer = Printer {
    columns: &[
        NAME,
        text("Pod-Selector", "podSelector selects the pods to which this NetworkPolicy object applies."),
        AGE,
    ],
    cells: |policy, now| {
        vec![name(policy), selector(&policy["spec"]["podSelector"]).into(), age::of(policy, now)]
    },
};

pub const ENDPOINTS: Printer = Printer {
    columns: &[NAME, text("Endpoints", "The set of all endpoints is the union of all subsets."), AGE],
    cells: |endpoints, now| {
        let mut all = Vec::new();
        for subset in items(&endpoints["subsets"]) {
            let ips = || items(&subset["addresses"]).iter().map(|address| shown(&address["ip"]));
            let ports = items(&subset["ports"]);
            if ports.is_empty() {
                all.extend(ips().map(String::from));
            }
            for port in ports {
                all.extend(ips().map(|ip| host_port(ip, number(&port["port"]))));
            }
        }
        vec![name(endpoints), cut_short(&all, NONE).into(), age::of(endpoints, now)]
    },
};

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub const ENDPOINT_SLICES: Printer = Printer {
    columns: &[
        NAME,
        text("AddressType", "addressType specifies the type of address carried by this EndpointSlice."),
        text("Ports", "ports specifies the list of network ports exposed by each endpoint in this slice."),
        text("Endpoints", "endpoints is a list of unique endpoints in this slice."),
        AGE,
    ],
    cells: |slice, now| {
        let ports: Vec<String> = items(&slice["ports"])
            .iter()
            .map(|port| {
                port["port"]
                    .as_i64()
                    .map_or_else(|| shown_or(&port["name"], "*").into(), |own| own.to_string())
            })
            .collect();
        let addresses: Vec<String> = items(&slice["endpoints"])
            .iter()
            .flat_map(|endpoint| strings(&endpoint["addresses"]))
            .map(String::from)
            .collect();
        vec![
            name(slice),
            shown(&slice["addressType"]).into(),
            cut_short(&ports, UNSET).into(),
            cut_short(&addresses, UNSET).into(),
            age::of(slice, now),
        ]
    },
};

pub const SERVICE_CIDRS: Printer = Printer {
    columns: &[NAME, text("CIDRs", "CIDRs defines the IP blocks in CIDR notation."), AGE],
    cells: |object, now| {
        vec![name(object), joined(strings(&object["spec"]["cidrs"]), "").into(), age::of(object, now)]
    },
};

pub const IP_ADDRESSES: Printer = Printer {
    columns: &[
        NAME,
        text("ParentRef", "ParentRef references the resource that an IPAddress is attached to."),
    ],
    cells: |object, _| {
        let parent = &object["spec"]["parentRef"];
        let parts = ["resource", "group", "namespace", "name"].map(|field| shown(&parent[field]));
        let [resource, group, namespace, own] = parts;
        let dot = if group.is_empty() { "" } else { "." };
        let slash = if namespace.is_empty() { "" } else { "/" };
        vec![name(object), format!("{resource}{dot}{group}/{namespace}{slash}{own}").into()]
    },
};
