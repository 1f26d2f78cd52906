//! Services, names and the ingress, seen from pods, from the node and from another machine.

use anyhow::Result;
use coracle_cluster::{Cluster, NODE_IP, Outcome, busybox, check, eventually};

const SERVERS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: busybox:test
        command: [sh, -c, "mkdir -p /tmp/www && hostname > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec: {selector: {app: web}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: open}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 8088, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: client, image: "busybox:test", command: [sleep, "3600"]}]}
"#;

fn in_client(cluster: &Cluster, line: &str) -> Outcome {
    cluster.run(cluster.client("kubectl").args(["exec", "client", "--"]).args(line.split(' ')))
}

fn from_peer(cluster: &Cluster, url: &str) -> Result<String> {
    cluster
        .peer
        .enter(|| cluster.run(cluster.client("curl").args(["-sS", "--fail", "--max-time", "30", url])).ok())?
}

#[test]
fn services_answer_under_their_names_and_addresses() -> Result<()> {
    let cluster = Cluster::start()?;
    busybox(&cluster)?;
    cluster.kubectl_with("apply", SERVERS).ok()?;
    cluster.kubectl("rollout status deployment/web --timeout=180s").ok()?;
    cluster.kubectl("wait --for=condition=Ready pod/client --timeout=180s").ok()?;
    for name in ["web", "web.default", "web.default.svc.cluster.local", "elsewhere", "open", "sticky"] {
        eventually(&format!("{name} answers a pod"), || {
            in_client(&cluster, &format!("curl -sS --fail -m 30 http://{name}/")).ok()
        })?;
    }
    let sticky: Vec<String> = (0..5)
        .map(|_| in_client(&cluster, "curl -sS --fail -m 30 http://sticky/").ok())
        .collect::<Result<_>>()?;
    check(sticky.windows(2).all(|pair| pair[0] == pair[1]), format!("session affinity: {sticky:?}"))?;
    eventually("both pods are reached through the Service", || {
        let seen: std::collections::BTreeSet<String> = (0..10)
            .map(|_| in_client(&cluster, "curl -sS --fail -m 30 http://web/").ok())
            .collect::<Result<_>>()?;
        check(seen.len() == 2, format!("{seen:?}"))
    })?;
    in_client(&cluster, "curl -sS --fail -m 30 http://nobody/").err()?;
    let addresses = cluster.kubectl("get pods -l app=web -o jsonpath={.items[*].status.podIP}").ok()?;
    eventually("the headless Service names both pods", || {
        let headless = in_client(&cluster, "nslookup headless.default.svc.cluster.local").ok()?;
        let missing = addresses.split(' ').find(|address| !headless.contains(address));
        check(missing.is_none(), format!("{missing:?} is missing in {headless}"))
    })?;
    another_range(&cluster)?;
    from_outside(&cluster)
}

const RANGE: &str = r#"
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: more}
spec: {cidrs: [10.50.0.0/24]}
---
apiVersion: v1
kind: Service
metadata: {name: there}
spec: {clusterIP: 10.50.0.7, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

fn another_range(cluster: &Cluster) -> Result<()> {
    eventually("a Service gets an address of another range", || cluster.kubectl_with("apply", RANGE).ok())?;
    eventually("its name answers a pod", || in_client(cluster, "curl -sS --fail -m 30 http://there/").ok())?;
    let from_node = |address: &str, seconds: &str| {
        let url = format!("http://{address}/");
        cluster.run(cluster.client("curl").args(["-sS", "--fail", "--max-time", seconds, &url]))
    };
    eventually("its address answers the node", || from_node("10.50.0.7", "30").ok())?;
    // Without a rule it would be found out after three seconds that no neighbour has it.
    eventually("an address of nobody is refused at once", || {
        let refusal = from_node("10.50.0.8", "2").err()?;
        check(refusal.contains("Failed to connect") && !refusal.contains("timed out"), refusal)
    })?;
    cluster.kubectl("delete service there").ok()?;
    cluster.kubectl("delete servicecidr more --wait=false").ok()?;
    Ok(())
}

fn from_outside(cluster: &Cluster) -> Result<()> {
    let status = "get service balanced -o jsonpath={.status.loadBalancer.ingress[0].ip}";
    eventually("the load balancer has the node's address", || {
        let address = cluster.kubectl(status).ok()?;
        check(address == NODE_IP, format!("the load balancer's address is `{address}`"))
    })?;
    for port in [30080, 8088] {
        let url = format!("http://{NODE_IP}:{port}/");
        eventually(&format!("{url} answers another machine"), || from_peer(cluster, &url))?;
    }
    let cluster_ip = cluster.kubectl("get service web -o jsonpath={.spec.clusterIP}").ok()?;
    cluster
        .run(cluster.client("curl").args([
            "-sS",
            "--fail",
            "--max-time",
            "30",
            &format!("http://{cluster_ip}/"),
        ]))
        .ok()?;
    Ok(())
}

const INGRESS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: nginx
  tls: [{hosts: [secure.example.com], secretName: secure}]
  rules:
  - host: plain.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
  - host: "*.wild.example.com"
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: elsewhere, port: {number: 80}}}}]}
  - host: secure.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"#;

#[test]
fn the_ingress_routes_hosts_and_serves_tls() -> Result<()> {
    let cluster = Cluster::start()?;
    busybox(&cluster)?;
    cluster.kubectl_with("apply", SERVERS).ok()?;
    cluster.kubectl("rollout status deployment/web --timeout=180s").ok()?;
    cluster.kubectl_with("apply", INGRESS).ok()?;
    let ask = |arguments: &[&str]| {
        let pins = ["plain", "a.wild", "secure"].map(|name| {
            ["80", "443"]
                .map(|port| ["--resolve".to_string(), format!("{name}.example.com:{port}:{NODE_IP}")])
        });
        let mut command = cluster.client("curl");
        command.args(["-sS", "-k", "--max-time", "30"]).args(pins.iter().flatten().flatten()).args(arguments);
        cluster.run(&mut command)
    };
    for url in ["http://plain.example.com/", "http://a.wild.example.com/", "https://secure.example.com/"] {
        eventually(&format!("{url} answers"), || {
            let said = ask(&["--fail", url]).ok()?;
            check(said.starts_with("web-"), said)
        })?;
    }
    let moved =
        ask(&["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "http://secure.example.com/x"])
            .ok()?;
    check(moved == "308 https://secure.example.com/x", moved)?;
    let absent = ask(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        "Host: unknown.example.com",
        &format!("http://{NODE_IP}/"),
    ])
    .ok()?;
    check(absent == "404", absent)?;
    let status = "get ingress web -o jsonpath={.status.loadBalancer.ingress[0].ip}";
    eventually("the ingress has an address", || {
        let address = cluster.kubectl(status).ok()?;
        check(address == NODE_IP, address)
    })
}
