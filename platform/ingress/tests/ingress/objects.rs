//! What Ingress objects ask for.

use serde_json::json;

use crate::{
    backends,
    clients::{get, request, send},
    ingress, proxy, service, site, slice,
};

#[tokio::test]
async fn hosts_and_paths_lead_to_their_services() {
    let (web, other) = (backends::named("web").await, backends::named("other").await);
    let to = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
    let path =
        |path: &str, kind: &str, name: &str| json!({"path": path, "pathType": kind, "backend": to(name)});
    let rules = json!([
        {"host": "a.example", "http": {"paths": [path("/", "Prefix", "web"), path("/x", "Exact", "other")]}},
        {"host": "*.wild.example", "http": {"paths": [path("/", "Prefix", "alias")]}},
        {"host": "empty.example", "http": {"paths": [path("/", "Prefix", "empty"), path("/none", "Prefix", "none")]}},
    ]);
    let mut alias = service("alias");
    alias["spec"] = json!({"type": "ExternalName", "externalName": "other.default.svc.cluster.local"});
    let objects = vec![
        service("web"),
        slice("web", &[web.address]),
        service("other"),
        slice("other", &[other.address]),
        service("empty"),
        alias,
        ingress("web", json!({}), json!({"rules": rules})),
    ];
    let proxy = proxy(objects).await;
    let cases = [
        ("a.example", "/", 200, "web"),
        ("a.example:80", "/x/y", 200, "web"),
        ("A.EXAMPLE", "/x?q=1", 200, "other"),
        ("b.wild.example", "/", 200, "other"),
        ("wild.example", "/", 404, "404 Not Found\n"),
        ("empty.example", "/", 503, "503 Service Unavailable\n"),
        ("empty.example", "/none", 503, "503 Service Unavailable\n"),
    ];
    for (host, path, status, body) in cases {
        let mut request = request("GET", path, "");
        request.headers_mut().insert("host", host.parse().unwrap());
        let reply = send(proxy.http, request).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (status, body), "{host}{path}");
    }
}

#[tokio::test]
async fn the_default_backend_takes_what_no_rule_wants() {
    let web = backends::named("web").await;
    let to = json!({"service": {"name": "web", "port": {"number": 80}}});
    let lone = ingress("web", json!({}), json!({"rules": [], "defaultBackend": to}));
    let proxy = proxy(vec![service("web"), slice("web", &[web.address]), lone]).await;
    assert_eq!(get(proxy.http, "/anything").await.text(), "web");
}

#[tokio::test]
async fn hosts_with_tls_redirect_to_it() {
    let web = backends::named("web").await;
    let secure = ingress("web", json!({}), json!({"tls": [{"hosts": ["a.example"]}]}));
    let proxy = proxy(vec![service("web"), slice("web", &[web.address]), secure]).await;
    let reply = get(proxy.http, "/x?y=1").await;
    assert_eq!(reply.status, 308);
    assert_eq!(reply.headers["location"], format!("https://a.example:{}/x?y=1", proxy.https.port()));
}

#[tokio::test]
async fn the_status_tells_the_address_and_an_event_what_is_ignored() {
    let annotations = json!({"nginx.ingress.kubernetes.io/rewrite-target": "/",
        "nginx.ingress.kubernetes.io/proxy-body-size": "8m"});
    let proxy = proxy(site(&[], annotations)).await;
    let status = &proxy.api.get("Ingress", "web")["status"];
    assert_eq!(*status, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
    proxy.api.until(|api| !api.events().is_empty()).await;
    let event = &proxy.api.events()[0];
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["involvedObject"]["name"], "web");
    let expected = "these annotations have no effect: nginx.ingress.kubernetes.io/rewrite-target";
    assert_eq!(event["message"], expected);
    // Its own write of the status is no change of what is ignored.
    proxy.api.put(ingress("second", json!({}), json!({})));
    proxy.api.until(|api| api.patched() == 2).await;
    assert_eq!(proxy.api.events().len(), 1);
}

#[tokio::test]
async fn events_tell_what_is_wrong_with_an_ingress() {
    let to = |name: &str, port: u16| json!({"service": {"name": name, "port": {"number": port}}});
    let path = |path: &str, to: serde_json::Value| json!({"path": path, "pathType": "Prefix", "backend": to});
    let paths = [path("/", to("none", 80)), path("/x", to("web", 81)), path("/y", to("web", 80))];
    let rules = json!([{"host": "b.example", "http": {"paths": paths}}]);
    let bad = ingress("bad", json!({}), json!({"rules": rules, "tls": [{"secretName": "absent"}]}));
    let younger = ingress("younger", json!({}), json!({"rules": rules}));
    let proxy = proxy(vec![service("web"), slice("web", &[]), bad, younger]).await;
    proxy.api.until(|api| api.events().len() >= 8).await;
    let events = proxy.api.events();
    let said = |name: &str| {
        let of = events.iter().filter(|event| event["involvedObject"]["name"] == name);
        let mut said: Vec<String> = of.map(|event| event["message"].as_str().unwrap().to_string()).collect();
        said.sort();
        said
    };
    let absent = ["Service `default/none` does not exist", "Service `default/web` has no port `81`"];
    let bad = [&["Secret `default/absent` does not exist"], absent.as_slice()].concat();
    assert_eq!(said("bad"), bad);
    let taken = ["/", "/x", "/y"].map(|path| {
        format!("path `b.example{path}` has no effect: Ingress `default/bad` is older and has it")
    });
    assert_eq!(said("younger"), [absent.map(String::from).as_slice(), taken.as_slice()].concat());
}
