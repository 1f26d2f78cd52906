//! The server over TLS: admins, backups, its stop.

use coracle_apiserver::ApiServer;
use coracle_store::{Store, StoreConfig};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    ask, bearer,
    harness::{self, Harness},
    token,
};

#[tokio::test]
async fn a_backup_is_for_those_who_may_read_everything_and_is_whole() {
    let harness = Harness::start().await;
    let backup = "/coracle/backup";
    let token = token(&harness, json!({})).await;
    assert_eq!(ask(&harness, "GET", backup, &[], Value::Null).await.code, 403);
    assert_eq!(bearer(&harness, backup, &token).await.code, 403);
    // The path alone is not enough: what is behind it are all Secrets.
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let mut role =
        json!({"metadata": {"name": "paths"}, "rules": [{"nonResourceURLs": ["*"], "verbs": ["get"]}]});
    let made = harness.post(&format!("{rbac}/clusterroles"), role.clone()).await.expect(201);
    let binding = json!({
        "metadata": {"name": "paths"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "paths"},
        "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": "default"}],
    });
    harness.post(&format!("{rbac}/clusterrolebindings"), binding).await.expect(201);
    assert_eq!(bearer(&harness, "/metrics", &token).await.code, 200);
    let refused = bearer(&harness, backup, &token).await;
    assert_eq!(refused.code, 403);
    assert!(refused.message().contains("cannot list resource \"*\" in API group \"*\""), "{}", refused.text);
    role["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let everything = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    role["rules"].as_array_mut().expect("rules").push(everything);
    harness.ask("PUT", &format!("{rbac}/clusterroles/paths"), role).await.expect(200);

    let large = json!({"metadata": {"name": "large"}, "data": {"a": "x".repeat(200_000)}});
    harness.post("/api/v1/namespaces/default/configmaps", large).await.expect(201);
    let revision = harness.store.reader().revision();
    let answer = bearer(&harness, backup, &token).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    let mut reader = coracle_backup::Reader::open(answer.text.as_bytes()).expect("a header");
    assert_eq!(reader.header().revision, revision.0);
    let snapshot = harness.store.reader().snapshot();
    let mut found = Vec::new();
    while let Some(line) = reader.next_line().expect("whole") {
        let coracle_backup::Line::Object(line) = line else { panic!("only objects") };
        found.push((
            format!("{}/{}/{}", line.resource, line.namespace, line.name),
            line.json.get().to_owned(),
        ));
    }
    let expected: Vec<(String, String)> = snapshot
        .resources()
        .into_iter()
        .flat_map(|(resource, _)| {
            snapshot.list(&coracle_store::Scope::all(resource)).cloned().collect::<Vec<_>>()
        })
        .map(|object| {
            let key = &object.key;
            let name = format!("{}/{}/{}", key.resource, key.namespace, key.name);
            (name, String::from_utf8_lossy(&object.json).into_owned())
        })
        .collect();
    assert!(found == expected, "{} objects of {}", found.len(), expected.len());
    assert_eq!(
        ask(&harness, "POST", backup, &[("authorization", &format!("Bearer {token}"))], json!({})).await.code,
        403
    );
}

#[tokio::test]
async fn the_admin_kubeconfig_works_over_tls_and_a_restart_writes_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store_config =
        StoreConfig { dir: dir.path().join("store"), encrypted: Vec::new(), history_events: 1000 };
    let store = Store::open(store_config).await.expect("store opens");
    let mut config = harness::config(dir.path());
    let server = std::sync::Arc::new(ApiServer::build(config.clone(), &store).await.expect("server builds"));
    config.bind = server.address();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.clone().serve(stop.clone()));
    let kubeconfig = server.admin_kubeconfig(None, None).expect("kubeconfig");
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig).expect("written");
    let (_, client) = coracle_client::from_kubeconfig(&path).expect("client");
    let namespaces =
        kube::Api::<Namespace>::all(client.clone()).list(&Default::default()).await.expect("lists");
    assert_eq!(namespaces.items.len(), 4);
    drop(client);
    assert_eq!(answer_to_huge_headers(&server).await, "HTTP/1.1 431 Request Header Fields Too Large");
    stop.cancel();
    serving.await.expect("ends");
    drop(server);

    let before = store.reader().revision();
    ApiServer::build(config, &store).await.expect("server builds again");
    assert_eq!(store.reader().revision(), before);
}

