//! The process as its operator meets it: start, stop, status, kubeconfig, settings.

use std::time::Duration;

use anyhow::Result;
use coracle_cluster::{Cluster, busybox, check, eventually};

/// Promised are 5 s; this leaves room for a machine that is busy with other things.
const STOP_BOUND: Duration = Duration::from_secs(10);

#[test]
fn pods_outlive_a_stop_and_are_adopted() -> Result<()> {
    let mut cluster = Cluster::start()?;
    busybox(&cluster)?;
    cluster.kubectl("run sleeper --image=busybox:test --command -- sleep 3617").ok()?;
    cluster.kubectl("wait --for=condition=Ready pod/sleeper --timeout=180s").ok()?;
    let container = "get pod sleeper -o jsonpath={.status.containerStatuses[0].containerID}";
    let before = cluster.kubectl(container).ok()?;
    let took = cluster.stop()?;
    check(took < STOP_BOUND, format!("SIGTERM took {took:?}"))?;
    let other = cluster.run(cluster.coracle("up").args(["--node-name", "other"])).err()?;
    check(other.contains("the data are those of node `node`, not of `other`"), other)?;
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
    cluster.kubectl("get csinode node").ok()?;
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
    let made = cluster
        .run(command.env("CORACLE_NAMESPACE", "kube-system").args(["--expiry-seconds", "600"]))
        .ok()?;
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
    check(said.contains("setting `node-ip` is `not-an-address`, expected an IPv4 address"), said)?;
    for (flags, says) in [
        (["--node-ip", "198.51.100.1"], "setting `node-ip` (198.51.100.1) is no address of this machine"),
        (
            ["--pod-cidr", "10.43.8.0/24"],
            "`pod-cidr` (10.43.8.0/24) and `service-cidr` (10.43.0.0/16) overlap",
        ),
    ] {
        let said = cluster.run(cluster.coracle("up").args(flags)).err()?;
        check(said.contains(says), said)?;
    }
    let (nobody, unread) = std::io::pipe()?;
    drop(nobody);
    let said = cluster.run(cluster.coracle("status").stdout(unread));
    check(said.stderr.is_empty(), said.stderr)
}

const WORKLOAD: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {word: swordfish}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleeper}
spec:
  selector: {matchLabels: {app: sleeper}}
  template:
    metadata: {labels: {app: sleeper}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: main, image: "busybox:test", command: [sleep, "3618"]}
"#;

/// The log lies on the same full disk, or a service's pipe is gone.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() -> Result<()> {
    let mut cluster = Cluster::prepare()?;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    cluster.up_with_log(&[], full)?;
    // Each ConfigMap is a warning in the log: nobody answers there.
    let webhook = "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: w}
webhooks: [{name: w.example.com, clientConfig: {url: 'https://127.0.0.1:9/'}, failurePolicy: Ignore, sideEffects: None,
  admissionReviewVersions: [v1], rules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]}]";
    cluster.kubectl_with("apply", webhook).ok()?;
    for name in ["a", "b", "c"] {
        cluster.kubectl(&format!("create configmap {name}")).ok()?;
    }
    Ok(())
}

#[test]
fn a_backup_brings_the_cluster_back_on_an_empty_machine() -> Result<()> {
    let mut cluster = Cluster::start()?;
    busybox(&cluster)?;
    cluster.kubectl_with("apply", WORKLOAD).ok()?;
    cluster.kubectl("rollout status deployment/sleeper --timeout=180s").ok()?;
    let token = cluster.kubectl("create token default --duration=2h").ok()?;
    let uid = cluster.kubectl("get secret password -o jsonpath={.metadata.uid}").ok()?;
    let old_kubeconfig = cluster.dir().join("old-kubeconfig");
    std::fs::copy(cluster.kubeconfig(), &old_kubeconfig)?;

    let file = cluster.dir().join("backup");
    let said = cluster.run(cluster.coracle("backup").arg(&file)).ok()?;
    check(said.contains("objects at revision") && said.contains("its mode is 0600"), &said)?;
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file)?);
    check(mode & 0o777 == 0o600, format!("the backup has mode {mode:o}"))?;
    cluster.kubectl("create configmap later").ok()?;
    let said = cluster.run(cluster.coracle("restore").arg(&file)).err()?;
    check(said.contains("another coracle runs on"), said)?;

    cluster.stop()?;
    let stopped = cluster.dir().join("backup-stopped");
    cluster.run(cluster.coracle("backup").arg(&stopped)).ok()?;
    check(std::fs::read_to_string(&stopped)?.contains("\"name\":\"later\""), "the second backup is later")?;
    let (key, away) = (cluster.dir().join("data/pki/ca.key"), cluster.dir().join("ca.key"));
    std::fs::rename(&key, &away)?;
    let said = cluster.run(cluster.coracle("backup").arg(cluster.dir().join("useless"))).err()?;
    check(said.contains("pki/ca.key` is missing"), said)?;
    std::fs::rename(&away, &key)?;
    let said = cluster.run(cluster.coracle("restore").arg(&file)).err()?;
    check(said.contains("holds a cluster already") && said.contains("hint: use an empty --data-dir"), said)?;
    cluster.run(&mut cluster.coracle("down")).ok()?;
    std::fs::remove_dir_all(cluster.dir().join("data"))?;

    let damaged = cluster.dir().join("damaged");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&damaged, &text[..text.len() - 100])?;
    let said = cluster.run(cluster.coracle("restore").arg(&damaged)).err()?;
    check(said.contains("the backup is cut off after line"), said)?;
    check(!cluster.dir().join("data").exists(), "a restore that failed leaves nothing behind")?;

    let said = cluster.run(cluster.coracle("restore").arg(&file)).ok()?;
    check(said.contains("coracle up --node-name node"), said)?;
    cluster.up(&[])?;
    busybox(&cluster)?;
    let mut command = cluster.client("kubectl");
    let found = cluster.run(command.env("KUBECONFIG", &old_kubeconfig).args([
        "get",
        "secret",
        "password",
        "-o",
        "jsonpath={.metadata.uid} {.data.word}",
    ]));
    check(found.ok()? == format!("{uid} c3dvcmRmaXNo"), "the old kubeconfig reads the old Secret")?;
    let whoami = cluster.run(cluster.client("kubectl").args(["--kubeconfig", "/dev/null"]).args([
        "--server",
        &format!("https://{}:6443", coracle_cluster::NODE_IP),
        "--insecure-skip-tls-verify",
        "--token",
        token.trim(),
        "auth",
        "whoami",
    ]));
    check(whoami.ok()?.contains("system:serviceaccount:default:default"), "the old token works")?;
    check(!cluster.kubectl("get configmap later").success, "what came after the backup is not there")?;
    // The backup says that the pod is ready; whether it is, only the pod itself tells.
    eventually("the pod runs again", || cluster.kubectl("exec deployment/sleeper -- true").ok()).map(drop)
}
