//! Pod and container `securityContext`, merged: capabilities, seccomp, users, privilege.
//!
//! Invariant: pure. The container's field wins over the pod's.
//! Source:    https://kubernetes.io/docs/tasks/configure-pod-container/security-context/

use std::path::{Path, PathBuf};

use coracle_runtime::Seccomp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, SeccompProfile};

/// What containers may do unless they say otherwise: containerd's list.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

const ALL_CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

#[derive(Clone, Debug)]
pub struct Security {
    pub privileged: bool,
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    pub read_only_root: bool,
    pub seccomp: Seccomp,
    pub unmasked_proc: bool,
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub run_as_non_root: bool,
    /// fsGroup and supplementalGroups.
    pub additional_gids: Vec<u32>,
    /// Of the image's /etc/group, the user's groups are added too: supplementalGroupsPolicy Merge, the default.
    pub merges_image_groups: bool,
}

impl Security {
    /// All groups of a user who has these in the image: the primary one leads, none stands twice.
    pub fn groups(&self, primary: u32, of_image: &[u32]) -> Vec<u32> {
        let of_image = if self.merges_image_groups { of_image } else { &[] };
        let mut groups = Vec::new();
        for group in [primary].iter().chain(of_image).chain(&self.additional_gids) {
            if !groups.contains(group) {
                groups.push(*group);
            }
        }
        groups
    }
}

fn bare(capability: &str) -> String {
    let upper = capability.to_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

fn capabilities(add: &[String], drop: &[String]) -> Vec<String> {
    let add: Vec<String> = add.iter().map(|c| bare(c)).collect();
    let drop: Vec<String> = drop.iter().map(|c| bare(c)).collect();
    let base: &[&str] = match (add.iter().any(|c| c == "ALL"), drop.iter().any(|c| c == "ALL")) {
        (true, _) => &ALL_CAPABILITIES,
        (false, true) => &[],
        (false, false) => &DEFAULT_CAPABILITIES,
    };
    let mut set: std::collections::BTreeSet<String> = base.iter().map(|c| (*c).to_owned()).collect();
    set.retain(|c| !drop.contains(c));
    set.extend(add.into_iter().filter(|c| c != "ALL"));
    set.into_iter().map(|c| format!("CAP_{c}")).collect()
}

fn seccomp(profile: Option<&SeccompProfile>, privileged: bool, profiles: &Path) -> Seccomp {
    match profile.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref())) {
        _ if privileged => Seccomp::Unconfined,
        Some(("Unconfined", _)) => Seccomp::Unconfined,
        Some(("Localhost", Some(file))) => Seccomp::Localhost(profiles.join(PathBuf::from(file))),
        _ => Seccomp::RuntimeDefault,
    }
}

/// `profiles` is where `seccompProfile.localhostProfile` paths begin.
pub fn merge(spec: &PodSpec, container: &Container, profiles: &Path) -> Security {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let privileged = own.and_then(|s| s.privileged) == Some(true);
    let caps = own.and_then(|s| s.capabilities.as_ref());
    let list = |l: Option<&Vec<String>>| l.cloned().unwrap_or_default();
    let capabilities = if privileged {
        capabilities(&["ALL".to_owned()], &[])
    } else {
        capabilities(&list(caps.and_then(|c| c.add.as_ref())), &list(caps.and_then(|c| c.drop.as_ref())))
    };
    let groups = pod
        .into_iter()
        .flat_map(|p| p.fs_group.into_iter().chain(p.supplemental_groups.iter().flatten().copied()));
    Security {
        privileged,
        capabilities,
        no_new_privileges: own.and_then(|s| s.allow_privilege_escalation) == Some(false),
        read_only_root: own.and_then(|s| s.read_only_root_filesystem) == Some(true),
        seccomp: seccomp(
            own.and_then(|s| s.seccomp_profile.as_ref()).or(pod.and_then(|p| p.seccomp_profile.as_ref())),
            privileged,
            profiles,
        ),
        unmasked_proc: privileged || own.and_then(|s| s.proc_mount.as_deref()) == Some("Unmasked"),
        run_as_user: own.and_then(|s| s.run_as_user).or(pod.and_then(|p| p.run_as_user)),
        run_as_group: own.and_then(|s| s.run_as_group).or(pod.and_then(|p| p.run_as_group)),
        run_as_non_root: own.and_then(|s| s.run_as_non_root).or(pod.and_then(|p| p.run_as_non_root))
            == Some(true),
        additional_gids: groups.filter_map(|g| u32::try_from(g).ok()).collect(),
        merges_image_groups: pod.and_then(|p| p.supplemental_groups_policy.as_deref()) != Some("Strict"),
    }
}

