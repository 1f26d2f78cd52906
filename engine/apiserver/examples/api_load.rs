//! Load on any Kubernetes API server: JSON over TLS and HTTP/1.1, a connection for each worker.
//!
//!   api_load KUBECONFIG WHAT CONCURRENCY COUNT [NAMESPACE]
//!
//! `create`: ConfigMaps of 1 KiB. `get`, `update`: of 1000 ConfigMaps. `apply`, `apply-dry-run`: one Deployment, server-side.
//! `list`: COUNT ConfigMaps, consistent, at resourceVersion 0, and in pages of 500; five times each.
//! `alive`: how many bytes of JSON all ConfigMaps are.
//! `watch`: CONCURRENCY watchers of one namespace, until all of them have seen COUNT updates made by 16 workers.
//!
//! The lines are kload's, which measured the stock figures. This one takes less of the processor than kload does, and
//! the server has the rest: where both share cores, it shows more operations a second, never fewer.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

type Error = Box<dyn std::error::Error + Send + Sync>;

const PAYLOAD_BYTES: usize = 1024;
const KNOWN: usize = 1000;
/// Objects that the updates of `watch` go round.
const WATCHED: usize = 50;
const UPDATERS: usize = 16;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, what, concurrency, count, rest @ ..] = &args[..] else {
        return Err("api_load KUBECONFIG WHAT CONCURRENCY COUNT [NAMESPACE]".into());
    };
    let (concurrency, count) = (concurrency.parse()?, count.parse()?);
    let namespace = rest.first().map_or("load", String::as_str);
    let server = Arc::new(Server::of(&std::fs::read_to_string(kubeconfig)?, namespace)?);
    let mut client = server.connect().await?;
    let text = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{namespace}"}}}}"#);
    client.call("POST", "/api/v1/namespaces", &text, &[201, 409]).await?;
    match what.as_str() {
        "create" => {
            let run = std::process::id();
            let one = move |server: &Server, at| server.post(&format!("c{run}-{at}"), "0", &[201]);
            load(&server, concurrency, count, one).await?.print(what);
        }
        "get" | "update" => {
            fill(&server, "g", KNOWN).await?;
            let gets = what == "get";
            let one = move |server: &Server, at: usize| {
                // A stride through all of them, for it to be no sequence.
                let name = format!("g-{}", at * 7919 % KNOWN);
                if gets { server.read(&name) } else { server.put(&name, at) }
            };
            load(&server, concurrency, count, one).await?.print(what);
        }
        "apply" | "apply-dry-run" => {
            let query = if what == "apply" { "" } else { "&dryRun=All" };
            server.connect().await?.send(server.apply(0, "")).await?;
            let one = move |server: &Server, at| server.apply(at, query);
            load(&server, concurrency, count, one).await?.print(what);
        }
        "list" => list(&server, count).await?,
        "watch" => watch(&server, concurrency, count).await?,
        "alive" => {
            let all = client.call("GET", "/api/v1/configmaps?resourceVersion=0", "", &[200]).await?;
            println!("alive bytes={}", all.len());
        }
        other => return Err(format!("unknown: {other}").into()),
    }
    Ok(())
}

/// One request, and what it may be answered with.
struct Call {
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: String,
    expected: &'static [u16],
}

struct Server {
    address: String,
    tls: TlsConnector,
    namespace: String,
}

