//! Cluster DNS, as a pod's resolver sees it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    thread,
};

use hickory_server::proto::{
    op::{Edns, Message, OpCode, Query},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use serde_json::json;

use super::{
    cluster::{Cluster, SLICES, eventually, on_cluster, service, slice},
    host::{Machine, NODE_IP},
};
use crate::{Network, NetworkError};

const DNS: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 43, 0, 10), 53);

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn exchange(machine: &Machine, message: &Message) -> Message {
    let socket = machine.udp_socket();
    socket.connect(DNS).unwrap();
    socket.send(&message.to_vec().unwrap()).unwrap();
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..len]).unwrap()
}

/// `rcode: answers | additional`, sorted, without time to live.
pub fn ask(machine: &Machine, name: &str, kind: RecordType) -> String {
    let answer = exchange(machine, &query(name, kind));
    let list = |records: &[Record]| {
        let mut texts: Vec<String> =
            records.iter().map(|record| format!("{} {}", record.record_type(), record.data)).collect();
        texts.sort();
        texts.join(", ")
    };
    let mut text = format!("{:?}: {}", answer.metadata.response_code, list(&answer.answers));
    if !answer.additionals.is_empty() {
        text += &format!(" | {}", list(&answer.additionals));
    }
    if answer.authorities.iter().any(|record| record.record_type() == RecordType::SOA) {
        text += "SOA";
    }
    text
}

/// An upstream server that knows `example.com` and says that nothing else exists.
fn serve_upstream(machine: &Machine) {
    let socket: UdpSocket = machine.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            let asked = Message::from_vec(&buffer[..len]).unwrap();
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            let question = asked.queries[0].clone();
            if question.name().to_lowercase() == Name::from_ascii("example.com.").unwrap() {
                if question.query_type() == RecordType::A {
                    let data = RData::A(A::new(203, 0, 113, 1));
                    answer.add_answer(Record::from_rdata(question.name().clone(), 60, data));
                }
            } else {
                answer.metadata.response_code = hickory_server::proto::op::ResponseCode::NXDomain;
            }
            answer.add_query(question);
            let _ = socket.send_to(&answer.to_vec().unwrap(), peer);
        }
    });
}

