//! One mounted cgroup hierarchy: finding it, making and removing groups in it.
//!
//! Source: cgroups(7)

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::mountinfo::Mounted;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub mount: PathBuf,
    /// v1: what is mounted here (`name=systemd` too). v2: empty, all of them.
    pub controllers: Vec<String>,
    pub unified: bool,
}

/// v1 controllers in which a container has a group. `name=systemd` is one, so that a pod does not count as ours there.
const V1: [&str; 13] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "perf_event",
    "net_cls",
    "net_prio",
    "name=systemd",
];
/// v2 controllers that groups below ours may use.
const V2: [&str; 6] = ["cpu", "memory", "pids", "cpuset", "io", "hugetlb"];
/// Without these, limits would not hold.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];

/// On hybrid machines the v1 hierarchies hold the controllers, so only these are used.
pub fn among(mounts: Vec<Mounted>) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for Mounted { point, file_system, options, .. } in mounts {
        let unified = file_system == "cgroup2";
        let options = options.split(',');
        let controllers: Vec<String> =
            options.filter(|option| V1.contains(option)).map(str::to_owned).collect();
        if !unified && (file_system != "cgroup" || controllers.is_empty()) {
            continue;
        }
        let controllers = if unified { Vec::new() } else { controllers };
        let known = found.iter().any(|other| other.unified == unified && other.controllers == controllers);
        // The same hierarchy may be mounted again elsewhere, e.g. inside a container.
        if !known {
            found.push(Hierarchy { mount: point, controllers, unified });
        }
    }
    let v1_controls = found.iter().any(|hierarchy| hierarchy.controllers.iter().any(|name| name == "memory"));
    found.retain(|hierarchy| hierarchy.unified != v1_controls);
    found
}

impl Hierarchy {
    pub fn directory(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }

    pub fn join(&self, path: &str, pid: u32) -> io::Result<()> {
        let file = self.directory(path).join("cgroup.procs");
        fs::write(&file, pid.to_string()).map_err(|error| super::with_path("write", &file, error))
    }

    pub fn create(&self, path: &str) -> io::Result<()> {
        let mut directory = self.mount.clone();
        for component in path.split('/').filter(|component| !component.is_empty()) {
            if self.unified {
                enable_controllers(&directory)?;
            }
            let child = directory.join(component);
            match fs::create_dir(&child) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(super::with_path("create", &child, error));
                }
                _ => {}
            }
            if self.controllers.iter().any(|name| name == "cpuset") {
                inherit_cpuset(&directory, &child)?;
            }
            if self.controllers.iter().any(|name| name == "memory") {
                // Linux 5.10: without it the pod's limit would not hold for its containers. Later it always holds.
                let _ = fs::write(child.join("memory.use_hierarchy"), "1");
            }
            directory = child;
        }
        Ok(())
    }
}

/// Lets the groups below `directory` have limits.
fn enable_controllers(directory: &Path) -> io::Result<()> {
    let enabled = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
    let available = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|candidate| candidate == name);
    for name in V2.iter().filter(|name| has(&available, name) && !has(&enabled, name)) {
        let file = directory.join("cgroup.subtree_control");
        let enable = || fs::write(&file, format!("+{name}"));
        match enable() {
            // A group with processes cannot hand out controllers: inside a container the root has some (us).
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                evacuate(directory)?;
                enable().map_err(|error| super::with_path("write", &file, error))?;
            }
            // A container can do without the others, as on kernels that lack them.
            Err(_) if !NEEDED.contains(name) => {}
            other => other.map_err(|error| super::with_path("write", &file, error))?,
        }
    }
    Ok(())
}

/// Moves the processes of a group into a leaf of it, as every nested engine has to.
fn evacuate(directory: &Path) -> io::Result<()> {
    let leaf = directory.join("coracle-init");
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for pid in fs::read_to_string(directory.join("cgroup.procs"))?.lines() {
        // A process that ended meanwhile needs no moving.
        let _ = fs::write(leaf.join("cgroup.procs"), pid);
    }
    Ok(())
}

/// A new v1 cpuset is empty, and nothing can run in it.
fn inherit_cpuset(parent: &Path, child: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = fs::read_to_string(child.join(file)).unwrap_or_default();
        if own.trim().is_empty() {
            let inherited = fs::read_to_string(parent.join(file))?;
            fs::write(child.join(file), inherited.trim())?;
        }
    }
    Ok(())
}

/// Calls `visit` for each group below `directory`, then for itself.
pub fn visit(directory: &Path, action: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        visit(&entry.path(), action);
    }
    action(directory);
}

pub fn remove_tree(directory: &Path) -> io::Result<()> {
    let mut result = Ok(());
    visit(directory, &mut |group| match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            result = Err(super::with_path("remove", group, error))
        }
        _ => {}
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo;

    const HYBRID: &str = "25 24 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
27 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
28 25 0:25 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
29 25 0:26 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
30 25 0:25 / /mnt/again rw,relatime - cgroup cgroup rw,memory";

    #[test]
    fn a_hybrid_machine_is_driven_through_v1() {
        let found = among(mountinfo::parse(HYBRID));
        let mounts: Vec<_> = found.iter().map(|hierarchy| hierarchy.mount.to_str().unwrap()).collect();
        let expected = ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/systemd"];
        assert_eq!(mounts, expected);
        assert_eq!(found[0].controllers, ["cpu", "cpuacct"]);
    }

    #[test]
    fn a_unified_machine_has_one_hierarchy() {
        let found = among(mountinfo::parse(
            "26 25 0:23 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate",
        ));
        assert_eq!(found, [Hierarchy { mount: "/sys/fs/cgroup".into(), controllers: vec![], unified: true }]);
    }
}