impl Server {
    /// The first cluster and the first user of a kubeconfig.
    fn of(kubeconfig: &str, namespace: &str) -> Result<Server, Error> {
        let config: Value = serde_saphyr::from_str(kubeconfig)?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let url = cluster["server"].as_str().ok_or("the kubeconfig has no server")?;
        let address = url.strip_prefix("https://").ok_or("the server is not https")?.to_owned();
        let pem = |of: &Value, field: &str| -> Result<Vec<u8>, Error> {
            Ok(STANDARD.decode(of[field].as_str().ok_or(format!("the kubeconfig has no {field}"))?)?)
        };
        let certificates = |pem: &[u8]| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let mut roots = rustls::RootCertStore::empty();
        for root in certificates(&pem(cluster, "certificate-authority-data")?)? {
            roots.add(root)?;
        }
        let key = PrivateKeyDer::from_pem_slice(&pem(user, "client-key-data")?)?;
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&pem(user, "client-certificate-data")?)?, key)?;
        Ok(Server { address, tls: TlsConnector::from(Arc::new(config)), namespace: namespace.into() })
    }

    async fn connect(&self) -> Result<Client, Error> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host);
        let tls = self.tls.connect(ServerName::try_from(host.to_owned())?, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Client { sender, host: self.address.clone() })
    }

    fn path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps{name}", self.namespace)
    }

    fn config_map(&self, name: &str, x: &str) -> String {
        let (namespace, payload) = (&self.namespace, "x".repeat(PAYLOAD_BYTES));
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"app":"kload"}}}},"data":{{"k":"{payload}","x":"{x}"}}}}"#
        )
    }

    fn json(&self, method: &'static str, path: String, body: String, expected: &'static [u16]) -> Call {
        Call { method, path, content_type: "application/json", body, expected }
    }

    fn post(&self, name: &str, x: &str, expected: &'static [u16]) -> Call {
        self.json("POST", self.path(""), self.config_map(name, x), expected)
    }

    /// Never what the object was made with: an update that changes nothing is no event.
    fn put(&self, name: &str, at: usize) -> Call {
        let body = self.config_map(name, &(at + 1).to_string());
        self.json("PUT", self.path(&format!("/{name}")), body, &[200])
    }

    fn read(&self, name: &str) -> Call {
        self.json("GET", self.path(&format!("/{name}")), String::new(), &[200])
    }

    /// A label changes, and there are no replicas: the controllers have nothing to do.
    fn apply(&self, version: usize, query: &str) -> Call {
        let namespace = &self.namespace;
        let path = format!(
            "/apis/apps/v1/namespaces/{namespace}/deployments/web?fieldManager=api-load&force=true{query}"
        );
        let body = format!(
            r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"web","namespace":"{namespace}","labels":{{"app":"web","version":"{version}"}}}},"spec":{{"replicas":0,"selector":{{"matchLabels":{{"app":"web"}}}},"template":{{"metadata":{{"labels":{{"app":"web"}}}},"spec":{{"containers":[{{"name":"web","image":"example.com/web:1","ports":[{{"containerPort":8080,"name":"http"}}],"env":[{{"name":"A","value":"1"}},{{"name":"B","value":"2"}}],"resources":{{"requests":{{"cpu":"100m","memory":"64Mi"}},"limits":{{"memory":"128Mi"}}}},"readinessProbe":{{"httpGet":{{"path":"/ready","port":8080}},"periodSeconds":5}},"volumeMounts":[{{"name":"data","mountPath":"/data"}}]}}],"volumes":[{{"name":"data","emptyDir":{{}}}}]}}}}}}}}"#
        );
        Call {
            method: "PATCH",
            path,
            content_type: "application/apply-patch+yaml",
            body,
            expected: &[200, 201],
        }
    }
}

struct Client {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    async fn open(&mut self, call: Call) -> Result<Response<Incoming>, Error> {
        let request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header("host", &self.host)
            .header("accept", "application/json")
            .header("content-type", call.content_type)
            .header("user-agent", "api-load");
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::from(call.body))?).await?;
        let code = response.status().as_u16();
        if !call.expected.contains(&code) {
            let text = response.into_body().collect().await?.to_bytes();
            return Err(format!("{code} {}", String::from_utf8_lossy(&text)).into());
        }
        Ok(response)
    }

    async fn send(&mut self, call: Call) -> Result<Bytes, Error> {
        Ok(self.open(call).await?.into_body().collect().await?.to_bytes())
    }

    async fn call(
        &mut self,
        method: &'static str,
        path: &str,
        body: &str,
        expected: &'static [u16],
    ) -> Result<Bytes, Error> {
        let content_type = "application/json";
        self.send(Call { method, path: path.into(), content_type, body: body.into(), expected }).await
    }
}

struct Measured {
    concurrency: usize,
    took: Duration,
    each: Vec<Duration>,
}

