use serde_json::json;

use super::*;

fn objects(ingress: serde_json::Value) -> Objects {
    let service = |name: &str, namespace: &str, spec: serde_json::Value| {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec}))
                .unwrap(),
        )
    };
    let slice = json!({
        "metadata": {"name": "web-1", "namespace": "apps", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8888}],
        "endpoints": [
            {"addresses": ["10.42.0.5"], "conditions": {"ready": true}},
            {"addresses": ["10.42.0.6"], "conditions": {"ready": false}},
            {"addresses": ["10.42.0.7"]},
        ],
    });
    let pods_of_bare = json!({
        "metadata": {"name": "bare-1", "namespace": "apps", "labels": {"kubernetes.io/service-name": "bare"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080}],
        "endpoints": [
            {"addresses": ["10.42.0.8"], "conditions": {"ready": true}},
            {"addresses": ["10.42.0.9"], "conditions": {"ready": false}},
        ],
    });
    Objects {
        ingresses: vec![Arc::new(serde_json::from_value(ingress).unwrap())],
        services: vec![
            service("web", "apps", json!({"ports": [{"name": "http", "port": 80}]})),
            service(
                "alias",
                "default",
                json!({"type": "ExternalName", "externalName": "web.apps.svc.cluster.local"}),
            ),
            service(
                "circle",
                "default",
                json!({"type": "ExternalName", "externalName": "circle.default.svc.cluster.local"}),
            ),
            service("short", "default", json!({"type": "ExternalName", "externalName": "web.apps.svc"})),
            service(
                "ported",
                "default",
                json!({"type": "ExternalName", "externalName": "web.apps.svc", "ports": [{"name": "a", "port": 8000, "targetPort": 80}]}),
            ),
            service("far", "default", json!({"type": "ExternalName", "externalName": "example.com"})),
            service(
                "pod",
                "default",
                json!({"type": "ExternalName", "externalName": "db-0.db.shop.svc.cluster.local"}),
            ),
            service(
                "bare",
                "apps",
                json!({"clusterIP": "None", "ports": [{"port": 80, "targetPort": 8080}]}),
            ),
            service("headless", "default", json!({"type": "ExternalName", "externalName": "bare.apps.svc"})),
            service("kube-dns", "kube-system", json!({"clusterIP": "10.43.0.10"})),
        ],
        slices: vec![
            Arc::new(serde_json::from_value(slice).unwrap()),
            Arc::new(serde_json::from_value(pods_of_bare).unwrap()),
        ],
        ..Objects::default()
    }
}

fn ingress(service: &str, extra: serde_json::Value) -> serde_json::Value {
    let mut ingress = json!({
        "metadata": {"name": "i", "namespace": "default", "annotations": {"kubernetes.io/ingress.class": "nginx"}},
        "spec": {"rules": [{"host": "a.example", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}},
        ]}}]},
    });
    for (key, value) in extra.as_object().unwrap() {
        ingress["spec"][key] = value.clone();
    }
    ingress
}

fn build(ingress: serde_json::Value) -> Table {
    Table::build(&objects(ingress), "nginx", "cluster.local", &mut CertificateCache::default())
}

#[test]
fn an_external_name_inside_the_cluster_leads_to_its_ready_endpoints() {
    let expected = ["10.42.0.5:8888", "10.42.0.7:8888"].map(|address| address.parse().unwrap());
    let expected = Target::Endpoints(expected.into());
    for (service, port) in [
        ("alias", json!({"number": 80})),
        ("short", json!({"number": 80})),
        ("ported", json!({"name": "a"})),
        ("ported", json!({"number": 8000})),
    ] {
        let mut ingress = ingress(service, json!({}));
        ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = port;
        assert_eq!(
            build(ingress).router.find("a.example", "/").unwrap().backend.target,
            expected,
            "{service}"
        );
    }
}

/// As a client that resolves the name: it gets pods' addresses and knows nothing of the Service's ports.
#[test]
fn an_external_name_of_a_headless_service_leads_to_its_pods_at_the_port_as_given() {
    for port in [8080, 80] {
        let mut ingress = ingress("headless", json!({}));
        ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"]["number"] = json!(port);
        let expected = Target::Endpoints([([10, 42, 0, 8], port).into()].into());
        assert_eq!(build(ingress).router.find("a.example", "/").unwrap().backend.target, expected);
    }
}

#[test]
fn an_ingress_whose_access_rules_are_not_honoured_is_closed() {
    let mut ingress = ingress("alias", json!({}));
    ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-type"] = json!("basic");
    assert_eq!(build(ingress).router.find("a.example", "/").unwrap().backend.target, Target::Absent);
}

