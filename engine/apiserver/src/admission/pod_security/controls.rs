//! The controls of the Pod Security Standards, as a table: id, level, what they take the place of, and from which minor
//! version on which form of them holds.
//!
//! Invariant: the table is in the order of ids, baseline before restricted; violations come in this order.
//! Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ and the `check_*.go` files of
//! https://github.com/kubernetes/kubernetes/tree/release-1.36/staging/src/k8s.io/pod-security-admission/policy

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    pod::{Setters, annotations, containers, has_own_users, is_windows, named, plural, quoted},
    policy::{Level, Standard, Version},
};
use crate::{
    kinds::checks::{items, text},
    object::strings,
};

#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub reason: String,
    pub detail: String,
}

type Check = fn(&Value) -> Option<Violation>;

struct Control {
    id: &'static str,
    level: Level,
    /// The baseline control that need not be looked at when this one holds.
    overrides: &'static str,
    versions: &'static [(u32, Check)],
}

const fn baseline(id: &'static str, versions: &'static [(u32, Check)]) -> Control {
    Control { id, level: Level::Baseline, overrides: "", versions }
}

const fn restricted(id: &'static str, overrides: &'static str, versions: &'static [(u32, Check)]) -> Control {
    Control { id, level: Level::Restricted, overrides, versions }
}

const CONTROLS: [Control; 19] = [
    baseline("appArmorProfile", &[(0, app_armor)]),
    baseline("capabilities_baseline", &[(0, capabilities_baseline)]),
    baseline("hostNamespaces", &[(0, host_namespaces)]),
    baseline("hostPathVolumes", &[(0, host_path_volumes)]),
    baseline("hostPorts", &[(0, host_ports)]),
    baseline("hostProbesAndHostLifecycle", &[(34, probe_hosts)]),
    baseline("privileged", &[(0, privileged)]),
    baseline("procMount", &[(0, proc_mount), (35, |pod| unless(has_own_users, pod, proc_mount))]),
    baseline(
        "seLinuxOptions",
        &[(0, |pod| se_linux(pod, &SE_LINUX_TYPES[..4])), (31, |pod| se_linux(pod, &SE_LINUX_TYPES))],
    ),
    baseline("seccompProfile_baseline", &[(0, seccomp_annotations), (19, seccomp_baseline)]),
    baseline(
        "sysctls",
        &[
            (0, |pod| sysctls(pod, &SYSCTLS[..5])),
            (27, |pod| sysctls(pod, &SYSCTLS[..6])),
            (29, |pod| sysctls(pod, &SYSCTLS[..10])),
            (32, |pod| sysctls(pod, &SYSCTLS)),
        ],
    ),
    baseline("windowsHostProcess", &[(0, windows_host_process)]),
    restricted(
        "allowPrivilegeEscalation",
        "",
        &[(8, privilege_escalation), (25, |pod| unless(is_windows, pod, privilege_escalation))],
    ),
    restricted(
        "capabilities_restricted",
        "capabilities_baseline",
        &[(22, capabilities_restricted), (25, |pod| unless(is_windows, pod, capabilities_restricted))],
    ),
    restricted("procMount_restricted", "procMount", &[(35, proc_mount)]),
    restricted("restrictedVolumes", "hostPathVolumes", &[(0, restricted_volumes)]),
    restricted("runAsNonRoot", "", &[(0, non_root), (35, |pod| unless(has_own_users, pod, non_root))]),
    restricted("runAsUser", "", &[(23, root_user), (35, |pod| unless(has_own_users, pod, root_user))]),
    restricted(
        "seccompProfile_restricted",
        "seccompProfile_baseline",
        &[(19, seccomp_restricted), (25, |pod| unless(is_windows, pod, seccomp_restricted))],
    ),
];

/// What of `standard` the pod, or template of one, does not keep.
pub fn evaluate(standard: Standard, pod: &Value) -> Vec<Violation> {
    if standard.level == Level::Privileged {
        return Vec::new();
    }
    let minor = match standard.version {
        Version::Latest => u32::MAX,
        Version::Minor(minor) => minor,
    };
    let holding: Vec<(&Control, Check)> = CONTROLS
        .iter()
        .filter(|control| control.level <= standard.level)
        .filter_map(|control| {
            let last = control.versions.iter().rev().find(|(from, _)| *from <= minor)?;
            Some((control, last.1))
        })
        .collect();
    let overridden: Vec<&str> = holding.iter().map(|(control, _)| control.overrides).collect();
    let counts = holding.iter().filter(|(control, _)| !overridden.contains(&control.id));
    counts.filter_map(|(_, check)| check(pod)).collect()
}

fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.into(), detail })
}

fn unless(exempt: fn(&Value) -> bool, pod: &Value, check: Check) -> Option<Violation> {
    if exempt(pod) { None } else { check(pod) }
}

/// The names of the containers that `bad` picks.
fn bad_containers(pod: &Value, bad: impl Fn(&Value) -> bool) -> Vec<&str> {
    containers(pod).filter(|container| bad(container)).map(|container| text(&container["name"])).collect()
}

fn is_profile(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

/// The type of a profile that is neither the runtime's nor a file of the node.
fn bad_profile(profile: &Value) -> Option<&str> {
    profile.is_object().then(|| text(&profile["type"])).filter(|kind| !is_profile(kind))
}

fn app_armor(pod: &Value) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let setters = Setters::of(pod, "appArmorProfile", bad_profile);
    let bad =
        |value: &str| !value.is_empty() && value != "runtime/default" && !value.starts_with("localhost/");
    let mut annotated: Vec<String> = annotations(pod)
        .filter(|(key, value)| key.starts_with(PREFIX) && bad(value))
        .map(|(key, value)| format!("{key}={}", crate::status::quote(value)))
        .collect();
    annotated.sort();
    let mut names = setters.names();
    if !annotated.is_empty() {
        names.push(plural("annotation", "annotations", annotated.len()).into());
    }
    if names.is_empty() {
        return None;
    }
    let values: Vec<&str> =
        setters.values.iter().copied().chain(annotated.iter().map(String::as_str)).collect();
    violation(
        plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len()),
        format!("{} must not set AppArmor profile type to {}", names.join(" and "), quoted(values)),
    )
}

const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// `container "a" must not include "X" in securityContext.capabilities.add`
fn added_capabilities(pod: &Value, allowed: &[&str]) -> Option<String> {
    let bad = |container: &Value| -> BTreeSet<String> {
        let added = strings(&container["securityContext"]["capabilities"]["add"]).into_iter();
        added.filter(|own| !allowed.contains(own)).map(String::from).collect()
    };
    let names = bad_containers(pod, |container| !bad(container).is_empty());
    let added: BTreeSet<String> = containers(pod).flat_map(bad).collect();
    (!names.is_empty()).then(|| {
        let added = quoted(added.iter().map(String::as_str));
        format!("{} must not include {added} in securityContext.capabilities.add", named(&names))
    })
}

fn capabilities_baseline(pod: &Value) -> Option<Violation> {
    violation("non-default capabilities", added_capabilities(pod, &BASELINE_CAPABILITIES)?)
}

fn capabilities_restricted(pod: &Value) -> Option<Violation> {
    let keeping = bad_containers(pod, |container| {
        !strings(&container["securityContext"]["capabilities"]["drop"]).contains(&"ALL")
    });
    let keeping = (!keeping.is_empty())
        .then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    let details: Vec<String> =
        keeping.into_iter().chain(added_capabilities(pod, &["NET_BIND_SERVICE"])).collect();
    if details.is_empty() { None } else { violation("unrestricted capabilities", details.join("; ")) }
}

fn host_namespaces(pod: &Value) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| pod["spec"][**field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if shared.is_empty() { None } else { violation("host namespaces", shared.join(", ")) }
}

fn host_path_volumes(pod: &Value) -> Option<Violation> {
    let volumes = items(&pod["spec"]["volumes"]).iter().filter(|volume| !volume["hostPath"].is_null());
    let names: Vec<&str> = volumes.map(|volume| text(&volume["name"])).collect();
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} {}", plural("volume", "volumes", names.len()), quoted(names.iter().copied()));
    violation("hostPath volumes", detail)
}

