//! Services, as clients on the node, in pods and outside see them.

use std::{collections::HashSet, io::ErrorKind, net::Ipv4Addr};

use serde_json::{Value, json};

use super::host::{CLIENT_IP, NODE_IP, ask, nft, on_node};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 80);

fn service(extra: Value) -> Value {
    let mut service = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": VIP, "clusterIPs": [VIP], "ports": [
            {"name": "http", "port": 80, "protocol": "TCP"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ]},
    });
    merge(&mut service, extra);
    service
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn slice(addresses: &[Ipv4Addr]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "nodeName": "n", "conditions": {"ready": true}}))
        .collect();
    json!({
        "metadata": {"name": "web-1", "namespace": "default"}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 8080, "protocol": "UDP"}],
        "endpoints": endpoints,
    })
}

fn name(answer: &str) -> &str {
    answer.split(' ').next().unwrap()
}

#[test]
fn a_cluster_ip_is_reached_from_pods_itself_and_the_node() {
    on_node(|node| {
        let (a, a_ip) = node.pod("a", 8080);
        let (b, b_ip) = node.pod("b", 8080);
        node.apply(service(json!({})), vec![slice(&[b_ip])]);
        assert_eq!(a.ask((VIP, 80)), Ok(format!("b {a_ip}")));
        assert_eq!(b.ask((VIP, 80)), Ok("b 10.42.0.1".to_owned()), "hairpin");
        assert_eq!(ask((VIP, 80)).unwrap(), "b 10.42.0.1");
        assert_eq!(a.ask_udp(&a.udp_socket(), (VIP, 53)), Ok(format!("b {a_ip}")));
        // By number: names come from /etc/protocols, which a small system may lack.
        let listed = nft("--numeric-protocol list table inet coracle");
        assert!(listed.contains("10.43.0.80 . 6 . 80 : 10.42.0.3 . 8080"), "{listed}");
    });
}

#[test]
fn connections_are_spread_over_the_ready_endpoints() {
    on_node(|node| {
        let (_a, a_ip) = node.pod("a", 8080);
        let (_b, b_ip) = node.pod("b", 8080);
        let (_c, c_ip) = node.pod("c", 8080);
        node.apply(service(json!({})), vec![slice(&[a_ip, b_ip, c_ip])]);
        let seen: HashSet<String> = (0..60).map(|_| name(&ask((VIP, 80)).unwrap()).to_owned()).collect();
        assert_eq!(seen.len(), 3);
        let mut less = slice(&[a_ip, b_ip, c_ip]);
        less["endpoints"][1]["conditions"]["ready"] = false.into();
        less["endpoints"][2]["conditions"]["ready"] = false.into();
        node.apply(service(json!({})), vec![less]);
        assert!((0..20).all(|_| name(&ask((VIP, 80)).unwrap()) == "a"));
    });
}

