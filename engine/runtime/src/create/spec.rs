//! The OCI runtime specification of a container: what stock nodes (containerd's CRI plugin) give it.
//!
//! Kept true: every container has the default mounts, masks and devices unless its spec asks otherwise.
//! Source:    https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::capabilities::CapabilitySet;
use crate::{
    api::{ContainerSpec, Mount, Propagation},
    cgroup::device_filter,
    record::{self, SandboxRecord},
};

pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What differs between machines and moments; the rest follows from the specs.
pub struct Surroundings {
    pub rootfs: PathBuf,
    pub cgroup: String,
    /// Where its v1 tree is mounted; on a unified machine `libcontainer` mounts it.
    pub cgroup_tree: Option<PathBuf>,
    /// Capabilities that nobody can exceed.
    pub available: CapabilitySet,
    /// For privileged containers: the devices of the machine.
    pub devices: Vec<Value>,
    pub open_files: u64,
}

/// What the process gets in the end.
pub fn capabilities(spec: &ContainerSpec, available: CapabilitySet) -> CapabilitySet {
    let wanted =
        if spec.privileged { CapabilitySet::all() } else { CapabilitySet::from_names(&spec.capabilities) };
    wanted.intersect(available)
}

/// `libcontainer` gets more capabilities than the container: loading a seccomp filter needs them, and our executor
/// lowers them right after (see `process.rs`).
pub fn build(sandbox: &SandboxRecord, spec: &ContainerSpec, around: &Surroundings) -> Value {
    let needed =
        CapabilitySet::from_names(&["SYS_ADMIN".into(), "SETPCAP".into()]).intersect(around.available);
    let held = capabilities(spec, around.available).union(needed).names();
    let unmasked = spec.privileged || spec.unmasked_proc;
    let volumes = &spec.mounts;
    let propagation = match volumes.iter().map(|mount| mount.propagation).max_by_key(|kind| *kind as u8) {
        Some(Propagation::Bidirectional) => "shared",
        Some(Propagation::HostToContainer) => "slave",
        _ => "private",
    };
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": around.rootfs, "readonly": spec.read_only_root },
        "process": {
            "terminal": spec.tty,
            "user": { "uid": spec.user.uid, "gid": spec.user.gid, "additionalGids": spec.user.additional_gids },
            "args": spec.argv,
            "env": [format!("PATH={DEFAULT_PATH}")],
            "cwd": "/",
            "capabilities": {
                "bounding": held, "effective": held, "permitted": held, "inheritable": [], "ambient": []
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": around.open_files, "soft": around.open_files }],
            "noNewPrivileges": spec.no_new_privileges
        },
        "mounts": mounts(sandbox, spec, around.cgroup_tree.as_deref()),
        "linux": {
            "namespaces": namespaces(sandbox, spec),
            "cgroupsPath": around.cgroup,
            "rootfsPropagation": propagation,
            "resources": { "devices": device_rules(spec) },
            "devices": around.devices,
            "maskedPaths": if unmasked { Vec::new() } else { MASKED.to_vec() },
            "readonlyPaths": if unmasked { Vec::new() } else { READ_ONLY.to_vec() }
        }
    })
}

