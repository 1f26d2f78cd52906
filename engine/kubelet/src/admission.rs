//! Whether this node takes a pod that was assigned to it: sysctls and AppArmor are checked here alone, node selector,
//! node affinity and resources once more, since pods can be assigned without the scheduler.
//!
//! Invariant: pure.
//! Source:    https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename
//!            https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/#safe-and-unsafe-sysctls
//!            https://kubernetes.io/docs/tutorials/security/apparmor/

use std::collections::BTreeMap;

use coracle_client::node_affinity;
use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec};

use crate::node::capacity::is_extended;
use crate::pod::{observed::Rejection, sandbox::ports};
use crate::resources::{Amounts, pod_requests};

/// Namespaced, and without effect on other pods or the node.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What a pod may not set: a sysctl that is not safe, or one of a namespace that it shares with the node.
fn forbidden_sysctl(spec: &PodSpec) -> Option<String> {
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    sysctls.map(|sysctl| sysctl.name.replace('/', ".")).find_map(|name| {
        let why = match name.split('.').next() {
            _ if !SAFE_SYSCTLS.contains(&name.as_str()) => "not allowlisted",
            Some("net") if spec.host_network == Some(true) => "not allowed with host net enabled",
            Some("kernel") if spec.host_ipc == Some(true) => "not allowed with host ipc enabled",
            _ => return None,
        };
        Some(format!("Pod was rejected: forbidden sysctl: \"{name}\" {why}"))
    })
}

/// The runtime loads no profiles: its default is none, and a profile of the node's cannot be kept.
fn unkept_app_armor(spec: &PodSpec, on_host: bool) -> Option<String> {
    let of_pod = spec.security_context.iter().filter_map(|context| context.app_armor_profile.as_ref());
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let of_containers = containers.filter_map(|it| it.security_context.as_ref()?.app_armor_profile.as_ref());
    of_pod.chain(of_containers).find_map(|AppArmorProfile { type_, localhost_profile }| {
        let why = match (type_.as_str(), on_host) {
            ("Unconfined", _) | ("RuntimeDefault", true) => return None,
            (_, false) => "AppArmor is not enabled on the host".to_owned(),
            (_, true) => {
                let name = localhost_profile.as_deref().unwrap_or_default();
                format!(
                    "profile \"{name}\" is not supported, this runtime starts containers without AppArmor"
                )
            }
        };
        Some(format!("Pod was rejected: Cannot enforce AppArmor: {why}"))
    })
}

/// A TCP port of the node on which Coracle listens is never a pod's. The node's own are told as another pod's are.
fn own_port(spec: &PodSpec, own_ports: &[u16]) -> Option<String> {
    let tcp = ports(spec).filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    tcp.filter_map(|port| u16::try_from(port.host_port?).ok()).find(|port| own_ports.contains(port)).map(|_| {
        "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
            .to_owned()
    })
}

/// What the node is, as far as a pod must fit it.
pub struct Limits<'a> {
    pub labels: &'a BTreeMap<String, String>,
    pub allocatable: &'a Amounts,
    pub max_pods: u32,
    pub app_armor: bool,
    /// TCP ports on which Coracle itself listens.
    pub own_ports: &'a [u16],
}