#[test]
fn an_address_without_endpoints_is_refused_at_once() {
    on_node(|node| {
        let (a, _) = node.pod("a", 8080);
        node.apply(service(json!({"spec": {"type": "NodePort"}})), vec![slice(&[])]);
        for to in [(VIP, 80), (Ipv4Addr::new(10, 43, 9, 9), 443)] {
            assert_eq!(a.ask(to), Err(ErrorKind::ConnectionRefused), "{to:?}");
            assert_eq!(ask(to).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{to:?}");
            assert_eq!(node.client.ask(to), Err(ErrorKind::ConnectionRefused), "{to:?}");
        }
        assert_eq!(a.ask_udp(&a.udp_socket(), (VIP, 53)), Err(ErrorKind::ConnectionRefused));
        node.delete_service("web");
        assert_eq!(a.ask((VIP, 80)), Err(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn node_ports_load_balancers_and_external_ips_keep_the_client_address() {
    on_node(|node| {
        let (a, a_ip) = node.pod("a", 8080);
        let external = Ipv4Addr::new(198, 51, 100, 7);
        let balancer = json!({
            "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "externalIPs": [external],
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]},
            "status": {"loadBalancer": {"ingress": [{"ip": NODE_IP}]}},
        });
        node.apply(service(balancer), vec![slice(&[a_ip])]);
        for to in [(NODE_IP, 30080), (NODE_IP, 80), (external, 80)] {
            assert_eq!(node.client.ask(to), Ok(format!("a {CLIENT_IP}")), "{to:?}");
            assert_eq!(name(&ask(to).unwrap()), "a", "from the node to {to:?}");
            assert_eq!(a.ask(to).as_deref().map(name), Ok("a"), "from the pod to {to:?}");
        }
        assert_eq!(name(&ask((Ipv4Addr::LOCALHOST, 30080)).unwrap()), "a");
    });
}

#[test]
fn load_balancer_source_ranges_keep_others_out() {
    on_node(|node| {
        let (_a, a_ip) = node.pod("a", 8080);
        let open_to = |range: &str| {
            let ranges = json!({
                "spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": [range],
                    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]},
                "status": {"loadBalancer": {"ingress": [{"ip": NODE_IP}]}},
            });
            node.apply(service(ranges), vec![slice(&[a_ip])]);
        };
        open_to("192.0.2.0/30");
        assert!(node.client.ask((NODE_IP, 80)).is_ok());
        open_to("203.0.113.0/24");
        assert_eq!(node.client.ask((NODE_IP, 80)), Err(ErrorKind::TimedOut));
        assert!(
            node.client.ask((NODE_IP, 30080)).is_ok(),
            "ranges are the load balancer's, not the node port's"
        );
    });
}

#[test]
fn client_affinity_holds_until_the_endpoint_goes() {
    on_node(|node| {
        let (_a, a_ip) = node.pod("a", 8080);
        let (_b, b_ip) = node.pod("b", 8080);
        let (_c, c_ip) = node.pod("c", 8080);
        let sticky = || service(json!({"spec": {"sessionAffinity": "ClientIP"}}));
        node.apply(sticky(), vec![slice(&[a_ip, b_ip, c_ip])]);
        let first = name(&ask((VIP, 80)).unwrap()).to_owned();
        assert!((0..30).all(|_| name(&ask((VIP, 80)).unwrap()) == first));
        let (mut rest, mut gone) = (vec![], vec![]);
        for (pod, ip) in [("a", a_ip), ("b", b_ip), ("c", c_ip)] {
            if pod == first { gone.push(ip) } else { rest.push(ip) }
        }
        node.apply(sticky(), vec![slice(&rest)]);
        let second = name(&ask((VIP, 80)).unwrap()).to_owned();
        assert_ne!(second, first);
        rest.extend(gone);
        node.apply(sticky(), vec![slice(&rest)]);
        assert!((0..30).all(|_| name(&ask((VIP, 80)).unwrap()) == second), "the others keep their clients");
        let shorter = json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}});
        node.apply(service(shorter), vec![slice(&rest)]);
        assert!(nft("list table inet coracle").contains("timeout 5s"));
        node.delete_service("web");
        assert!(!nft("list table inet coracle").contains("affinity"));
    });
}

#[test]
fn udp_clients_stay_when_endpoints_join_and_move_on_when_theirs_goes() {
    on_node(|node| {
        let (a, _) = node.pod("a", 9999);
        let (_b, b_ip) = node.pod("b", 8080);
        let (_c, c_ip) = node.pod("c", 8080);
        let sockets: Vec<_> = (0..16).map(|_| a.udp_socket()).collect();
        for (endpoints, expected) in
            [(&[b_ip][..], "b"), (&[b_ip, c_ip], "b"), (&[b_ip], "b"), (&[c_ip], "c")]
        {
            node.apply(service(json!({})), vec![slice(endpoints)]);
            for socket in &sockets {
                assert_eq!(a.ask_udp(socket, (VIP, 53)).as_deref().map(name), Ok(expected));
            }
        }
    });
}

