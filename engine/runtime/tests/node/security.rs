//! What a container may and may not.

use coracle_runtime::*;

use crate::{harness::*, tests};

tests!(
    a_plain_container_is_confined,
    a_user_has_no_capabilities,
    no_new_privileges_is_set_when_asked,
    a_localhost_profile_is_in_force,
    paths_are_masked_and_devices_denied,
    a_privileged_container_is_not_confined,
    exec_is_confined_as_its_container,
);

const STATUS: &str =
    "grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd|CapPrm|CapInh|CapAmb):' /proc/self/status; id";

fn has(log: &str, name: &str, value: &str) {
    let line = log.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    assert_eq!(line, Some(value), "{name} in {log}");
}

async fn a_plain_container_is_confined() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let (_, log) = node.shell(&format!("{STATUS}; unshare -m true; mount -t tmpfs x /tmp")).await;
    has(&log, "Seccomp", "2");
    has(&log, "NoNewPrivs", "0");
    for name in ["CapEff", "CapPrm", "CapBnd"] {
        has(&log, name, "00000000a80425fb");
    }
    has(&log, "CapInh", "0000000000000000");
    assert_eq!(
        log.matches("Operation not permitted").count() + log.matches("permission denied").count(),
        2,
        "{log}"
    );
}

async fn a_user_has_no_capabilities() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["sh", "-c", &format!("{STATUS}; echo $HOME; echo again > /dev/stdout")]);
    spec.user = User { uid: 1000, gid: 2000, additional_gids: vec![3000] };
    let (_, log) = node.output(spec).await;
    has(&log, "Seccomp", "2");
    has(&log, "CapEff", "0000000000000000");
    has(&log, "CapBnd", "00000000a80425fb");
    assert!(
        log.contains("uid=1000(web) gid=2000 groups=2000,3000") || log.contains("gid=2000 groups=3000"),
        "{log}"
    );
    assert!(log.ends_with("/home\nagain"), "{log}");
}

async fn no_new_privileges_is_set_when_asked() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["sh", "-c", STATUS]);
    spec.no_new_privileges = true;
    spec.capabilities = vec!["NET_BIND_SERVICE".into()];
    let (_, log) = node.output(spec).await;
    has(&log, "NoNewPrivs", "1");
    has(&log, "Seccomp", "2");
    has(&log, "CapEff", "0000000000000400");
}

async fn a_localhost_profile_is_in_force() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let profile = node.directory.path().join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":36}]}"#;
    std::fs::write(&profile, text).unwrap();
    let mut spec = node.spec(&["sh", "-c", "mkdir /x; echo $?"]);
    spec.seccomp = Seccomp::Localhost(profile);
    let (_, log) = node.output(spec).await;
    assert!(log.contains("File name too long") && log.ends_with('1'), "{log}");
    let mut spec = node.spec(&["true"]);
    spec.seccomp = Seccomp::Localhost("/no/such.json".into());
    let error = node.runtime().create_container(spec).await.unwrap_err().to_string();
    assert!(error.contains("cannot load seccomp profile \"/no/such.json\""), "{error}");
}

async fn paths_are_masked_and_devices_denied() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let script = "wc -c < /proc/interrupts; echo 1 > /proc/sys/kernel/panic; mknod /disk b 254 0 && head -c 1 /disk; \
                  touch /sys/x; ls /sys/fs/cgroup | head -n 1; head -c 3 /dev/zero | wc -c; ls /sys/firmware | wc -l";
    let (_, log) = node.shell(script).await;
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.contains(&"0"), "{log}");
    assert!(log.contains("/disk: Operation not permitted"), "{log}");
    assert_eq!(log.matches("Read-only file system").count(), 2, "{log}");
    assert!(log.ends_with("3\n0"), "{log}");
}

async fn a_privileged_container_is_not_confined() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&[
        "sh",
        "-c",
        &format!("{STATUS}; mount -t tmpfs x /tmp && echo mounted; ls /dev | wc -l"),
    ]);
    spec.privileged = true;
    let (_, log) = node.output(spec).await;
    has(&log, "Seccomp", "0");
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    has(&log, "CapEff", own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap());
    assert!(log.contains("mounted"), "{log}");
    assert!(log.lines().last().unwrap().parse::<usize>().unwrap() > 20, "{log}");
}

async fn exec_is_confined_as_its_container() {
    let node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["sleep", "1000"]);
    spec.user = User { uid: 1000, gid: 2000, additional_gids: vec![3000] };
    spec.no_new_privileges = true;
    let user = node.start(spec).await;
    let mut spec = node.spec(&["sleep", "1000"]);
    spec.name = "root".into();
    let root = node.start(spec).await;
    let (_, log) = crate::sessions::run(&node, &user, &["sh", "-c", STATUS]).await;
    has(&log, "Seccomp", "2");
    has(&log, "NoNewPrivs", "1");
    has(&log, "CapEff", "0000000000000000");
    has(&log, "CapBnd", "00000000a80425fb");
    assert!(log.contains("uid=1000(web) gid=2000"), "{log}");
    let (_, log) =
        crate::sessions::run(&node, &root, &["sh", "-c", &format!("{STATUS}; unshare -m true 2>&1")]).await;
    has(&log, "Seccomp", "2");
    has(&log, "NoNewPrivs", "0");
    has(&log, "CapEff", "00000000a80425fb");
    assert!(log.contains("Operation not permitted"), "{log}");
}
