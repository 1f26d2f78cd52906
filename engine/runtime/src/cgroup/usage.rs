//! CPU time and working set, as the kubelet's summary defines them.
//!
//! Source: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/ (working set)

use std::{fs, io, path::Path};

use crate::api::Usage;

pub fn unified(directory: &Path) -> io::Result<Usage> {
    let cpu = fs::read_to_string(directory.join("cpu.stat"))?;
    let stat = fs::read_to_string(directory.join("memory.stat"))?;
    let used = number(&directory.join("memory.current"))?;
    Ok(Usage {
        cpu_usage_ns: field(&cpu, "usage_usec").unwrap_or(0) * 1000,
        memory_working_set_bytes: used.saturating_sub(field(&stat, "inactive_file").unwrap_or(0)),
    })
}

pub fn v1(cpu: &Path, memory: &Path) -> io::Result<Usage> {
    let stat = fs::read_to_string(memory.join("memory.stat"))?;
    let used = number(&memory.join("memory.usage_in_bytes"))?;
    Ok(Usage {
        cpu_usage_ns: number(&cpu.join("cpuacct.usage"))?,
        memory_working_set_bytes: used.saturating_sub(field(&stat, "total_inactive_file").unwrap_or(0)),
    })
}

fn number(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("not a number: `{text}`")))
}

/// Of a file with lines `name value`.
pub fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "oom"), None);
    }
}