#[test]
fn endpoints_outside_the_machine_answer_through_the_node() {
    on_node(|node| {
        let (a, _) = node.pod("a", 8080);
        node.client.serve("outside", 8080);
        node.apply(service(json!({})), vec![slice(&[CLIENT_IP])]);
        assert_eq!(a.ask((VIP, 80)), Ok(format!("outside {NODE_IP}")));
        assert_eq!(ask((VIP, 80)).unwrap(), format!("outside {NODE_IP}"));
    });
}

#[test]
fn the_node_itself_can_be_an_endpoint_as_the_api_server_is() {
    on_node(|node| {
        let (a, a_ip) = node.pod("a", 8080);
        super::host::serve_here("api", 8080);
        node.apply(service(json!({})), vec![slice(&[NODE_IP])]);
        assert_eq!(a.ask((VIP, 80)), Ok(format!("api {a_ip}")));
        assert_eq!(name(&ask((VIP, 80)).unwrap()), "api");
    });
}

#[test]
fn an_address_two_services_claim_goes_to_the_next_when_the_first_is_deleted() {
    on_node(|node| {
        let (_a, a_ip) = node.pod("a", 8080);
        let (_b, b_ip) = node.pod("b", 8080);
        let external = Ipv4Addr::new(198, 51, 100, 7);
        let with = |name: &str, ip: &str| {
            service(
                json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "clusterIPs": [ip], "externalIPs": [external]}}),
            )
        };
        node.apply(with("first", "10.43.0.1"), vec![slice(&[a_ip])]);
        node.apply(with("second", "10.43.0.2"), vec![slice(&[b_ip])]);
        assert_eq!(name(&ask((external, 80)).unwrap()), "a");
        node.delete_service("first");
        assert_eq!(name(&ask((external, 80)).unwrap()), "b");
    });
}

#[test]
fn a_table_removed_by_somebody_else_comes_back_and_other_tables_are_never_touched() {
    on_node(|node| {
        let (_a, a_ip) = node.pod("a", 8080);
        node.apply(service(json!({})), vec![slice(&[a_ip])]);
        let before = nft("list table inet coracle");
        nft("flush ruleset");
        nft("add table inet foreign");
        node.rules.lock().restore_if_lost().unwrap();
        assert_eq!(nft("list table inet coracle").len(), before.len());
        assert_eq!(name(&ask((VIP, 80)).unwrap()), "a");
        crate::service::Rules::remove().unwrap();
        assert_eq!(nft("list tables"), "table inet foreign\n");
    });
}

/// Not a clock's verdict, which other work on the machine decides: what is sent is what may grow.
#[test]
fn a_change_of_one_service_among_a_thousand_leaves_the_others_alone() {
    on_node(|node| {
        let (_a, a_ip) = node.pod("a", 8080);
        let two = [a_ip, CLIENT_IP];
        let many = |number: usize| {
            let ip = format!("10.43.{}.{}", 1 + number / 250, 1 + number % 250);
            let name = format!("s{number}");
            service(json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "clusterIPs": [ip]}}))
        };
        let started = std::time::Instant::now();
        for number in 0..1000 {
            node.apply(many(number), vec![slice(if number % 5 == 0 { &two } else { &two[..1] })]);
        }
        println!("1000 services one by one: {:?}", started.elapsed());
        let started = std::time::Instant::now();
        node.apply(service(json!({})), vec![slice(&[a_ip])]);
        println!("one more: {:?}", started.elapsed());
        let started = std::time::Instant::now();
        node.delete_service("web");
        println!("one less: {:?}", started.elapsed());
        let started = std::time::Instant::now();
        node.rules.lock().replace_all().unwrap();
        println!("all anew: {:?}", started.elapsed());
        assert_eq!(nft("list map inet coracle service-ips").matches("goto").count(), 400);
        assert_eq!(nft("list map inet coracle service-targets").matches(" : 10.42.").count(), 1600);
    });
}
