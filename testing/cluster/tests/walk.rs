//! The main job from end to end: the reference app runs from its manifests, and everything a user does to it works.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use coracle_cluster::{
    Cluster, Load, NODE_IP, check, eventually,
    free4chat::{HOST, build_backend, manifests},
};

fn curl(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    cluster.run(cluster.client("curl").args(["-sS", "--max-time", "30", "--fail"]).args(arguments)).ok()
}

fn ingress(cluster: &Cluster, path: &str) -> Result<String> {
    curl(cluster, &["-H", &format!("Host: {HOST}"), &format!("http://{NODE_IP}{path}")])
}

fn first_pod(cluster: &Cluster) -> Result<String> {
    let names = cluster.kubectl("-n free4chat get pods -l app=apifree4chat -o name").ok()?;
    names.lines().next().map(|name| name.trim_start_matches("pod/").to_string()).context("no pod of the app")
}

#[test]
fn a_real_app_runs_from_its_manifests() -> Result<()> {
    let mut cluster = Cluster::start()?;
    build_backend(&cluster, "free4chat-backend:v1")?;
    deploy(&cluster)?;
    look_inside(&cluster)?;
    scale(&cluster, 3)?;
    update_under_load(&cluster)?;
    replace_a_deleted_pod(&cluster)?;
    survive_a_kill_under_load(&mut cluster)?;
    delete_everything(&cluster)
}

fn deploy(cluster: &Cluster) -> Result<()> {
    cluster.kubectl_with("apply", &manifests("free4chat-backend:v1")?).ok()?;
    cluster.kubectl("-n free4chat rollout status deployment/apifree4chat --timeout=180s").ok()?;
    eventually("the app answers through the ingress", || ingress(cluster, "/healthz"))?;
    ingress(cluster, "/api/stats")?;
    websocket_through_ingress()
}

/// Opens the signalling socket of a room: 101 and the app's protocol behind the ingress.
fn websocket_through_ingress() -> Result<()> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::net::TcpStream::connect((NODE_IP, 80)).context("connect to the ingress")?;
    write!(
        stream,
        "GET /lobby HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    check(status.starts_with("HTTP/1.1 101"), format!("expected 101 Switching Protocols, got {status}"))
}

fn look_inside(cluster: &Cluster) -> Result<()> {
    let pod = first_pod(cluster)?;
    let logs = cluster.kubectl(&format!("-n free4chat logs {pod}")).ok()?;
    check(logs.contains("8888"), format!("the log should name the port: {logs}"))?;
    forward_a_port(cluster, &pod)
}

fn forward_a_port(cluster: &Cluster, pod: &str) -> Result<()> {
    let mut command = cluster.client("kubectl");
    command.args(["-n", "free4chat", "port-forward", &format!("pod/{pod}"), "18888:8888"]);
    let mut forwarder = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let answer = eventually("port-forward answers", || curl(cluster, &["http://127.0.0.1:18888/healthz"]));
    forwarder.kill()?;
    forwarder.wait()?;
    answer.map(|_| ())
}

fn scale(cluster: &Cluster, replicas: usize) -> Result<()> {
    cluster.kubectl(&format!("-n free4chat scale deployment/apifree4chat --replicas={replicas}")).ok()?;
    cluster.kubectl("-n free4chat rollout status deployment/apifree4chat --timeout=180s").ok()?;
    let ready = cluster
        .kubectl("-n free4chat get deployment apifree4chat -o jsonpath={.status.readyReplicas}")
        .ok()?;
    check(ready == replicas.to_string(), format!("{ready} replicas are ready, expected {replicas}"))
}

fn update_under_load(cluster: &Cluster) -> Result<()> {
    build_backend(cluster, "free4chat-backend:v2")?;
    let load = Load::start(&format!("{NODE_IP}:80"), HOST, "/healthz", 4);
    cluster.kubectl("-n free4chat set image deployment/apifree4chat *=free4chat-backend:v2").ok()?;
    cluster.kubectl("-n free4chat rollout status deployment/apifree4chat --timeout=180s").ok()?;
    cluster.kubectl("-n free4chat rollout undo deployment/apifree4chat").ok()?;
    cluster.kubectl("-n free4chat rollout status deployment/apifree4chat --timeout=180s").ok()?;
    let tally = load.finish();
    let image =
        "-n free4chat get deployment apifree4chat -o jsonpath={.spec.template.spec.containers[0].image}";
    check(cluster.kubectl(image).ok()? == "free4chat-backend:v1", "undo brings the first image back")?;
    no_request_failed(tally)
}

fn no_request_failed(tally: coracle_cluster::Tally) -> Result<()> {
    if !tally.failures.is_empty() || tally.succeeded == 0 {
        bail!(
            "{} requests succeeded, {} failed: {:?}",
            tally.succeeded,
            tally.failures.len(),
            tally.failures.iter().take(5).collect::<Vec<_>>()
        );
    }
    Ok(())
}

fn replace_a_deleted_pod(cluster: &Cluster) -> Result<()> {
    // One that ends already is no pod to follow.
    let pod = eventually("the pods of the old image are gone", || {
        let names = cluster.kubectl("-n free4chat get pods -l app=apifree4chat -o name").ok()?;
        check(names.lines().count() == 3, names.as_str())?;
        first_pod(cluster)
    })?;
    let mut command = cluster.client("kubectl");
    command.args(["-n", "free4chat", "logs", "-f", &pod]).stdout(Stdio::piped());
    let mut follower = command.spawn()?;
    let output = follower.stdout.take().context("kubectl's output")?;
    let mut followed = BufReader::new(output).lines().map_while(Result::ok);
    check(followed.any(|line| line.contains("listens")), "logs -f shows what was logged before")?;
    cluster.kubectl(&format!("-n free4chat delete pod {pod} --wait=true --timeout=180s")).ok()?;
    check(followed.any(|line| line.contains("draining")), "logs -f shows what is logged meanwhile")?;
    check(follower.wait()?.success(), "logs -f ends with its container")?;
    cluster.kubectl("-n free4chat rollout status deployment/apifree4chat --timeout=180s").ok()?;
    let names = cluster.kubectl("-n free4chat get pods -o name").ok()?;
    check(!names.contains(&pod), format!("{pod} is still there"))
}

/// kill -9 while requests arrive: containers stay, and are the same ones after the restart.
fn survive_a_kill_under_load(cluster: &mut Cluster) -> Result<()> {
    let containers = "-n free4chat get pods -o jsonpath={.items[*].status.containerStatuses[*].containerID}";
    let restarts = "-n free4chat get pods -o jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    // The Deployment may still count the pod that was deleted before.
    let before = eventually("three containers run", || {
        let now = cluster.kubectl(containers).ok()?;
        check(now.split(' ').count() == 3, now.as_str())?;
        Ok(now)
    })?;
    let load = Load::start(&format!("{NODE_IP}:80"), HOST, "/healthz", 2);
    cluster.kill()?;
    cluster.up(&[])?;
    load.finish();
    eventually("the app answers after the restart", || ingress(cluster, "/healthz"))?;
    check(cluster.kubectl(containers).ok()? == before, "the containers are the same after a restart")?;
    check(!cluster.kubectl(restarts).ok()?.contains('1'), "no container was restarted")
}

fn delete_everything(cluster: &Cluster) -> Result<()> {
    cluster.kubectl("delete namespace free4chat --timeout=180s").ok()?;
    let left = cluster
        .kubectl("get pods,services,deployments,replicasets,configmaps,endpointslices -n free4chat -o name")
        .ok()?;
    check(left.is_empty(), format!("left behind: {left}"))
}
