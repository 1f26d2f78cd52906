//! Linux capabilities as one word, from the names that manifests use.
//!
//! Source: capabilities(7)
#![allow(unsafe_code)]

use std::io;

/// In the order of their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// Accepts `NET_ADMIN` and `CAP_NET_ADMIN`; `ALL` means every one. Unknown names are dropped.
    pub fn from_names(names: &[String]) -> Self {
        names.iter().fold(Self::default(), |set, name| match name.as_str() {
            "ALL" | "CAP_ALL" => Self::all(),
            name => Self(set.0 | number(name).map_or(0, |bit| 1 << bit)),
        })
    }

    pub fn all() -> Self {
        Self((1 << NAMES.len()) - 1)
    }

    /// What this process could ever have: nobody can be given more.
    pub fn bounding() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        Ok(Self(mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or_default()))
    }

    pub fn has(self, name: &str) -> bool {
        number(name).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    pub fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As the OCI specification writes them.
    pub fn names(self) -> Vec<String> {
        let held = NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        held.map(|(_, name)| format!("CAP_{name}")).collect()
    }

    /// Lowers the bounding set to this one. Needs CAP_SETPCAP.
    pub fn limit_bounding(self) -> io::Result<()> {
        let bounding = Self::bounding()?;
        for bit in (0..64).filter(|bit| bounding.0 & !self.0 & (1 << bit) != 0) {
            // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, bit as libc::c_ulong, 0, 0, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }

    /// Sets effective and permitted to this set and inheritable (and so ambient) to none.
    pub fn apply(self) -> io::Result<()> {
        #[repr(C)]
        struct Header {
            version: u32,
            pid: i32,
        }
        const VERSION_3: u32 = 0x2008_0522;
        let (low, high) = (self.0 as u32, (self.0 >> 32) as u32);
        let header = Header { version: VERSION_3, pid: 0 };
        let data: [u32; 6] = [low, low, 0, high, high, 0];
        // SAFETY: both arguments have the layout that version 3 of capset(2) asks for and live through the call.
        match unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn number(name: &str) -> Option<usize> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    NAMES.iter().position(|candidate| candidate.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_prefix_are_the_same_capability() {
        let set = CapabilitySet::from_names(&["NET_ADMIN".into(), "CAP_CHOWN".into(), "nonsense".into()]);
        assert_eq!(set.names(), ["CAP_CHOWN", "CAP_NET_ADMIN"]);
        assert!(set.has("CAP_NET_ADMIN") && !set.has("SYS_ADMIN"));
    }

    #[test]
    fn all_is_every_known_capability() {
        assert_eq!(CapabilitySet::from_names(&["ALL".into()]).names().len(), 41);
    }
}