fn fill(cluster: &Cluster) {
    cluster.put("namespaces", json!({"metadata": {"name": "default", "uid": "d"}}));
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    cluster.put(
        "services",
        service("web", json!({"clusterIP": "10.43.0.80", "clusterIPs": ["10.43.0.80"], "ports": ports})),
    );
    let named = json!([{"name": "peer", "port": 7000, "protocol": "TCP"}]);
    cluster
        .put("services", service("db", json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": named})));
    let endpoints = json!([
        {"addresses": ["10.42.0.21"], "hostname": "db-0", "conditions": {"ready": true}},
        {"addresses": ["10.42.0.22"], "conditions": {"ready": true}},
        {"addresses": ["10.42.0.23"], "conditions": {"ready": false}},
    ]);
    cluster.put(SLICES, slice("db", named, endpoints));
    cluster.put("services", service("idle", json!({"clusterIP": "None", "ports": []})));
    let external = |target: &str| json!({"type": "ExternalName", "externalName": target});
    cluster.put("services", service("inside", external("web.default.svc.cluster.local")));
    cluster.put("services", service("outside", external("example.com")));
    cluster.put("services", service("loop", external("loop.default.svc.cluster.local")));
}

#[test]
fn names_follow_the_specification() {
    use RecordType::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
    on_cluster(|cluster| {
        let (pod, _) = cluster.pod("a", 1);
        serve_upstream(&cluster.client);
        fill(cluster);
        let svc = |name: &str| format!("{name}.default.svc.cluster.local.");
        for (name, kind, expected) in [
            (svc("web"), A, "NoError: A 10.43.0.80"),
            (svc("WEB"), A, "NoError: A 10.43.0.80"),
            (svc("web"), AAAA, "NoError: SOA"),
            (
                svc("web"),
                SRV,
                "NoError: SRV 0 50 53 web.default.svc.cluster.local., SRV 0 50 80 web.default.svc.cluster.local. | A 10.43.0.80",
            ),
            (
                svc("_http._tcp.web"),
                SRV,
                "NoError: SRV 0 100 80 web.default.svc.cluster.local. | A 10.43.0.80",
            ),
            (svc("_http._udp.web"), SRV, "NXDomain: SOA"),
            (svc("_tcp.web"), SRV, "NoError: SOA"),
            (svc("nobody"), A, "NXDomain: SOA"),
            (svc("db"), A, "NoError: A 10.42.0.21, A 10.42.0.22"),
            (svc("db-0.db"), A, "NoError: A 10.42.0.21"),
            (svc("10-42-0-22.db"), A, "NoError: A 10.42.0.22"),
            (svc("db-1.db"), A, "NXDomain: SOA"),
            (
                svc("_peer._tcp.db"),
                SRV,
                "NoError: SRV 0 50 7000 10-42-0-22.db.default.svc.cluster.local., SRV 0 50 7000 db-0.db.default.svc.cluster.local. | A 10.42.0.21, A 10.42.0.22",
            ),
            (svc("idle"), A, "NXDomain: SOA"),
            (svc("inside"), A, "NoError: A 10.43.0.80, CNAME web.default.svc.cluster.local."),
            (svc("outside"), A, "NoError: A 203.0.113.1, CNAME example.com."),
            (svc("outside"), CNAME, "NoError: CNAME example.com."),
            ("default.svc.cluster.local.".into(), A, "NoError: SOA"),
            ("other.svc.cluster.local.".into(), A, "NXDomain: SOA"),
            ("svc.cluster.local.".into(), A, "NoError: SOA"),
            (
                "cluster.local.".into(),
                SOA,
                "NoError: SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30",
            ),
            ("cluster.local.".into(), NS, "NoError: NS ns.dns.cluster.local."),
            ("ns.dns.cluster.local.".into(), A, "NoError: A 10.43.0.10"),
            ("dns-version.cluster.local.".into(), TXT, "NoError: TXT 1.1.0"),
            ("10-42-0-9.default.pod.cluster.local.".into(), A, "NoError: A 10.42.0.9"),
            ("10-42-0-9.other.pod.cluster.local.".into(), A, "NXDomain: SOA"),
            ("80.0.43.10.in-addr.arpa.".into(), PTR, "NoError: PTR web.default.svc.cluster.local."),
            ("21.0.42.10.in-addr.arpa.".into(), PTR, "NoError: PTR db-0.db.default.svc.cluster.local."),
            ("99.0.42.10.in-addr.arpa.".into(), PTR, "NXDomain: SOA"),
            ("example.com.".into(), A, "NoError: A 203.0.113.1"),
            ("example.com.default.svc.cluster.local.".into(), A, "NXDomain: SOA"),
            ("example.com.".into(), AAAA, "NoError: "),
            ("absent.example.".into(), A, "NXDomain: "),
        ] {
            assert_eq!(ask(&pod, &name, kind), expected, "{kind} {name}");
        }
        assert!(ask(&pod, &svc("loop"), A).starts_with("NoError: CNAME"), "a loop ends");
        cluster.delete("services", "default", "web");
        assert_eq!(ask(&pod, &svc("web"), A), "NXDomain: SOA", "without delay");
    });
}

#[test]
fn answers_too_long_for_udp_are_cut_and_come_whole_over_tcp() {
    on_cluster(|cluster| {
        let (pod, _) = cluster.pod("a", 1);
        let ports = json!([{"name": "peer", "port": 7000, "protocol": "TCP"}]);
        cluster.put("services", service("many", json!({"clusterIP": "None", "ports": ports})));
        let endpoints: Vec<_> = (0..100).map(|i| json!({"addresses": [format!("10.42.1.{i}")]})).collect();
        cluster.put(SLICES, slice("many", ports, endpoints.into()));
        let mut message = query("many.default.svc.cluster.local.", RecordType::A);
        let plain = exchange(&pod, &message);
        assert!(plain.metadata.truncation && plain.answers.len() < 100);
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        message.set_edns(edns);
        assert!(exchange(&pod, &message).answers.len() > plain.answers.len());
        let whole = pod.run(|| {
            let mut stream = TcpStream::connect(DNS).unwrap();
            let bytes = message.to_vec().unwrap();
            stream.write_all(&[&(bytes.len() as u16).to_be_bytes(), &bytes[..]].concat()).unwrap();
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut bytes).unwrap();
            Message::from_vec(&bytes).unwrap()
        });
        assert_eq!(whole.answers.len(), 100);
    });
}

#[test]
fn the_node_itself_is_answered_and_a_kube_dns_service_without_endpoints_does_not_shut_it_out() {
    on_cluster(|cluster| {
        fill(cluster);
        let ports = json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]);
        cluster.put(
            "services",
            service(
                "kube-dns",
                json!({"clusterIP": "10.43.0.10", "clusterIPs": ["10.43.0.10"], "ports": ports}),
            ),
        );
        let (pod, _) = cluster.pod("a", 1);
        assert_eq!(ask(&pod, "kube-dns.default.svc.cluster.local.", RecordType::A), "NoError: A 10.43.0.10");
        let here = UdpSocket::bind((NODE_IP, 0)).unwrap();
        here.connect(DNS).unwrap();
        here.send(&query("web.default.svc.cluster.local.", RecordType::A).to_vec().unwrap()).unwrap();
        assert!(here.recv(&mut [0; 512]).is_ok());
    });
}

#[test]
fn another_server_on_all_addresses_is_told_apart() {
    on_cluster(|cluster| {
        cluster.stop();
        let mut other = None;
        eventually("the port is free", || {
            other = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).ok();
            other.is_some()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let built = runtime.block_on(Network::build(cluster.config.clone(), cluster.store.reader()));
        let Some(NetworkError::DnsPort { protocol, at, source }) = built.err() else { panic!("has no port") };
        assert_eq!((protocol, at), ("UDP", DNS.into()));
        assert_eq!(source.kind(), ErrorKind::AddrInUse);
        drop(other);
        cluster.start();
    });
}