/// `used` is what the node's other pods request, `pods` how many they are.
pub fn admit(spec: &PodSpec, limits: &Limits<'_>, used: &Amounts, pods: u32) -> Result<Amounts, Rejection> {
    let Limits { labels, allocatable, max_pods, app_armor, own_ports } = *limits;
    let refuse = |reason: &str, message: String| Err(Rejection { reason: reason.to_owned(), message });
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        let why = "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS";
        return refuse("PodOSNotSupported", why.to_owned());
    }
    if let Some(message) = forbidden_sysctl(spec) {
        return refuse("SysctlForbidden", message);
    }
    if let Some(message) = unkept_app_armor(spec, app_armor) {
        return refuse("AppArmor", message);
    }
    // The pod is here, so the name that it gives is the node's.
    if !node_affinity::admits(spec, spec.node_name.as_deref().unwrap_or_default(), labels) {
        return refuse("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    if let Some(message) = own_port(spec, own_ports) {
        return refuse("NodePorts", message);
    }
    if pods >= max_pods {
        return refuse(
            "OutOfpods",
            format!(
                "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: {pods}, capacity: {max_pods}"
            ),
        );
    }
    let requests = pod_requests(spec);
    // Who is bound here by hand may ask for an extended resource that nobody counts.
    let is_counted = |name: &str| allocatable.contains_key(name) || !is_extended(name);
    for (name, wanted) in requests.iter().filter(|(name, _)| is_counted(name)) {
        let has = allocatable.get(name).copied().unwrap_or(0);
        let taken = used.get(name).copied().unwrap_or(0);
        if *wanted > 0 && taken + wanted > has {
            // cpu is told in thousandths, everything else in whole units.
            let unit = if name == "cpu" { 1_000_000 } else { 1_000_000_000 };
            return refuse(
                &format!("OutOf{name}"),
                format!(
                    "Pod was rejected: Node didn't have enough resource: {name}, requested: {}, used: {}, capacity: {}",
                    wanted / unit,
                    taken / unit,
                    has / unit
                ),
            );
        }
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NANO: i128 = 1_000_000_000;

    fn check(spec: serde_json::Value, used_cpu: i128, pods: u32) -> Result<Amounts, String> {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "a", "resources": spec["resources"]}]);
        spec.as_object_mut().unwrap().remove("resources");
        let allocatable = Amounts::from(
            [("cpu", 2 * NANO), ("memory", NANO << 30), ("example.com/x", 2 * NANO)]
                .map(|(name, amount)| (name.to_owned(), amount)),
        );
        let used = Amounts::from([("cpu".to_owned(), used_cpu)]);
        let labels = BTreeMap::from([("os".to_owned(), "linux".to_owned())]);
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let limits = Limits {
            labels: &labels,
            allocatable: &allocatable,
            max_pods: 110,
            app_armor: true,
            own_ports: &[443, 6443],
        };
        admit(&spec, &limits, &used, pods).map_err(|r| format!("{}: {}", r.reason, r.message))
    }

    #[test]
    fn a_pod_that_does_not_fit_is_refused_in_stock_words() {
        let extended = |count: &str| json!({"resources": {"requests": {"example.com/x": count}}});
        assert!(check(extended("2"), 0, 0).is_ok());
        assert!(check(extended("3"), 0, 0).unwrap_err().starts_with("OutOfexample.com/x: "));
        assert!(check(json!({"resources": {"requests": {"example.com/absent": "1"}}}), 0, 0).is_ok());
        let cpu = json!({"resources": {"requests": {"cpu": "1500m"}}});
        assert!(check(cpu.clone(), 0, 0).is_ok());
        assert_eq!(
            check(cpu, NANO, 0).unwrap_err(),
            "OutOfcpu: Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
        );
        assert!(check(json!({}), 0, 110).unwrap_err().starts_with("OutOfpods: "));
        assert!(check(json!({"os": {"name": "linux"}}), 0, 0).is_ok());
        assert_eq!(
            check(json!({"os": {"name": "windows"}}), 0, 0).unwrap_err(),
            "PodOSNotSupported: Pod was rejected: Failed to admit pod as the OS field doesn't match node OS"
        );
        assert!(
            check(json!({"nodeSelector": {"os": "plan9"}}), 0, 0).unwrap_err().starts_with("NodeAffinity: ")
        );
    }

    #[test]
    fn a_pod_that_was_put_here_by_name_is_held_to_its_node_affinity() {
        let requires = |terms: serde_json::Value| {
            let required =
                json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            json!({"nodeName": "here", "affinity": {"nodeAffinity": required}})
        };
        let label =
            |value: &str| json!({"matchExpressions": [{"key": "os", "operator": "In", "values": [value]}]});
        let name = |value: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [value]}]});
        for (terms, admitted) in [
            (json!([label("linux")]), true),
            (json!([label("plan9")]), false),
            (json!([label("plan9"), name("here")]), true),
            (json!([name("there")]), false),
        ] {
            let refused = check(requires(terms.clone()), 0, 0).err();
            let expected = "NodeAffinity: Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
            assert_eq!(refused.as_deref(), (!admitted).then_some(expected), "{terms}");
        }
    }

    #[test]
    fn a_pod_does_not_get_a_port_of_coracle_itself() {
        for (protocol, port, taken) in
            [(None, 443, true), (Some("TCP"), 6443, true), (Some("UDP"), 443, false), (None, 8443, false)]
        {
            let spec = json!({"containers": [{"name": "a", "ports": [
                {"containerPort": 1}, {"containerPort": 2, "hostPort": port, "protocol": protocol}
            ]}]});
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            let limits = Limits {
                labels: &BTreeMap::new(),
                allocatable: &Amounts::new(),
                max_pods: 110,
                app_armor: true,
                own_ports: &[443, 6443],
            };
            let refused = admit(&spec, &limits, &Amounts::new(), 0).err().map(|it| (it.reason, it.message));
            let expected = ("NodePorts".to_owned(), "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports".to_owned());
            assert_eq!(refused, taken.then_some(expected), "{protocol:?} {port}");
        }
    }

    #[test]
    fn app_armor_profiles_that_cannot_be_kept_are_refused() {
        let refused = |kind: &str, on_host: bool| {
            let profile = json!({"type": kind, "localhostProfile": "mine"});
            let spec =
                json!({"containers": [{"name": "a", "securityContext": {"appArmorProfile": profile}}]});
            unkept_app_armor(&serde_json::from_value(spec).unwrap(), on_host)
        };
        assert_eq!(refused("Unconfined", false), None);
        assert_eq!(refused("RuntimeDefault", true), None);
        assert_eq!(
            refused("RuntimeDefault", false).unwrap(),
            "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
        );
        assert!(refused("Localhost", true).unwrap().contains("profile \"mine\" is not supported"));
    }

    #[test]
    fn sysctls_that_reach_beyond_the_pod_are_forbidden() {
        let with = |name: &str, host: bool| json!({"hostNetwork": host, "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        let refused = |name: &str, host: bool| check(with(name, host), 0, 0).err();
        assert_eq!(refused("net.ipv4.tcp_syncookies", false), None);
        assert_eq!(refused("net/ipv4/tcp_syncookies", false), None);
        assert_eq!(
            refused("kernel.msgmax", false).unwrap(),
            "SysctlForbidden: Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted"
        );
        assert!(
            refused("net.ipv4.tcp_syncookies", true).unwrap().ends_with("not allowed with host net enabled")
        );
    }
}
