//! How much the node has, and how much of it pods may use.
//!
//! Reads:     /proc/meminfo, /sys/kernel/mm/hugepages, the file system of the state directory.
//! Source:    https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::NodeStatus;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::resources::{Amounts, ResourceList, nano_value};

/// The stock threshold for hard eviction: `memory.available<100Mi`.
const EVICTION_MEMORY_BYTES: u64 = 100 << 20;

#[derive(Clone, Debug, Default)]
pub struct Capacity {
    pub capacity: ResourceList,
    pub allocatable: ResourceList,
    pub memory_bytes: i64,
    pub milli_cpu: i64,
}

/// A field of /proc/meminfo in bytes.
fn meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn hugepages() -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(kib) =
            name.strip_prefix("hugepages-").and_then(|n| n.strip_suffix("kB")?.parse::<u64>().ok())
        else {
            continue;
        };
        let pages = std::fs::read_to_string(entry.path().join("nr_hugepages")).unwrap_or_default();
        let bytes = pages.trim().parse::<u64>().unwrap_or(0) * kib * 1024;
        let size = if kib % (1 << 20) == 0 { format!("{}Gi", kib >> 20) } else { format!("{}Mi", kib >> 10) };
        found.push((format!("hugepages-{size}"), bytes));
    }
    found
}

pub fn read(disk: &Path, max_pods: u32) -> Capacity {
    let memory =
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|t| meminfo(&t, "MemTotal")).unwrap_or(0);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let stat = nix::sys::statvfs::statvfs(disk).ok();
    let storage = stat.map_or(0, |s| s.blocks() * s.fragment_size());
    let huge = hugepages();
    let huge_bytes: u64 = huge.iter().map(|(_, n)| n).sum();
    let quantity = |text: String| Quantity(text);
    let ki = |bytes: u64| quantity(format!("{}Ki", bytes / 1024));
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), quantity(cpus.to_string())),
        ("memory".to_owned(), ki(memory)),
        ("ephemeral-storage".to_owned(), ki(storage)),
        ("pods".to_owned(), quantity(max_pods.to_string())),
    ]);
    capacity.extend(huge.into_iter().map(|(name, bytes)| (name, ki(bytes))).map(|(n, q)| {
        let zero = q.0 == "0Ki";
        (n, if zero { Quantity("0".to_owned()) } else { q })
    }));
    let mut allocatable = capacity.clone();
    allocatable.insert("memory".to_owned(), ki(memory.saturating_sub(EVICTION_MEMORY_BYTES + huge_bytes)));
    allocatable.insert("ephemeral-storage".to_owned(), quantity((storage / 10 * 9).to_string()));
    Capacity { capacity, allocatable, memory_bytes: memory as i64, milli_cpu: cpus as i64 * 1000 }
}

impl Capacity {
    /// `node` is what its status says: extended resources are known from there alone.
    pub fn allocatable_amounts(&self, node: Option<&NodeStatus>) -> Amounts {
        let of_node = extended(node.and_then(|status| status.allocatable.as_ref()));
        let amount = |(name, quantity): (&String, &Quantity)| Some((name.clone(), nano_value(&quantity.0)?));
        self.allocatable.iter().chain(of_node).filter_map(amount).collect()
    }
}

/// Those that somebody else counts and writes into the node's status.
/// https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/
pub fn extended(
    resources: Option<&BTreeMap<String, Quantity>>,
) -> impl Iterator<Item = (&String, &Quantity)> {
    resources.into_iter().flatten().filter(|(name, _)| is_extended(name))
}

pub fn is_extended(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_bytes() {
        let text = "MemTotal:       16384 kB\nMemFree:  1 kB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(16 << 20));
        assert_eq!(meminfo(text, "Mem"), None);
    }
}
