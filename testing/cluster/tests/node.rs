//! What a pod may ask of its node: containers in order, environment, volumes, probes, limits, exec and copy.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result};
use coracle_cluster::{Cluster, Outcome, busybox, check, eventually};

fn with_busybox() -> Result<Cluster> {
    let cluster = Cluster::start()?;
    busybox(&cluster)?;
    Ok(cluster)
}

fn jsonpath(cluster: &Cluster, pod: &str, path: &str) -> Result<String> {
    cluster.kubectl(&format!("get pod {pod} -o jsonpath={{{path}}}")).ok()
}

fn phase_becomes(cluster: &Cluster, pod: &str, phase: &str) -> Result<()> {
    eventually(&format!("{pod} is {phase}"), || {
        let now = jsonpath(cluster, pod, ".status.phase")?;
        check(
            now == phase,
            format!("phase is {now}\n{}", cluster.kubectl(&format!("describe pod {pod}")).stdout),
        )
    })
}

fn exec(cluster: &Cluster, pod: &str, words: &[&str]) -> Outcome {
    cluster.run(cluster.client("kubectl").args(["exec", pod, "--"]).args(words))
}

const EVERYTHING: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, greeting: "hello"}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {word: swordfish}
---
apiVersion: v1
kind: Pod
metadata: {name: everything, labels: {app: everything}}
spec:
  terminationGracePeriodSeconds: 2
  initContainers:
  - {name: first, image: "busybox:test", command: [sh, -c, "echo one > /shared/order"], volumeMounts: [{name: shared, mountPath: /shared}]}
  - {name: second, image: "busybox:test", command: [sh, -c, "echo two >> /shared/order"], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, "echo started; exec sleep 3600"]
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: JOINED, value: "$(COLOUR)-$(WORD)"}
    envFrom: [{configMapRef: {name: settings}, prefix: FROM_}]
    resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 500m, memory: 32Mi}}
    securityContext: {runAsUser: 1000, runAsGroup: 2000, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
    readinessProbe: {exec: {command: [test, -f, /shared/order]}, periodSeconds: 1}
    volumeMounts:
    - {name: shared, mountPath: /shared}
    - {name: settings, mountPath: /etc/settings}
    - {name: projected, mountPath: /etc/projected}
  - name: helper
    image: busybox:test
    command: [sh, -c, "while true; do echo tick; sleep 1; done"]
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  - name: projected
    projected:
      sources:
      - {secret: {name: password}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
      - {serviceAccountToken: {path: token, expirationSeconds: 3600}}
"#;

#[test]
fn a_pod_gets_all_that_it_asks_of_its_node() -> Result<()> {
    let cluster = with_busybox()?;
    cluster.kubectl_with("apply", EVERYTHING).ok()?;
    cluster.kubectl("wait --for=condition=Ready pod/everything --timeout=180s").ok()?;
    let main = |words: &[&str]| {
        cluster.run(cluster.client("kubectl").args(["exec", "everything", "-c", "main", "--"]).args(words))
    };
    let cases: &[(&[&str], &str)] = &[
        (&["cat", "/shared/order"], "one\ntwo\n"),
        (
            &["sh", "-c", "echo $COLOUR $WORD $POD_NAME $LIMIT $JOINED $FROM_greeting"],
            "blue swordfish everything 32 blue-swordfish hello\n",
        ),
        (&["id", "-u"], "1000\n"),
        (&["id", "-g"], "2000\n"),
        (&["cat", "/etc/settings/colour"], "blue"),
        (&["cat", "/etc/projected/word"], "swordfish"),
        (&["cat", "/etc/projected/labels"], "app=\"everything\""),
        (&["grep", "Seccomp:", "/proc/self/status"], "Seccomp:\t2\n"),
        (&["grep", "NoNewPrivs:", "/proc/self/status"], "NoNewPrivs:\t1\n"),
        (&["grep", "CapEff:", "/proc/self/status"], "CapEff:\t0000000000000000\n"),
        (&["hostname"], "everything\n"),
    ];
    for (words, expected) in cases {
        let said = main(words).ok()?;
        check(said == *expected, format!("{words:?} said {said:?}, expected {expected:?}"))?;
    }
    main(&["touch", "/read-only"]).err()?;
    let address = main(&["sh", "-c", "echo $POD_IP"]).ok()?;
    check(address.trim() == jsonpath(&cluster, "everything", ".status.podIP")?, "fieldRef status.podIP")?;
    eventually("the helper's log grows", || {
        let log = cluster.kubectl("logs everything -c helper --tail=2").ok()?;
        check(log == "tick\ntick\n", log)
    })?;
    classes_weigh_what_their_pods_ask_for(&cluster)?;
    copy(&cluster)?;
    cluster.kubectl("delete pod everything --timeout=180s").ok()?;
    Ok(())
}

/// So that a request is worth the same in every class, and pods without one get what is left.
fn classes_weigh_what_their_pods_ask_for(cluster: &Cluster) -> Result<()> {
    let uid = jsonpath(cluster, "everything", ".metadata.uid")?;
    let mut find = std::process::Command::new("find");
    find.args(["/sys/fs/cgroup", "-ignore_readdir_race", "-path", &format!("*/burstable/pod{uid}")]);
    let found = cluster.run(&mut find).ok()?;
    let weights: Vec<String> = found
        .lines()
        .filter_map(|line| std::path::Path::new(line).parent()?.parent())
        .filter_map(|root| {
            let of = |class: &str| {
                let files = ["cpu.shares", "cpu.weight"].map(|file| root.join(class).join(file));
                files.iter().find_map(|file| std::fs::read_to_string(file).ok())
            };
            Some(format!("{} {}", of("burstable")?.trim(), of("besteffort")?.trim()))
        })
        .collect();
    // 50m, as shares of v1 or as a weight of v2.
    check(matches!(&weights[..], [one] if one == "51 2" || one == "2 1"), format!("weights: {weights:?}"))
}

fn copy(cluster: &Cluster) -> Result<()> {
    let local = cluster.dir().join("copied");
    std::fs::write(&local, "cargo")?;
    let path = local.to_string_lossy();
    cluster.kubectl(&format!("cp {path} everything:/shared/cargo -c main")).ok()?;
    cluster.kubectl(&format!("cp everything:/shared/cargo {path}.back -c main")).ok()?;
    check(std::fs::read_to_string(format!("{path}.back"))? == "cargo", "the copy came back as it went")
}

#[test]
fn exec_gives_exit_codes_input_and_a_terminal() -> Result<()> {
    let cluster = with_busybox()?;
    cluster.kubectl("run sleeper --image=busybox:test --command -- sleep 3600").ok()?;
    cluster.kubectl("wait --for=condition=Ready pod/sleeper --timeout=180s").ok()?;
    let said = exec(&cluster, "sleeper", &["sh", "-c", "exit 7"]).err()?;
    check(said.contains("command terminated with exit code 7"), said)?;
    let mut command = cluster.client("kubectl");
    command.args(["exec", "-i", "sleeper", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut cat = command.spawn()?;
    cat.stdin.take().context("piped")?.write_all(b"through and back")?;
    let output = cat.wait_with_output()?;
    check(output.stdout == b"through and back", format!("{output:?}"))?;
    let mut terminal = cluster.client("script");
    terminal.args(["-qec", "kubectl exec -it sleeper -- tty", "/dev/null"]);
    let said = cluster.run(&mut terminal).ok()?;
    check(said.contains("/dev/pts/"), said)
}

#[test]
fn containers_restart_as_their_policy_says() -> Result<()> {
    let cluster = with_busybox()?;
    cluster.kubectl("run once --image=busybox:test --restart=Never --command -- sh -c true").ok()?;
    phase_becomes(&cluster, "once", "Succeeded")?;
    let mut failing = cluster.client("kubectl");
    failing.args([
        "run",
        "fails",
        "--image=busybox:test",
        "--restart=Never",
        "--command",
        "--",
        "sh",
        "-c",
        "echo last words; exit 3",
    ]);
    cluster.run(&mut failing).ok()?;
    phase_becomes(&cluster, "fails", "Failed")?;
    check(
        jsonpath(&cluster, "fails", ".status.containerStatuses[0].state.terminated.exitCode")? == "3",
        "exit code",
    )?;
    check(cluster.kubectl("logs fails").ok()? == "last words\n", "the log outlives the container")?;
    let mut crashing = cluster.client("kubectl");
    crashing.args(["run", "crashes", "--image=busybox:test", "--command", "--", "sh", "-c", "exit 1"]);
    cluster.run(&mut crashing).ok()?;
    eventually("a crashing container is held back", || {
        let reason = jsonpath(&cluster, "crashes", ".status.containerStatuses[0].state.waiting.reason")?;
        check(reason == "CrashLoopBackOff", format!("reason is `{reason}`"))
    })
}

#[test]
fn a_failing_liveness_probe_restarts_its_container() -> Result<()> {
    let cluster = with_busybox()?;
    let manifest = r#"
apiVersion: v1
kind: Pod
metadata: {name: fragile}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: fragile
    image: busybox:test
    command: [sh, -c, "touch /tmp/alive; sleep 3600"]
    startupProbe: {exec: {command: [test, -f, /tmp/alive]}, periodSeconds: 1, failureThreshold: 180}
    livenessProbe: {exec: {command: [test, -f, /tmp/alive]}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
"#;
    cluster.kubectl_with("apply", manifest).ok()?;
    cluster.kubectl("wait --for=condition=Ready pod/fragile --timeout=180s").ok()?;
    exec(&cluster, "fragile", &["rm", "/tmp/alive"]).ok()?;
    eventually("the container is restarted", || {
        let count = jsonpath(&cluster, "fragile", ".status.containerStatuses[0].restartCount")?;
        check(count != "0", format!("restart count is {count}"))
    })?;
    // Events come on a way of their own.
    eventually("its events tell why", || {
        let events = cluster.kubectl("get events --field-selector involvedObject.name=fragile").ok()?;
        check(events.contains("Unhealthy") && events.contains("Killing"), events)
    })
}

#[test]
fn logs_of_a_pod_that_goes_beside_a_kill_go_too() -> Result<()> {
    let mut cluster = with_busybox()?;
    cluster.kubectl("run done --image=busybox:test --restart=Never --command -- echo bye").ok()?;
    phase_becomes(&cluster, "done", "Succeeded")?;
    cluster.kubectl("delete pod done --wait=false").ok()?;
    cluster.kill()?;
    cluster.up(&[])?;
    let logs = cluster.dir().join("pod-logs");
    eventually("no folder of its logs is left", || {
        let left: Vec<_> = std::fs::read_dir(&logs)?.flatten().map(|entry| entry.file_name()).collect();
        check(left.is_empty(), format!("left: {left:?}"))
    })
}

#[test]
fn down_lets_pods_end() -> Result<()> {
    let cluster = with_busybox()?;
    let kept = cluster.dir().join("kept");
    std::fs::create_dir(&kept)?;
    let manifest = format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: keeper}}
spec:
  volumes: [{{name: kept, hostPath: {{path: "{}"}}}}]
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, "trap 'echo term >> /kept/said; exit' TERM; sleep 3600 & wait"]
    lifecycle: {{preStop: {{exec: {{command: [sh, -c, "echo hook >> /kept/said"]}}}}}}
    volumeMounts: [{{name: kept, mountPath: /kept}}]
"#,
        kept.display()
    );
    cluster.kubectl_with("apply", &manifest).ok()?;
    cluster.kubectl("wait --for=condition=Ready pod/keeper --timeout=180s").ok()?;
    let told = cluster.run(&mut cluster.coracle("down")).ok()?;
    check(told.contains("ending pods, at most 30 s: default/keeper"), &told)?;
    let said = std::fs::read_to_string(kept.join("said"))?;
    check(said == "hook\nterm\n", said)
}

#[test]
fn down_removes_every_trace() -> Result<()> {
    let cluster = with_busybox()?;
    cluster.kubectl("run sleeper --image=busybox:test --command -- sleep 3600").ok()?;
    cluster.kubectl("wait --for=condition=Ready pod/sleeper --timeout=180s").ok()?;
    let uid = jsonpath(&cluster, "sleeper", ".metadata.uid")?;
    cluster.run(cluster.coracle("down").args(["--grace-period", "0"])).ok()?;
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts")?;
    let data = cluster.dir().join("data").to_string_lossy().into_owned();
    let left: Vec<&str> =
        mounts.lines().filter(|line| line.contains(&data) || line.contains("/run/coracle")).collect();
    check(left.is_empty(), format!("mounts left: {left:?}"))?;
    let links = cluster.run(cluster.client("ip").args(["-o", "link"])).ok()?;
    check(!links.contains("coracle0") && !links.contains("veth"), format!("links left: {links}"))?;
    let tables = cluster.run(cluster.client("nft").args(["list", "tables"])).ok()?;
    check(!tables.contains("coracle"), format!("tables left: {tables}"))?;
    // Others' cgroups may go while it looks.
    let mut find = cluster.client("find");
    find.args(["/sys/fs/cgroup", "-ignore_readdir_race", "-name", &format!("*{uid}*")]);
    let cgroups = cluster.run(&mut find).ok()?;
    check(cgroups.is_empty(), format!("cgroups left: {cgroups}"))
}
