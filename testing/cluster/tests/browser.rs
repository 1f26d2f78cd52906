//! Two real browsers meet in a room of the reference app: signalling through the Ingress, voice through the SFU.

use anyhow::{Context, Result, bail};
use coracle_cluster::{
    Cluster, NODE_IP, eventually,
    free4chat::{HOST, build_backend, manifests, repository},
};

/// What `testing/browser/two_browsers.mjs` prints.
#[derive(serde::Deserialize)]
struct Report {
    ok: bool,
    checks: Checks,
}

#[derive(serde::Deserialize)]
struct Checks {
    received: Received,
}

/// Audio packets that each browser counted.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    ada: u64,
    bob: u64,
}

#[test]
fn two_browsers_hear_each_other_from_the_node_and_from_another_machine() -> Result<()> {
    let cluster = Cluster::start()?;
    build_backend(&cluster, "free4chat-backend:browser")?;
    cluster.kubectl_with("apply", &manifests("free4chat-backend:browser")?).ok()?;
    cluster.kubectl("-n free4chat rollout status deployment/apifree4chat --timeout=180s").ok()?;
    eventually("the page comes through the ingress", || page(&cluster))?;

    // On the node, browsers reach the pod's own address.
    meet(&cluster, "node").context("browsers on the node")?;
    // Another machine knows the node's address only: voice takes the NodePort.
    cluster.peer.enter(|| meet(&cluster, "peer"))?.context("browsers on another machine")
}

fn page(cluster: &Cluster) -> Result<()> {
    let mut curl = cluster.client("curl");
    curl.args(["-sS", "--fail", "--max-time", "30", "-H", &format!("Host: {HOST}")]);
    let page = cluster.run(curl.arg(format!("http://{NODE_IP}/lobby"))).ok()?;
    if !page.contains("<title>free4chat</title>") {
        bail!("this is not the page: {page}");
    }
    Ok(())
}

fn meet(cluster: &Cluster, room: &str) -> Result<()> {
    let mut command = cluster.client("node");
    command.arg(repository().join("testing/browser/two_browsers.mjs")).args([
        &format!("http://{HOST}"),
        room,
        "--map",
        &format!("{HOST}={NODE_IP}"),
    ]);
    let stdout = cluster.run(&mut command).ok()?;
    let report: Report = serde_json::from_str(&stdout).with_context(|| format!("read `{stdout}`"))?;
    let Received { ada, bob } = report.checks.received;
    if !report.ok || ada == 0 || bob == 0 {
        bail!("the browsers did not hear each other: {stdout}");
    }
    Ok(())
}