#[tokio::test]
async fn at_stop_requests_in_flight_end_well_and_connections_without_one_go_at_once() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

    let harness = Harness::start().await;
    let token = token(&harness, json!({})).await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(harness.server.clone().serve(stop.clone()));
    // Accepted before the request comes, it never says anything.
    let mut silent = tokio::net::TcpStream::connect(harness.server.address()).await.expect("connects");
    let (read, mut write) = tokio::io::split(connect(&harness.server).await);
    let body = r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}"#;
    let (begin, rest) = body.split_at(9);
    let head = format!(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nhost: kubernetes\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{begin}",
        body.len()
    );
    write.write_all(head.as_bytes()).await.expect("sent");
    write.flush().await.expect("sent");
    let in_flight = "apiserver_current_inflight_requests{request_kind=\"mutating\"} 1\n";
    while !harness.get("/metrics").await.text.contains(in_flight) {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    assert_eq!(silent.read(&mut [0]).await.expect("an orderly end"), 0);
    write.write_all(rest.as_bytes()).await.expect("sent");
    write.flush().await.expect("sent");
    let mut line = String::new();
    tokio::io::BufReader::new(read).read_line(&mut line).await.expect("an answer");
    assert_eq!(line, "HTTP/1.1 201 Created\r\n");
    serving.await.expect("ends");
}

#[tokio::test]
async fn a_client_without_tls_is_told_so() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let harness = Harness::start().await;
    let serving = tokio::spawn(harness.server.clone().serve(CancellationToken::new()));
    let mut plain = tokio::net::TcpStream::connect(harness.server.address()).await.expect("connects");
    plain.write_all(b"GET /version HTTP/1.1\r\nhost: kubernetes\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.expect("an orderly end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.0 400 "), "{head}");
    assert_eq!(body, "Client sent an HTTP request to an HTTPS server.\n");
    serving.abort();
}

async fn connect(server: &ApiServer) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    use rustls::pki_types::pem::PemObject;

    let ca =
        rustls::pki_types::CertificateDer::from_pem_slice(server.ca_pem().as_bytes()).expect("authority");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).expect("root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    let stream = tokio::net::TcpStream::connect(server.address()).await.expect("connects");
    let name = rustls::pki_types::ServerName::try_from("kubernetes").expect("name");
    connector.connect(name, stream).await.expect("handshake")
}

/// The first line of the answer to a megabyte of headers.
async fn answer_to_huge_headers(server: &ApiServer) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

    let (read, mut write) = tokio::io::split(connect(server).await);
    let head = format!("GET /version HTTP/1.1\r\nhost: kubernetes\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    // The server may close before it has read everything.
    let sending = tokio::spawn(async move { drop(write.write_all(head.as_bytes()).await) });
    let mut line = String::new();
    tokio::io::BufReader::new(read).read_line(&mut line).await.expect("an answer");
    drop(sending.await);
    line.trim_end().to_owned()
}

const DEFAULT_SERVICES: &str = "/api/v1/namespaces/default/services";

/// Lets the server look once more at what a cluster cannot be without.
async fn look_again() {
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    tokio::time::resume();
}

async fn until_there(harness: &Harness, path: &str) {
    while harness.get(path).await.code != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_refuses_a_bootstrap_object_keeps_nobody_out() {
    let harness = Harness::start().await;
    let kubernetes = format!("{DEFAULT_SERVICES}/kubernetes");
    harness.ask("DELETE", &kubernetes, Value::Null).await.expect(200);
    let taker =
        json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "10.43.0.1", "ports": [{"port": 80}]}});
    harness.post(DEFAULT_SERVICES, taker).await.expect(201);
    let harness = harness.restarted().await;
    assert_eq!(harness.get(&kubernetes).await.code, 404);
    harness.ask("DELETE", &format!("{DEFAULT_SERVICES}/a"), Value::Null).await.expect(200);
    look_again().await;
    until_there(&harness, &kubernetes).await;
}

#[tokio::test]
async fn what_a_cluster_cannot_be_without_comes_back_and_is_not_written_when_it_is_there() {
    let harness = Harness::start().await;
    let kubernetes = format!("{DEFAULT_SERVICES}/kubernetes");
    let authentication = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let leases = "/api/v1/namespaces/kube-node-lease";
    for path in [&*kubernetes, authentication, slice, leases] {
        harness.ask("DELETE", path, Value::Null).await.expect(200);
    }
    let mut namespace = harness.get(leases).await.expect(200);
    namespace["spec"]["finalizers"] = json!([]);
    harness.ask("PUT", &format!("{leases}/finalize"), namespace).await.expect(200);
    look_again().await;
    for path in [&*kubernetes, authentication, slice, leases] {
        until_there(&harness, path).await;
    }
    let revision = harness.store.reader().snapshot().revision();
    look_again().await;
    harness.get(&kubernetes).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(harness.store.reader().snapshot().revision(), revision);
}

#[tokio::test]
async fn the_servers_own_priority_classes_stay() {
    let harness = Harness::start().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let refused = harness.ask("DELETE", &format!("{classes}/system-node-critical"), Value::Null).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            403,
            "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and cannot be deleted"
                .to_owned()
        )
    );
    harness.post(classes, json!({"metadata": {"name": "own"}, "value": 1})).await.expect(201);
    harness.ask("DELETE", &format!("{classes}/own"), Value::Null).await.expect(200);
}
