//! Which pod has which address.
//!
//! Invariant: no two pods share an address; a pod keeps its address until it is detached, also across restarts.
//! Writes:    one small file a pod, never synced: links live as long as the kernel, and so do the files that matter.
//!            After a crash of the machine an unreadable file only means a new address for a pod that has to be started anew.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::bridge;
use crate::{HostPort, NetworkError};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    pub address: Ipv4Addr,
    #[serde(default)]
    pub host_ports: Vec<HostPort>,
}

pub struct Leases {
    dir: PathBuf,
    pod_cidr: Ipv4Net,
    by_pod: HashMap<String, Lease>,
    taken: HashSet<Ipv4Addr>,
    /// The last address given: an address rests as long as possible before it is given again.
    last: Ipv4Addr,
}

impl Leases {
    pub fn open(dir: PathBuf, pod_cidr: Ipv4Net) -> Result<Leases, NetworkError> {
        fs::create_dir_all(&dir).map_err(failed("create directory", &dir))?;
        let mut leases = Leases {
            pod_cidr,
            by_pod: HashMap::new(),
            taken: HashSet::new(),
            last: bridge::gateway(pod_cidr),
            dir,
        };
        for entry in fs::read_dir(&leases.dir).map_err(failed("read directory", &leases.dir))? {
            let entry = entry.map_err(failed("read directory", &leases.dir))?;
            let lease =
                fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice::<Lease>(&bytes).ok());
            match (entry.file_name().into_string(), lease) {
                (Ok(pod), Some(lease))
                    if pod_cidr.contains(&lease.address) && leases.taken.insert(lease.address) =>
                {
                    leases.last = leases.last.max(lease.address);
                    leases.by_pod.insert(pod, lease);
                }
                _ => {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(leases)
    }

    pub fn get(&self, pod_uid: &str) -> Option<&Lease> {
        self.by_pod.get(pod_uid)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Lease)> {
        self.by_pod.iter()
    }

    /// The pod's lease, a new one if it has none.
    pub fn acquire(&mut self, pod_uid: &str, host_ports: &[HostPort]) -> Result<Lease, NetworkError> {
        if let Some(lease) = self.by_pod.get(pod_uid).filter(|lease| lease.host_ports == host_ports) {
            return Ok(lease.clone());
        }
        let address = match self.by_pod.get(pod_uid) {
            Some(lease) => lease.address,
            None => self.free_address().ok_or(NetworkError::Exhausted(self.pod_cidr))?,
        };
        let lease = Lease { address, host_ports: host_ports.to_vec() };
        let path = self.path(pod_uid)?;
        let json =
            serde_json::to_vec(&lease).map_err(io::Error::other).map_err(failed("encode lease", &path))?;
        fs::write(&path, json).map_err(failed("write lease", &path))?;
        self.taken.insert(address);
        self.last = address;
        self.by_pod.insert(pod_uid.to_owned(), lease.clone());
        Ok(lease)
    }

    pub fn release(&mut self, pod_uid: &str) -> Result<(), NetworkError> {
        let path = self.path(pod_uid)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove lease", &path)(error));
            }
            _ => {}
        }
        if let Some(lease) = self.by_pod.remove(pod_uid) {
            self.taken.remove(&lease.address);
        }
        Ok(())
    }

    /// Network, gateway and broadcast address belong to no pod.
    fn free_address(&self) -> Option<Ipv4Addr> {
        let first = bridge::gateway(self.pod_cidr).to_bits().checked_add(1)?;
        let end = self.pod_cidr.broadcast().to_bits();
        let size = end.checked_sub(first).filter(|size| *size > 0)?;
        let start = (self.last.to_bits() + 1).saturating_sub(first);
        (0..size)
            .map(|step| Ipv4Addr::from_bits(first + (start + step) % size))
            .find(|address| !self.taken.contains(address))
    }

    fn path(&self, pod_uid: &str) -> Result<PathBuf, NetworkError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if pod_uid.is_empty() || !pod_uid.chars().all(plain) {
            return Err(failed("use pod uid", Path::new(pod_uid))(io::ErrorKind::InvalidInput.into()));
        }
        Ok(self.dir.join(pod_uid))
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> NetworkError + 'a {
    move |source| NetworkError::Failed { action, subject: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(dir: &tempfile::TempDir, cidr: &str) -> Leases {
        Leases::open(dir.path().to_owned(), cidr.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_full_network_is_reported_and_a_released_address_is_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut leases = leases(&dir, "10.42.0.0/29");
        let given: Vec<_> = (0..5).map(|i| leases.acquire(&format!("p{i}"), &[]).unwrap().address).collect();
        assert_eq!(given.first(), Some(&Ipv4Addr::new(10, 42, 0, 2)));
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), 5);
        assert!(matches!(leases.acquire("p5", &[]), Err(NetworkError::Exhausted(_))));
        leases.release("p2").unwrap();
        assert_eq!(leases.acquire("p5", &[]).unwrap().address, given[2]);
    }

    #[test]
    fn an_address_rests_before_it_is_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut leases = leases(&dir, "10.42.0.0/24");
        let first = leases.acquire("a", &[]).unwrap().address;
        leases.release("a").unwrap();
        assert_ne!(leases.acquire("b", &[]).unwrap().address, first);
    }

    #[test]
    fn leases_hold_across_a_restart_and_torn_files_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let port = HostPort { host_ip: None, host_port: 80, container_port: 8080, protocol: "TCP".into() };
        let lease = leases(&dir, "10.42.0.0/16").acquire("a", std::slice::from_ref(&port)).unwrap();
        fs::write(dir.path().join("b"), "{\"addr").unwrap();
        let again = leases(&dir, "10.42.0.0/16");
        assert_eq!(again.iter().collect::<Vec<_>>(), [(&"a".to_owned(), &lease)]);
        assert!(!dir.path().join("b").exists());
    }

    #[test]
    fn a_uid_that_is_a_path_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(leases(&dir, "10.42.0.0/16").acquire("../x", &[]).is_err());
    }
}