async fn load(
    server: &Arc<Server>,
    concurrency: usize,
    count: usize,
    one: impl Fn(&Server, usize) -> Call + Clone + Send + 'static,
) -> Result<Measured, Error> {
    let mut clients = Vec::new();
    for _ in 0..concurrency {
        clients.push(server.connect().await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    let started = Instant::now();
    for mut client in clients {
        let (server, next, one) = (server.clone(), next.clone(), one.clone());
        workers.spawn(async move {
            let mut each = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return Ok::<_, Error>(each);
                }
                let call = one(&server, at);
                let sent = Instant::now();
                client.send(call).await?;
                each.push(sent.elapsed());
            }
        });
    }
    let mut each = Vec::new();
    while let Some(worker) = workers.join_next().await {
        each.extend(worker??);
    }
    each.sort();
    Ok(Measured { concurrency, took: started.elapsed(), each })
}

impl Measured {
    fn print(&self, what: impl Display) {
        let at = |part: f64| millis(self.each[(part * (self.each.len() - 1) as f64) as usize]);
        println!(
            "{what} c={} ok={} err=0 secs={:.3} ops/s={:.1} p50={:.2}ms p90={:.2}ms p99={:.2}ms max={:.2}ms",
            self.concurrency,
            self.each.len(),
            self.took.as_secs_f64(),
            self.each.len() as f64 / self.took.as_secs_f64(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

async fn fill(server: &Arc<Server>, prefix: &'static str, count: usize) -> Result<(), Error> {
    let one = move |server: &Server, at: usize| server.post(&format!("{prefix}-{at}"), "0", &[201, 409]);
    load(server, 32, count, one).await.map(drop)
}

async fn list(server: &Arc<Server>, count: usize) -> Result<(), Error> {
    fill(server, "l", count).await?;
    let mut client = server.connect().await?;
    for (mode, query) in
        [("consistent", ""), ("rv=0", "?resourceVersion=0"), ("limit=500 paged", "?limit=500")]
    {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..5 {
            let started = Instant::now();
            let mut token = String::new();
            bytes = 0;
            loop {
                let path = server.path(&format!("{query}{token}"));
                let page = client.call("GET", &path, "", &[200]).await?;
                bytes += page.len();
                let head = String::from_utf8_lossy(&page[..page.len().min(400)]).into_owned();
                let Some((_, rest)) = head.split_once(r#""continue":""#) else { break };
                token = format!("&continue={}", rest.split('"').next().unwrap_or_default());
            }
            times.push(started.elapsed());
        }
        times.sort();
        let [median, min, max] = [times[2], times[0], times[4]].map(millis);
        println!("list {mode:16} n={count} bytes={bytes} median={median:.1}ms min={min:.1}ms max={max:.1}ms");
    }
    Ok(())
}

async fn watch(server: &Arc<Server>, watchers: usize, count: usize) -> Result<(), Error> {
    fill(server, "w", WATCHED).await?;
    let mut client = server.connect().await?;
    let now = client.call("GET", &server.path("?limit=1"), "", &[200]).await?;
    let now: Value = serde_json::from_slice(&now)?;
    let revision = now["metadata"]["resourceVersion"].as_str().ok_or("a list without a resourceVersion")?;
    let mut all = JoinSet::new();
    for _ in 0..watchers {
        let path = server.path(&format!("?watch=1&resourceVersion={revision}&timeoutSeconds=600"));
        let mut client = server.connect().await?;
        let mut body = client.open(server.json("GET", path, String::new(), &[200])).await?.into_body();
        all.spawn(async move {
            let mut seen = 0;
            while seen < count {
                let frame = body.frame().await.ok_or("a watch ended early")??;
                seen += frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
            }
            Ok::<_, Error>(Instant::now())
        });
    }
    let started = Instant::now();
    let one = |server: &Server, at: usize| server.put(&format!("w-{}", at % WATCHED), at);
    load(server, UPDATERS, count, one).await?.print("watch-updates");
    let mut last = started;
    while let Some(watcher) = all.join_next().await {
        last = last.max(watcher??);
    }
    let took = last - started;
    println!("watch: {watchers} watchers got {count} events; all delivered after {:.2}s", took.as_secs_f64());
    Ok(())
}
