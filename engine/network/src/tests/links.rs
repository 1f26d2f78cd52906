//! Pods' links and addresses.

use std::{net::Ipv4Addr, path::Path};

use super::host::{Machine, nft, on_node, uid};
use crate::HostPort;
use crate::Network;

#[test]
fn pods_reach_each_other_the_node_and_the_client() {
    on_node(|node| {
        let (a, a_ip) = node.pod("a", 8080);
        let (b, b_ip) = node.pod("b", 8080);
        node.client.serve("client", 80);
        assert_eq!(a.ask((b_ip, 8080)), Ok(format!("b {a_ip}")));
        assert_eq!(b.ask((a_ip, 8080)), Ok(format!("a {b_ip}")));
        assert_eq!(a.ask((a_ip, 8080)), Ok(format!("a {a_ip}")));
        assert_eq!(super::host::ask((b_ip, 8080)).unwrap(), "b 10.42.0.1");
        let nobody = Ipv4Addr::new(10, 42, 200, 1);
        assert_eq!(a.ask((nobody, 80)), Err(std::io::ErrorKind::HostUnreachable));
        // What leaves the machine has the node's address.
        assert_eq!(a.ask((super::host::CLIENT_IP, 80)), Ok(format!("client {}", super::host::NODE_IP)));
    });
}

#[test]
fn the_first_datagram_of_a_new_pod_is_answered() {
    on_node(|node| {
        super::host::serve_here("node", 53);
        for number in 0..40 {
            let machine = Machine::new();
            let name = format!("p{number:03}");
            node.attach(&uid(&name), &machine, &[]);
            let answer = machine.ask_udp(&machine.udp_socket(), (Ipv4Addr::new(10, 42, 0, 1), 53));
            assert!(answer.is_ok(), "{name}: {answer:?}");
            node.detach(&uid(&name));
        }
    });
}

#[test]
fn a_detached_pod_leaves_nothing_and_its_neighbour_everything() {
    on_node(|node| {
        let (a, _) = node.pod("a", 8080);
        let (_b, b_ip) = node.pod("b", 8080);
        let (_c, c_ip) = node.pod("c", 8080);
        node.detach(&uid("c"));
        node.detach(&uid("c"));
        assert!(!nft("list table inet coracle").contains(&c_ip.to_string()));
        assert_eq!(a.ask((b_ip, 8080)).map(|answer| answer.starts_with('b')), Ok(true));
        node.retain(&[&uid("a")]);
        assert_eq!(veths(), 1);
        assert!(!node.config.state_dir.join("pod-addresses").join(uid("b")).exists());
    });
}

#[test]
fn a_restart_keeps_links_and_addresses_and_removes_strays() {
    on_node(|node| {
        let (a, a_ip) = node.pod("a", 8080);
        let (b, b_ip) = node.pod("b", 8080);
        super::host::ip("link add veth0000dead type veth peer name stray");
        super::host::ip(&format!("link set veth0000dead group {}", crate::links::POD_LINKS_GROUP));
        node.restart();
        assert_eq!(veths(), 2);
        assert_eq!(node.attach(&uid("a"), &a, &[]), a_ip);
        assert_eq!(a.ask((b_ip, 8080)), Ok(format!("b {a_ip}")));
        let (_c, c_ip) = node.pod("c", 8080);
        assert!(c_ip != a_ip && c_ip != b_ip);
        drop(b);
    });
}

#[test]
fn another_pod_network_replaces_the_first() {
    on_node(|node| {
        let (a, _) = node.pod("a", 8080);
        node.config.pod_cidr = "10.52.0.0/24".parse().unwrap();
        node.restart();
        assert_eq!(veths(), 0);
        assert_eq!(node.attach(&uid("a"), &a, &[]), Ipv4Addr::new(10, 52, 0, 2));
        let routes = std::process::Command::new("ip").args(["route"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&routes.stdout).contains("10.42."));
        assert!(super::host::ask((Ipv4Addr::new(10, 52, 0, 2), 8080)).is_ok());
    });
}

#[test]
fn a_network_that_the_machine_is_in_is_not_taken() {
    on_node(|node| {
        let (_a, _) = node.pod("a", 8080);
        Network::check_free(&node.config).unwrap();
        super::host::ip("link add elsewhere type veth peer name beyond");
        super::host::ip("link set elsewhere up");
        for (address, is_free) in [("10.44.0.1/16", true), ("10.42.7.1/24", false), ("10.43.5.5/16", false)] {
            super::host::ip(&format!("addr add {address} dev elsewhere"));
            assert_eq!(Network::check_free(&node.config).is_ok(), is_free, "{address}");
            super::host::ip(&format!("addr del {address} dev elsewhere"));
        }
        // What further Services may have is none of the neighbours' either.
        super::host::ip("addr add 10.60.1.1/24 dev elsewhere");
        for (network, is_free) in [("10.60.1.128/25", false), ("10.60.0.0/16", false), ("10.61.0.0/24", true)]
        {
            let apart = crate::links::bridge::check_apart(network.parse().unwrap());
            assert_eq!(apart.is_ok(), is_free, "{network}");
        }
    });
}

#[test]
fn a_pod_with_a_new_network_namespace_keeps_its_address() {
    on_node(|node| {
        let (old, address) = node.pod("a", 8080);
        drop(old);
        let new = Machine::new();
        assert_eq!(node.attach(&uid("a"), &new, &[]), address);
        new.serve("a2", 9090);
        let (b, _) = node.pod("b", 8080);
        assert_eq!(b.ask((address, 9090)).map(|answer| answer.starts_with("a2")), Ok(true));
    });
}

#[test]
fn host_ports_are_reached_from_outside_and_from_the_node() {
    on_node(|node| {
        let machine = Machine::new();
        let port = |host_ip: Option<Ipv4Addr>, host_port| HostPort {
            host_ip,
            host_port,
            container_port: 8080,
            protocol: "TCP".to_owned(),
        };
        node.attach(&uid("a"), &machine, &[port(None, 80), port(Some(Ipv4Addr::LOCALHOST), 81)]);
        machine.serve("a", 8080);
        let (client, node_ip) = (super::host::CLIENT_IP, super::host::NODE_IP);
        assert_eq!(node.client.ask((node_ip, 80)), Ok(format!("a {client}")));
        assert!(node.client.ask((node_ip, 81)).is_err());
        for address in [node_ip, Ipv4Addr::LOCALHOST] {
            assert!(super::host::ask((address, 80)).unwrap().starts_with("a "), "{address}");
        }
        assert!(super::host::ask((Ipv4Addr::LOCALHOST, 81)).unwrap().starts_with("a "));
        node.detach(&uid("a"));
        assert!(node.client.ask((node_ip, 80)).is_err());
    });
}

#[test]
fn a_missing_network_namespace_says_what_was_tried() {
    on_node(|node| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(node.links.attach("abcd", Path::new("/nonexistent"), &[])).unwrap_err();
        assert_eq!(error.to_string(), "open network namespace `/nonexistent`");
    });
}

fn veths() -> usize {
    let output = std::process::Command::new("ip")
        .args(["-br", "link", "show", "group", &crate::links::POD_LINKS_GROUP.to_string()])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).lines().count()
}
