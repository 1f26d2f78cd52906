//! From Kubernetes' limits to the files of a group.
//!
//! Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/2254-cgroup-v2

use crate::api::Resources;

/// (controller, file, value), in the order in which they are written.
pub fn files(resources: &Resources, unified: bool) -> Vec<(&'static str, &'static str, String)> {
    if unified { v2(resources) } else { v1(resources) }
}

fn v1(resources: &Resources) -> Vec<(&'static str, &'static str, String)> {
    let mut files = Vec::new();
    if let Some(bytes) = resources.memory_limit_bytes {
        files.push(("memory", "memory.limit_in_bytes", bytes.to_string()));
    }
    if let Some(shares) = resources.cpu_shares {
        files.push(("cpu", "cpu.shares", shares.max(2).to_string()));
    }
    if let Some(quota) = resources.cpu_quota_us {
        // A quota below the kernel's least one (1 ms) is an error there.
        let quota = if quota < 0 { -1 } else { quota.max(1000) };
        files.push(("cpu", "cpu.cfs_period_us", period(resources).to_string()));
        files.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
    }
    if let Some(pids) = resources.pids_limit {
        files.push(("pids", "pids.max", unlimited(pids)));
    }
    files
}

fn v2(resources: &Resources) -> Vec<(&'static str, &'static str, String)> {
    let mut files = Vec::new();
    if let Some(bytes) = resources.memory_limit_bytes {
        files.push(("memory", "memory.max", unlimited(bytes)));
    }
    if let Some(shares) = resources.cpu_shares {
        files.push(("cpu", "cpu.weight", weight(shares).to_string()));
    }
    if let Some(quota) = resources.cpu_quota_us {
        let quota = if quota < 0 { "max".to_owned() } else { quota.max(1000).to_string() };
        files.push(("cpu", "cpu.max", format!("{quota} {}", period(resources))));
    }
    if let Some(pids) = resources.pids_limit {
        files.push(("pids", "pids.max", unlimited(pids)));
    }
    files
}

fn period(resources: &Resources) -> u64 {
    resources.cpu_period_us.unwrap_or(100_000)
}

fn unlimited(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// From [2, 262144] to [1, 10000].
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_the_kep_says() {
        assert_eq!([2, 512, 1024, 262_144].map(weight), [1, 20, 39, 10_000]);
    }

    #[test]
    fn only_what_is_limited_is_written() {
        let resources =
            Resources { memory_limit_bytes: Some(1 << 20), cpu_quota_us: Some(50_000), ..Default::default() };
        assert_eq!(
            files(&resources, true),
            [("memory", "memory.max", "1048576".into()), ("cpu", "cpu.max", "50000 100000".into())]
        );
        assert_eq!(files(&Resources::default(), false), []);
    }

    #[test]
    fn minus_one_lifts_a_limit() {
        let resources = Resources { pids_limit: Some(-1), cpu_quota_us: Some(-1), ..Default::default() };
        assert_eq!(files(&resources, true)[0].2, "max 100000");
        assert_eq!(files(&resources, false)[2].2, "max");
    }
}
