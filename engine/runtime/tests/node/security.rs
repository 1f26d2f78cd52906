//! What a container may and may not.

use coracle_runtime::*;

use crate::{harness::*, tests};

tests!(
    a_plain_container_is_confined,
    a_user_has_no_capabilities,
    no_new_privileges_is_set_when_asked,
    a_localhost_profile_is_in_force,
    paths_are_masked_and_devices_denied,
    a_plain_container_sees_its_cgroups_and_changes_none,
    a_privileged_container_is_not_confined,
    exec_is_confined_as_its_container,
    mounts_have_the_same_flags_where_the_kernel_lacks_mount_setattr,
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
    let mut spec = node.script(&format!("{STATUS}; echo $HOME; echo again > /dev/stdout"));
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
    let mut spec = node.script("mkdir /x; echo $?");
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

async fn a_plain_container_sees_its_cgroups_and_changes_none() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let script = "grep -c ' - cgroup2* ' /proc/self/mountinfo; grep ' - cgroup2* ' /proc/self/mountinfo | grep -vc ' ro,nosuid'; \
                  for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do \
                  test ! -e $f || echo 500000000 > $f; done; mkdir /sys/fs/cgroup/x";
    let (_, log) = node.shell(script).await;
    let lines: Vec<_> = log.lines().collect();
    assert!(lines[0] != "0" && lines[1] == "0", "{log}");
    assert_eq!(log.matches("Read-only file system").count(), 2, "{log}");
}

async fn a_privileged_container_is_not_confined() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.script(&format!("{STATUS}; mount -t tmpfs x /tmp && echo mounted; ls /dev | wc -l"));
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

/// Linux 5.10, as far as mounts are concerned.
async fn mounts_have_the_same_flags_where_the_kernel_lacks_mount_setattr() {
    let usual = mount_flags().await;
    assert!(usual.contains(&"/sys ro,nosuid,nodev,noexec".into()), "{usual:?}");
    assert!(usual.contains(&"/data ro".into()), "{usual:?}");
    let rules = [(libc::SYS_mount_setattr, Vec::new())].into();
    let (absent, others) =
        (seccompiler::SeccompAction::Errno(libc::ENOSYS as u32), seccompiler::SeccompAction::Allow);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = seccompiler::SeccompFilter::new(rules, others, absent, arch).unwrap();
    let filter: seccompiler::BpfProgram = filter.try_into().unwrap();
    // Of this test's thread and of what it starts.
    seccompiler::apply_filter(&filter).unwrap();
    assert_eq!(mount_flags().await, usual);
}

/// `PATH FLAGS` of every mount of a container with volumes.
async fn mount_flags() -> Vec<String> {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.script("cat /proc/self/mountinfo; touch /data/x; echo $?");
    for (container_path, read_only) in [("/data", true), ("/home", false)] {
        let host_path = node.directory.path().join(&container_path[1..]);
        std::fs::create_dir_all(&host_path).unwrap();
        let container_path = container_path.into();
        spec.mounts.push(Mount { host_path, container_path, read_only, propagation: Propagation::Private });
    }
    let (_, log) = node.output(spec).await;
    assert!(log.contains("Read-only file system") && log.ends_with('1'), "{log}");
    let options = |text: &str| text.replace(",relatime", "");
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields.len() > 6).then(|| format!("{} {}", fields[4], options(fields[5])))
    };
    log.lines().filter_map(line).collect()
}
