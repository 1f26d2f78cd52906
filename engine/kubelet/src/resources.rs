//! From requests and limits to cgroup values, QoS classes and OOM scores.
//!
//! Invariant: pure; the same pod gives the same numbers on every node of the same size.
//! Source:    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/,
//!            https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/

use std::collections::BTreeMap;

use coracle_runtime::Resources;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

pub type ResourceList = BTreeMap<String, Quantity>;

const NANO: i128 = 1_000_000_000;
const CPU_PERIOD_US: u64 = 100_000;
const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;
const MIN_QUOTA_US: i64 = 1_000;

/// A quantity in units of 10⁻⁹, rounded up. `None` when it is not a quantity.
pub fn nano_value(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits_end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let (multiplier, divisor): (i128, i128) = match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10i128.checked_pow(power.unsigned_abs())?;
            if power >= 0 { (factor, 1) } else { (1, factor) }
        }
    };
    let (negative, number) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let scale = 10i128.checked_pow(fraction.len() as u32)?;
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let numerator = mantissa.checked_mul(multiplier)?.checked_mul(NANO)?;
    let denominator = scale.checked_mul(divisor)?;
    let value = (numerator + denominator - 1) / denominator;
    Some(if negative { -value } else { value })
}

fn ceil_to(nano: i128, unit: i128) -> i64 {
    i64::try_from((nano + unit - 1).div_euclid(unit)).unwrap_or(i64::MAX)
}

pub fn value(quantity: &Quantity) -> i64 {
    nano_value(&quantity.0).map_or(0, |n| ceil_to(n, NANO))
}

fn amount(list: Option<&ResourceList>, name: &str) -> Option<i128> {
    list?.get(name).and_then(|q| nano_value(&q.0))
}

/// Amounts by resource name, in units of 10⁻⁹.
pub type Amounts = BTreeMap<String, i128>;

fn amounts(list: Option<&ResourceList>) -> Amounts {
    list.into_iter().flatten().filter_map(|(k, q)| Some((k.clone(), nano_value(&q.0)?))).collect()
}

fn add(into: &mut Amounts, more: &Amounts) {
    for (name, n) in more {
        *into.entry(name.clone()).or_default() += n;
    }
}

fn max(into: &mut Amounts, other: &Amounts) {
    for (name, n) in other {
        let slot = into.entry(name.clone()).or_default();
        *slot = (*slot).max(*n);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Requests,
    Limits,
}

fn of(resources: Option<&ResourceRequirements>, side: Side) -> Option<&ResourceList> {
    let resources = resources?;
    match side {
        Side::Requests => resources.requests.as_ref(),
        Side::Limits => resources.limits.as_ref(),
    }
}

/// Those that run on, then those of the initialisation, sidecars among them.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What the scheduler counts: containers and sidecars together, or the largest moment of initialisation, and overhead.
fn total(spec: &PodSpec, side: Side) -> Amounts {
    let mut sum = Amounts::new();
    for container in &spec.containers {
        add(&mut sum, &amounts(of(container.resources.as_ref(), side)));
    }
    let (mut sidecars, mut initial) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = amounts(of(container.resources.as_ref(), side));
        if is_sidecar(container) {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            max(&mut initial, &sidecars);
        } else {
            let mut moment = sidecars.clone();
            add(&mut moment, &own);
            max(&mut initial, &moment);
        }
    }
    max(&mut sum, &initial);
    // Pod-level resources take the place of what containers add up to.
    for (name, n) in amounts(of(spec.resources.as_ref(), side)) {
        sum.insert(name, n);
    }
    let overhead = amounts(spec.overhead.as_ref());
    if side == Side::Requests {
        add(&mut sum, &overhead);
    } else {
        for (name, n) in overhead {
            if let Some(slot) = sum.get_mut(&name) {
                *slot += n;
            }
        }
    }
    sum
}

pub fn pod_requests(spec: &PodSpec) -> Amounts {
    total(spec, Side::Requests)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }

    /// The cgroup of the class below the root of all pods: Guaranteed pods lie in that root itself.
    pub fn group(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "",
            QosClass::Burstable => "burstable",
            QosClass::BestEffort => "besteffort",
        }
    }

    /// The pod's cgroup below the root of all pods.
    pub fn cgroup(self, pod_uid: &str) -> String {
        format!("{}/pod{pod_uid}", self.group()).trim_start_matches('/').to_owned()
    }
}