/// `name_namespace(uid)`, as messages call a pod.
pub fn pod_full_name(pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!(
        "{}_{}({})",
        meta.name.as_deref().unwrap_or_default(),
        meta.namespace.as_deref().unwrap_or_default(),
        meta.uid.as_deref().unwrap_or_default()
    )
}

/// Refuses a container that has to run as non-root and would not, in the stock kubelet's words.
pub fn verify_non_root(
    security: &Security,
    image_user: &str,
    pod: &Pod,
    container: &str,
) -> Result<(), String> {
    if !security.run_as_non_root {
        return Ok(());
    }
    let about = format!("(pod: \"{}\", container: {container})", pod_full_name(pod));
    if let Some(uid) = security.run_as_user {
        return if uid == 0 {
            Err(format!("container's runAsUser breaks non-root policy {about}"))
        } else {
            Ok(())
        };
    }
    let user = image_user.split(':').next().unwrap_or_default();
    match user.parse::<u32>() {
        Ok(0) => Err(format!("container has runAsNonRoot and image will run as root {about}")),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() => {
            Err(format!("container has runAsNonRoot and image will run as root {about}"))
        }
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {about}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(pod: serde_json::Value, container: serde_json::Value) -> (Security, Pod) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"securityContext": pod, "containers": [{"name": "c", "securityContext": container}]}
        }))
        .unwrap();
        let spec = pod.spec.clone().unwrap();
        (merge(&spec, &spec.containers[0], Path::new("/seccomp")), pod)
    }

    #[test]
    fn dropping_all_leaves_what_is_added() {
        let (security, _) =
            merged(json!({}), json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}));
        assert_eq!(security.capabilities, ["CAP_NET_BIND_SERVICE"]);
        let (security, _) =
            merged(json!({}), json!({"capabilities": {"add": ["SYS_TIME"], "drop": ["CAP_MKNOD"]}}));
        assert!(security.capabilities.contains(&"CAP_SYS_TIME".to_owned()));
        assert!(!security.capabilities.contains(&"CAP_MKNOD".to_owned()));
        assert_eq!(security.capabilities.len(), 14);
    }

    #[test]
    fn the_container_wins_over_the_pod() {
        let (security, _) = merged(
            json!({"runAsUser": 1000, "fsGroup": 2000, "seccompProfile": {"type": "Unconfined"}}),
            json!({"runAsUser": 5, "seccompProfile": {"type": "RuntimeDefault"}}),
        );
        assert_eq!((security.run_as_user, security.additional_gids), (Some(5), vec![2000]));
        assert!(matches!(security.seccomp, Seccomp::RuntimeDefault));
    }

    #[test]
    fn the_primary_group_leads_and_the_images_groups_are_merged_unless_strict() {
        for (pod, expected) in [
            (json!({}), vec![1000, 44]),
            (json!({"supplementalGroups": [44, 5], "fsGroup": 9}), vec![1000, 44, 9, 5]),
            (json!({"supplementalGroups": [5], "supplementalGroupsPolicy": "Merge"}), vec![1000, 44, 5]),
            (json!({"supplementalGroups": [5], "supplementalGroupsPolicy": "Strict"}), vec![1000, 5]),
            (json!({"supplementalGroupsPolicy": "Strict"}), vec![1000]),
        ] {
            assert_eq!(merged(pod.clone(), json!({})).0.groups(1000, &[44]), expected, "{pod}");
        }
    }

    #[test]
    fn a_root_image_is_refused_when_non_root_is_asked() {
        let (security, pod) = merged(json!({"runAsNonRoot": true}), json!({}));
        assert_eq!(
            verify_non_root(&security, "", &pod, "c").unwrap_err(),
            "container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"
        );
        assert!(verify_non_root(&security, "1000", &pod, "c").is_ok());
        assert!(
            verify_non_root(&security, "nginx", &pod, "c").unwrap_err().contains("non-numeric user (nginx)")
        );
    }
}