#[test]
fn other_external_names_are_left_to_the_clusters_dns() {
    for (service, host) in [("far", "example.com"), ("pod", "db-0.db.shop.svc.cluster.local")] {
        let table = build(ingress(service, json!({})));
        let expected = Target::Dns { host: host.into(), port: 80 };
        assert_eq!(table.router.find("a.example", "/").unwrap().backend.target, expected);
        assert_eq!(table.dns, Some("10.43.0.10".parse().unwrap()));
    }
}

#[test]
fn a_circle_of_names_and_an_absent_service_lead_nowhere() {
    for service in ["circle", "absent"] {
        let table = build(ingress(service, json!({})));
        assert_eq!(table.router.find("a.example", "/").unwrap().backend.target, Target::Absent, "{service}");
    }
}

#[test]
fn hosts_with_tls_are_redirected() {
    let table = build(ingress("alias", json!({"tls": [{"hosts": ["a.example"], "secretName": "absent"}]})));
    assert!(table.router.find("a.example", "/").unwrap().redirect);
    assert!(!build(ingress("alias", json!({}))).router.find("a.example", "/").unwrap().redirect);
}

#[test]
fn tls_covers_hosts_as_they_are_listed() {
    let redirects = |tls: serde_json::Value| {
        build(ingress("alias", json!({"tls": [tls]}))).router.find("a.example", "/").unwrap().redirect
    };
    assert!(redirects(json!({"hosts": ["*.example"], "secretName": "absent"})));
    assert!(redirects(json!({"secretName": "absent"})));
    assert!(!redirects(json!({"hosts": ["b.example"], "secretName": "absent"})));
}

#[test]
fn an_ingress_of_another_class_is_left_alone() {
    let mut other = ingress("alias", json!({}));
    other["metadata"]["annotations"]["kubernetes.io/ingress.class"] = json!("traefik");
    assert!(build(other).router.find("a.example", "/").is_none());
}

/// Of several Ingresses, older ones first: where a request leads, and whether it is redirected.
fn led(ingresses: &[serde_json::Value], host: &str, path: &str) -> Option<(u16, bool)> {
    let mut all = objects(ingresses[0].clone());
    all.ingresses = ingresses
        .iter()
        .enumerate()
        .map(|(index, ingress)| {
            let mut ingress = ingress.clone();
            ingress["metadata"]["name"] = json!(format!("i{index}"));
            Arc::new(serde_json::from_value(ingress).unwrap())
        })
        .collect();
    let table = Table::build(&all, "nginx", "cluster.local", &mut CertificateCache::default());
    let route = table.router.find(host, path)?;
    match route.backend.target {
        Target::Dns { port, .. } => Some((port, route.redirect)),
        _ => None,
    }
}

/// The port tells backends apart.
fn far(port: u16) -> serde_json::Value {
    json!({"service": {"name": "far", "port": {"number": port}}})
}

fn rule(host: &str, path: &str, port: u16) -> serde_json::Value {
    json!({"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": far(port)}]}})
}

#[test]
fn a_default_backend_beside_rules_is_for_their_hosts() {
    let own = ingress("far", json!({"rules": [rule("a.example", "/x", 1)], "defaultBackend": far(2)}));
    let other = ingress("far", json!({"rules": [rule("b.example", "/", 3)]}));
    let root = ingress("far", json!({"rules": [rule("a.example", "/", 4)]}));
    let any = ingress("far", json!({"rules": [], "defaultBackend": far(5)}));
    let all = [own, other];
    assert_eq!(led(&all, "a.example", "/x"), Some((1, false)));
    assert_eq!(led(&all, "a.example", "/"), Some((2, false)));
    assert_eq!(led(&all, "c.example", "/"), None);
    let all = [all.as_slice(), &[root, any]].concat();
    assert_eq!(led(&all, "a.example", "/"), Some((4, false)));
    assert_eq!(led(&all, "b.example", "/"), Some((3, false)));
    assert_eq!(led(&all, "c.example", "/"), Some((5, false)));
}

#[test]
fn a_host_with_tls_is_redirected_in_every_ingress() {
    let secure =
        ingress("far", json!({"rules": [rule("a.example", "/", 1)], "tls": [{"hosts": ["a.example"]}]}));
    let beside = ingress("far", json!({"rules": [rule("a.example", "/x", 2), rule("b.example", "/", 3)]}));
    let mut plain = ingress("far", json!({"rules": [rule("a.example", "/plain", 4)]}));
    plain["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-redirect"] = json!("false");
    let all = [beside, secure, plain];
    assert_eq!(led(&all, "a.example", "/x"), Some((2, true)));
    assert_eq!(led(&all, "b.example", "/"), Some((3, false)));
    assert_eq!(led(&all, "a.example", "/plain"), Some((4, false)));
}