fn host_ports(pod: &Value) -> Option<Violation> {
    let ports = |container: &Value| -> Vec<String> {
        let ports = items(&container["ports"]).iter().filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let names = bad_containers(pod, |container| !ports(container).is_empty());
    if names.is_empty() {
        return None;
    }
    let all: BTreeSet<String> = containers(pod).flat_map(ports).collect();
    let detail = format!(
        "{} {} {} {}",
        named(&names),
        plural("uses", "use", names.len()),
        plural("hostPort", "hostPorts", all.len()),
        all.into_iter().collect::<Vec<_>>().join(", ")
    );
    violation("hostPort", detail)
}

fn probe_hosts(pod: &Value) -> Option<Violation> {
    fn hosts(container: &Value) -> BTreeSet<&str> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|name| &container[name]);
        let hooks = ["postStart", "preStop"].map(|name| &container["lifecycle"][name]);
        let handlers = probes.into_iter().chain(hooks);
        let hosts = handlers.flat_map(|one| [text(&one["httpGet"]["host"]), text(&one["tcpSocket"]["host"])]);
        hosts.filter(|host| !host.is_empty()).collect()
    }
    let mut names = bad_containers(pod, |container| !hosts(container).is_empty());
    if names.is_empty() {
        return None;
    }
    names.sort_unstable();
    let all: BTreeSet<&str> = containers(pod).flat_map(hosts).collect();
    let detail = format!(
        "{} {} {} {}",
        named(&names),
        plural("uses", "use", names.len()),
        plural("probe or lifecycle host", "probe or lifecycle hosts", all.len()),
        quoted(all)
    );
    violation("probe or lifecycle host", detail)
}

fn privileged(pod: &Value) -> Option<Violation> {
    let names = bad_containers(pod, |container| container["securityContext"]["privileged"] == true);
    if names.is_empty() {
        return None;
    }
    violation("privileged", format!("{} must not set securityContext.privileged=true", named(&names)))
}

fn proc_mount(pod: &Value) -> Option<Violation> {
    let bad = |container: &Value| {
        container["securityContext"]["procMount"].as_str().is_some_and(|own| own != "Default")
    };
    let names = bad_containers(pod, bad);
    if names.is_empty() {
        return None;
    }
    let values = containers(pod).filter(|one| bad(one)).map(|one| text(&one["securityContext"]["procMount"]));
    let values = quoted(values.collect::<BTreeSet<_>>());
    violation("procMount", format!("{} must not set securityContext.procMount to {values}", named(&names)))
}

/// The last one from 1.31 on.
const SE_LINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

fn se_linux(pod: &Value, types: &[&str]) -> Option<Violation> {
    let bad = |options: &Value| {
        !types.contains(&text(&options["type"]))
            || ["user", "role"].iter().any(|own| !text(&options[*own]).is_empty())
    };
    let setters = Setters::of(pod, "seLinuxOptions", |options| bad(options).then(|| text(&options["type"])));
    if setters.is_empty() {
        return None;
    }
    let all = [&pod["spec"]]
        .into_iter()
        .chain(containers(pod))
        .map(|one| &one["securityContext"]["seLinuxOptions"]);
    let all: Vec<&Value> = all.collect();
    let wrong: Vec<&str> = setters.values.iter().copied().filter(|own| !types.contains(own)).collect();
    let mut data = Vec::new();
    if !wrong.is_empty() {
        data.push(format!("{} {}", plural("type", "types", wrong.len()), quoted(wrong)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|options| !text(&options[field]).is_empty()) {
            data.push(format!("{field} may not be set"));
        }
    }
    let names = setters.names().join(" and ");
    violation(
        "seLinuxOptions",
        format!("{names} set forbidden securityContext.seLinuxOptions: {}", data.join("; ")),
    )
}

fn seccomp_annotations(pod: &Value) -> Option<Violation> {
    let good = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let of_containers: Vec<String> = containers(pod)
        .map(|one| format!("container.seccomp.security.alpha.kubernetes.io/{}", text(&one["name"])))
        .collect();
    let known = |key: &str| {
        key == "seccomp.security.alpha.kubernetes.io/pod" || of_containers.iter().any(|own| own == key)
    };
    let bad: BTreeSet<String> = annotations(pod)
        .filter(|(key, value)| known(key) && !good(value))
        .map(|(key, value)| format!("{key}={}", crate::status::quote(value)))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let word = plural("annotation", "annotations", bad.len());
    let list = bad.into_iter().collect::<Vec<_>>().join(", ");
    violation("seccompProfile", format!("forbidden {word} {list}"))
}

fn seccomp_baseline(pod: &Value) -> Option<Violation> {
    let setters = Setters::of(pod, "seccompProfile", bad_profile);
    if setters.is_empty() {
        return None;
    }
    let (names, values) = (setters.names().join(" and "), quoted(setters.values.iter().copied()));
    violation(
        "seccompProfile",
        format!("{names} must not set securityContext.seccompProfile.type to {values}"),
    )
}

fn seccomp_restricted(pod: &Value) -> Option<Violation> {
    if let Some(explicit) = seccomp_baseline(pod) {
        return Some(explicit);
    }
    if pod["spec"]["securityContext"]["seccompProfile"].is_object() {
        return None;
    }
    let names = bad_containers(pod, |one| !one["securityContext"]["seccompProfile"].is_object());
    if names.is_empty() {
        return None;
    }
    violation(
        "seccompProfile",
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            named(&names)
        ),
    )
}