fn namespaces(sandbox: &SandboxRecord, spec: &ContainerSpec) -> Vec<Value> {
    let pod = &sandbox.spec;
    let pinned =
        |kind: &str, file: &str| json!({ "type": kind, "path": record::namespace(&sandbox.run, file) });
    let mut namespaces = vec![json!({ "type": "mount" })];
    if pod.private_network {
        namespaces.push(pinned("network", "net"));
        namespaces.push(pinned("uts", "uts"));
    }
    if !pod.host_ipc {
        namespaces.push(pinned("ipc", "ipc"));
    }
    match (pod.host_pid, pod.share_process_namespace) {
        (true, _) => {}
        (false, true) => namespaces.push(pinned("pid", "pid")),
        (false, false) => namespaces.push(json!({ "type": "pid" })),
    }
    if !spec.privileged {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    namespaces
}

/// Defaults first, then the volumes; those that lie deeper come later, so that none hides another.
fn mounts(sandbox: &SandboxRecord, spec: &ContainerSpec, cgroup_tree: Option<&Path>) -> Vec<Value> {
    let access = if spec.privileged { "rw" } else { "ro" };
    let shm = if sandbox.spec.host_ipc { PathBuf::from("/dev/shm") } else { sandbox.run.join("shm") };
    let default = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let mount = json!({ "destination": destination, "type": kind, "source": source, "options": options });
        (PathBuf::from(destination), mount)
    };
    let mut all = vec![
        default("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        default("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        default(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        default("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        default("/dev/shm", "bind", &shm.to_string_lossy(), &["rbind", "rw", "nosuid", "noexec", "nodev"]),
        default("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
    ];
    let cgroup =
        |kind: &str, source: &str, options: &[&str]| default("/sys/fs/cgroup", kind, source, options);
    all.push(match cgroup_tree {
        _ if spec.privileged => {
            cgroup("bind", "/sys/fs/cgroup", &["rbind", "rw", "nosuid", "noexec", "nodev"])
        }
        Some(tree) => cgroup("bind", &tree.to_string_lossy(), &["rbind", "nosuid", "noexec", "nodev", "ro"]),
        None => cgroup("cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    });
    all.retain(|(destination, _)| !spec.mounts.iter().any(|mount| same(&mount.container_path, destination)));
    all.extend(spec.mounts.iter().map(|mount| (mount.container_path.clone(), volume(mount))));
    all.sort_by_key(|(destination, _)| destination.components().count());
    all.into_iter().map(|(_, mount)| mount).collect()
}

pub(super) fn same(left: &Path, right: &Path) -> bool {
    left.components().eq(right.components())
}

fn volume(mount: &Mount) -> Value {
    let access = if mount.read_only { "ro" } else { "rw" };
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    json!({
        "destination": mount.container_path, "type": "bind", "source": mount.host_path,
        "options": ["rbind", access, propagation]
    })
}

/// For cgroup v1; on v2 `cgroup::device_filter` says the same.
fn device_rules(spec: &ContainerSpec) -> Vec<Value> {
    if spec.privileged || spec.devices_all {
        return vec![json!({ "allow": true, "access": "rwm" })];
    }
    let mut rules = vec![
        json!({ "allow": false, "access": "rwm" }),
        json!({ "allow": true, "type": "c", "access": "m" }),
        json!({ "allow": true, "type": "b", "access": "m" }),
    ];
    for (major, minor) in device_filter::ALLOWED {
        let mut rule = json!({ "allow": true, "type": "c", "access": "rwm", "major": major });
        if let Some(minor) = minor {
            rule["minor"] = json!(minor);
        }
        rules.push(rule);
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Resources, SandboxSpec, Seccomp, User};

    fn sandbox() -> SandboxRecord {
        let spec = SandboxSpec {
            pod_uid: "u".into(),
            namespace: "default".into(),
            name: "web".into(),
            hostname: "web".into(),
            private_network: true,
            host_pid: false,
            host_ipc: false,
            share_process_namespace: false,
            sysctls: Default::default(),
            cgroup: "burstable/podu".into(),
            resources: Resources::default(),
            log_dir: "/logs".into(),
        };
        SandboxRecord {
            spec,
            run: "/run/coracle/pods/u".into(),
            cgroup: "/coracle/burstable/podu".into(),
            shim_cgroup: "/coracle/shims".into(),
            log_max_bytes: 1,
            log_max_files: 1,
        }
    }

    fn container() -> ContainerSpec {
        ContainerSpec {
            pod_uid: "u".into(),
            name: "app".into(),
            attempt: 0,
            image: "i".into(),
            image_id: "sha256:1".into(),
            argv: vec!["sh".into()],
            env: vec![],
            working_dir: "/".into(),
            mounts: vec![],
            image_volumes: vec![],
            devices_all: false,
            user: User::default(),
            capabilities: vec!["CHOWN".into()],
            privileged: false,
            no_new_privileges: false,
            read_only_root: false,
            seccomp: Seccomp::RuntimeDefault,
            unmasked_proc: false,
            tty: false,
            stdin: false,
            stdin_once: false,
            resources: Resources::default(),
        }
    }

    fn around() -> Surroundings {
        Surroundings {
            rootfs: "/rootfs".into(),
            cgroup: "/coracle/x".into(),
            cgroup_tree: None,
            available: CapabilitySet::all(),
            devices: vec![],
            open_files: 1024,
        }
    }

    fn destinations(spec: &ContainerSpec) -> Vec<String> {
        let mounts = build(&sandbox(), spec, &around())["mounts"].clone();
        mounts
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| mount["destination"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn libcontainer_understands_the_specification() {
        let value = build(&sandbox(), &container(), &around());
        let spec: oci_spec::runtime::Spec = serde_json::from_value(value).unwrap();
        assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
    }

    #[test]
    fn a_volume_replaces_the_default_mount_at_its_path_and_deeper_ones_come_later() {
        let mut spec = container();
        for path in ["/data/deep/er", "/dev/shm", "/data"] {
            let (host_path, container_path) = ("/v".into(), path.into());
            spec.mounts.push(Mount {
                host_path,
                container_path,
                read_only: false,
                propagation: Propagation::Private,
            });
        }
        let found = destinations(&spec);
        assert_eq!(found.iter().filter(|path| *path == "/dev/shm").count(), 1);
        assert!(
            found.iter().position(|path| path == "/data")
                < found.iter().position(|path| path == "/data/deep/er")
        );
    }

    #[test]
    fn a_privileged_container_has_no_masks_and_every_device() {
        let mut spec = container();
        spec.privileged = true;
        let linux = build(&sandbox(), &spec, &around())["linux"].clone();
        assert_eq!(linux["maskedPaths"], json!([]));
        assert_eq!(linux["resources"]["devices"], json!([{ "allow": true, "access": "rwm" }]));
    }

    #[test]
    fn host_network_shares_network_and_host_name() {
        let mut record = sandbox();
        record.spec.private_network = false;
        let kinds: Vec<_> =
            namespaces(&record, &container()).iter().map(|entry| entry["type"].clone()).collect();
        assert_eq!(kinds, ["mount", "ipc", "pid", "cgroup"]);
    }
}
