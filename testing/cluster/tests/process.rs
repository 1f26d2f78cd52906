//! The process as its operator meets it: start, stop, status, kubeconfig, settings.

use std::time::Duration;

use anyhow::Result;
use coracle_cluster::{Cluster, busybox, check};

/// Promised are 5 s; this leaves room for a machine that is busy with other things.
const STOP_BOUND: Duration = Duration::from_secs(10);

#[test]
fn pods_outlive_a_stop_and_are_adopted() -> Result<()> {
    let mut cluster = Cluster::start()?;
    busybox(&cluster)?;
    cluster.kubectl("run sleeper --image=busybox:test --command -- sleep 3617").ok()?;
    cluster.kubectl("wait --for=condition=Ready pod/sleeper --timeout=60s").ok()?;
    let container = "get pod sleeper -o jsonpath={.status.containerStatuses[0].containerID}";
    let before = cluster.kubectl(container).ok()?;
    let took = cluster.stop()?;
    check(took < STOP_BOUND, format!("SIGTERM took {took:?}"))?;
    let asleep = cluster.run(cluster.client("pgrep").args(["-fx", "sleep 3617"]));
    check(asleep.success, "the container runs while Coracle does not")?;

    cluster.up(&[])?;
    check(cluster.kubectl(container).ok()? == before, "the same container is adopted")?;
    cluster.kubectl("exec sleeper -- true").ok()?;
    cluster.kubectl("delete pod sleeper --grace-period=0 --force").ok()?;
    Ok(())
}

#[test]
fn the_operator_commands_tell_the_truth() -> Result<()> {
    let mut cluster = Cluster::prepare()?;
    let absent = cluster.run(&mut cluster.coracle("status"));
    check(!absent.success && absent.stdout.contains("not running"), absent.stdout)?;
    cluster.up(&[])?;
    let status = cluster.run(&mut cluster.coracle("status")).ok()?;
    check(status.contains("node        node Ready"), status)?;
    let doctor = cluster.run(&mut cluster.coracle("doctor"));
    check(doctor.stdout.contains("ok       kernel"), doctor.stdout)?;
    let second = cluster.run(&mut cluster.coracle("up")).err()?;
    check(second.contains("another coracle runs on") && second.contains("hint: "), second)?;
    kubeconfig(&cluster)?;
    settings(&cluster)
}

fn kubeconfig(cluster: &Cluster) -> Result<()> {
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(cluster.kubeconfig())?);
    check(mode & 0o777 == 0o600, format!("the kubeconfig has mode {mode:o}"))?;
    let mut command = cluster.coracle("kubeconfig");
    let made = cluster.run(command.args(["--expiry-seconds", "600", "--namespace", "kube-system"])).ok()?;
    let file = cluster.dir().join("short-lived");
    std::fs::write(&file, made)?;
    let services =
        cluster.run(cluster.client("kubectl").env("KUBECONFIG", &file).args(["get", "services"])).ok()?;
    check(services.contains("kube-dns"), services)
}

fn settings(cluster: &Cluster) -> Result<()> {
    let file = cluster.dir().join("coracle.yaml");
    std::fs::write(&file, "node-pi: 10.0.0.1\n")?;
    let said = cluster.run(cluster.coracle("up").arg("--config").arg(&file)).err()?;
    check(said.contains("unknown key `node-pi`, did you mean `node-ip`?"), said)?;
    let said = cluster.run(cluster.coracle("up").args(["--node-ip", "not-an-address"])).err()?;
    check(said.contains("read setting `node-ip` from `not-an-address`"), said)
}