pub fn qos_class(spec: &PodSpec) -> QosClass {
    let requirements: Vec<Option<&ResourceRequirements>> = match &spec.resources {
        Some(resources) => vec![Some(resources)],
        None => spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .map(|c| c.resources.as_ref())
            .collect(),
    };
    let (mut any, mut guaranteed) = (false, true);
    for requirement in requirements {
        for name in ["cpu", "memory"] {
            let request = amount(of(requirement, Side::Requests), name).filter(|n| *n > 0);
            let limit = amount(of(requirement, Side::Limits), name).filter(|n| *n > 0);
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

pub fn cpu_shares(milli_cpu: i64) -> u64 {
    if milli_cpu <= 0 {
        return MIN_SHARES;
    }
    ((milli_cpu as u64) * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

pub fn cpu_quota_us(milli_cpu: i64) -> Option<i64> {
    (milli_cpu > 0).then(|| (milli_cpu * CPU_PERIOD_US as i64 / 1000).max(MIN_QUOTA_US))
}

pub fn milli_cpu(amounts: &Amounts) -> i64 {
    milli(amounts, "cpu")
}

fn milli(amounts: &Amounts, name: &str) -> i64 {
    amounts.get(name).map_or(0, |n| ceil_to(*n, NANO / 1000))
}

fn whole(amounts: &Amounts, name: &str) -> i64 {
    amounts.get(name).map_or(0, |n| ceil_to(*n, NANO))
}

/// The pod's own cgroup: limits only where every container has one.
pub fn pod_cgroup(spec: &PodSpec) -> Resources {
    let requests = total(spec, Side::Requests);
    let limits = total(spec, Side::Limits);
    let every = |name: &str| {
        amount(of(spec.resources.as_ref(), Side::Limits), name).is_some()
            || spec
                .containers
                .iter()
                .chain(spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)))
                .all(|c| amount(of(c.resources.as_ref(), Side::Limits), name).is_some_and(|n| n > 0))
    };
    let mut resources =
        Resources { cpu_shares: Some(cpu_shares(milli_cpu(&requests))), ..Resources::default() };
    if every("cpu") {
        resources.cpu_quota_us = cpu_quota_us(milli(&limits, "cpu"));
        resources.cpu_period_us = resources.cpu_quota_us.map(|_| CPU_PERIOD_US);
    }
    if every("memory") {
        resources.memory_limit_bytes = Some(whole(&limits, "memory")).filter(|n| *n > 0);
    }
    resources
}

/// What a container does not limit itself, its pod does.
pub fn container_cgroup(spec: &PodSpec, container: &Container, node_memory_bytes: i64) -> Resources {
    let mut limits = amounts(of(container.resources.as_ref(), Side::Limits));
    for (name, amount) in amounts(of(spec.resources.as_ref(), Side::Limits)) {
        let own = limits.entry(name).or_default();
        if *own == 0 {
            *own = amount;
        }
    }
    let requests = amounts(of(container.resources.as_ref(), Side::Requests));
    let request = if requests.contains_key("cpu") { milli(&requests, "cpu") } else { milli(&limits, "cpu") };
    let quota = cpu_quota_us(milli(&limits, "cpu"));
    Resources {
        memory_limit_bytes: Some(whole(&limits, "memory")).filter(|n| *n > 0),
        cpu_shares: Some(cpu_shares(request)),
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| CPU_PERIOD_US),
        pids_limit: None,
        oom_score_adj: Some(oom_score_adj(spec, container, node_memory_bytes)),
    }
}

/// https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior
pub fn oom_score_adj(spec: &PodSpec, container: &Container, node_memory_bytes: i64) -> i32 {
    const GUARANTEED: i64 = -997;
    const SYSTEM_CRITICAL: i32 = 2_000_000_000;
    if spec.priority.is_some_and(|p| p >= SYSTEM_CRITICAL) {
        return GUARANTEED as i32;
    }
    match qos_class(spec) {
        QosClass::Guaranteed => GUARANTEED as i32,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = whole(&amounts(of(container.resources.as_ref(), Side::Requests)), "memory");
            let score = 1000 - (1000 * i128::from(request) / i128::from(node_memory_bytes.max(1))) as i64;
            score.clamp(1000 + GUARANTEED, 999) as i32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PodSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn quantities_have_the_value_their_suffix_says() {
        for (text, expected) in [
            ("1", NANO),
            ("250m", NANO / 4),
            ("0.1", NANO / 10),
            ("500Mi", 500 * 1024 * 1024 * NANO),
            ("1.5Gi", 1536 * 1024 * 1024 * NANO),
            ("2k", 2000 * NANO),
            ("1e3", 1000 * NANO),
            ("3E", 3_000_000_000_000_000_000 * NANO),
        ] {
            assert_eq!(nano_value(text), Some(expected), "{text}");
        }
        assert_eq!(nano_value("abc"), None);
        assert_eq!(value(&Quantity("1500m".into())), 2);
    }

    #[test]
    fn qos_class_follows_requests_and_limits() {
        let class = |resources: serde_json::Value| {
            qos_class(&spec(serde_json::json!({"containers": [{"name": "a", "resources": resources}]})))
        };
        assert_eq!(class(serde_json::json!({})), QosClass::BestEffort);
        assert_eq!(class(serde_json::json!({"requests": {"cpu": "1"}})), QosClass::Burstable);
        assert_eq!(
            class(
                serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}})
            ),
            QosClass::Guaranteed
        );
    }

    #[test]
    fn cgroup_values_are_those_the_stock_kubelet_computes() {
        let pod = spec(serde_json::json!({"containers": [
            {"name": "a", "resources": {"requests": {"cpu": "250m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "500Mi"}}},
            {"name": "b", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}}
        ]}));
        let a = container_cgroup(&pod, &pod.containers[0], 4 << 30);
        assert_eq!(
            (a.cpu_shares, a.cpu_quota_us, a.cpu_period_us),
            (Some(256), Some(100_000), Some(100_000))
        );
        assert_eq!(a.memory_limit_bytes, Some(500 << 20));
        assert_eq!(a.oom_score_adj, Some(1000 - 31));
        let pod = pod_cgroup(&pod);
        assert_eq!(
            (pod.cpu_shares, pod.cpu_quota_us, pod.memory_limit_bytes),
            (Some(358), Some(150_000), None)
        );
    }

    #[test]
    fn init_containers_count_as_their_largest_moment() {
        let pod = spec(serde_json::json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
                {"name": "i", "resources": {"requests": {"cpu": "3"}}}
            ]
        }));
        assert_eq!(pod_requests(&pod)["cpu"], 4 * NANO);
    }
}