/// Five from the start, one more from 1.27, four from 1.29, two from 1.32.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

fn sysctls(pod: &Value, safe: &[&str]) -> Option<Violation> {
    let all = items(&pod["spec"]["securityContext"]["sysctls"]).iter().map(|one| text(&one["name"]));
    let bad: Vec<&str> = all.filter(|name| !safe.contains(name)).collect();
    if bad.is_empty() { None } else { violation("forbidden sysctls", bad.join(", ")) }
}

fn windows_host_process(pod: &Value) -> Option<Violation> {
    let setters = Setters::of(pod, "windowsOptions", |own| (own["hostProcess"] == true).then_some(""));
    if setters.is_empty() {
        return None;
    }
    let names = setters.names().join(" and ");
    violation("hostProcess", format!("{names} must not set securityContext.windowsOptions.hostProcess=true"))
}

fn privilege_escalation(pod: &Value) -> Option<Violation> {
    let names = bad_containers(pod, |one| one["securityContext"]["allowPrivilegeEscalation"] != false);
    if names.is_empty() {
        return None;
    }
    violation(
        "allowPrivilegeEscalation != false",
        format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&names)),
    )
}

const RESTRICTED_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn restricted_volumes(pod: &Value) -> Option<Violation> {
    let kind = |volume: &Value| -> Option<String> {
        let fields = volume.as_object()?;
        let kinds: Vec<&String> = fields
            .iter()
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key)
            .collect();
        let allowed = kinds.iter().any(|kind| RESTRICTED_VOLUMES.contains(&kind.as_str()));
        if allowed { None } else { Some(kinds.first().map_or("unknown", |kind| kind.as_str()).to_owned()) }
    };
    let volumes = items(&pod["spec"]["volumes"]);
    let names: Vec<&str> =
        volumes.iter().filter(|volume| kind(volume).is_some()).map(|volume| text(&volume["name"])).collect();
    if names.is_empty() {
        return None;
    }
    let kinds: BTreeSet<String> = volumes.iter().filter_map(kind).collect();
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", names.len()),
        quoted(names.iter().copied()),
        plural("uses", "use", names.len()),
        plural("restricted volume type", "restricted volume types", kinds.len()),
        quoted(kinds.iter().map(String::as_str))
    );
    violation("restricted volume types", detail)
}

fn non_root(pod: &Value) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let setters = Setters::of(pod, "runAsNonRoot", |own| (*own == false).then_some(""));
    if !setters.is_empty() {
        let names = setters.names().join(" and ");
        return violation(REASON, format!("{names} must not set securityContext.runAsNonRoot=false"));
    }
    if pod["spec"]["securityContext"]["runAsNonRoot"] == true {
        return None;
    }
    let names = bad_containers(pod, |one| one["securityContext"]["runAsNonRoot"] != true);
    if names.is_empty() {
        return None;
    }
    violation(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", named(&names)))
}

fn root_user(pod: &Value) -> Option<Violation> {
    let setters = Setters::of(pod, "runAsUser", |own| (own.as_i64() == Some(0)).then_some(""));
    if setters.is_empty() {
        return None;
    }
    violation("runAsUser=0", format!("{} must not set runAsUser=0", setters.names().join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_overrides_what_there_is() {
        let baseline: Vec<&str> =
            CONTROLS.iter().filter(|one| one.level == Level::Baseline).map(|one| one.id).collect();
        let restricted: Vec<&str> =
            CONTROLS.iter().filter(|one| one.level == Level::Restricted).map(|one| one.id).collect();
        assert!(baseline.is_sorted() && restricted.is_sorted());
        for control in &CONTROLS {
            assert!(control.overrides.is_empty() || baseline.contains(&control.overrides), "{}", control.id);
            assert!(control.versions.is_sorted_by(|a, b| a.0 < b.0), "{}", control.id);
        }
    }
}
