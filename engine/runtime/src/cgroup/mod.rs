//! The control groups of pods and containers, on cgroup v1, v2 and hybrid machines.
//!
//! Kept true: a group exists in every hierarchy that we use or in none; removal is idempotent and leaves nothing.
//! Reads:     the mount table, the groups' files.  Writes: directories and limits below `cgroup_root`.
//! Source:    https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/

pub mod device_filter;
mod hierarchy;
mod limits;
mod usage;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    api::{Resources, Usage},
    mountinfo,
};
use hierarchy::Hierarchy;

/// The hierarchies of this machine: one on v2; on v1 and hybrid one for each set of controllers.
#[derive(Clone, Debug)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    unified: bool,
}

impl Cgroups {
    pub fn detect() -> io::Result<Self> {
        let hierarchies = hierarchy::among(mountinfo::mounts()?);
        if hierarchies.is_empty() {
            let text = "no cgroup file system with the memory and cpu controllers is mounted";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(Self { unified: hierarchies[0].unified, hierarchies })
    }

    /// Makes the group everywhere, with all controllers usable in it. `path` is absolute inside the hierarchies.
    pub fn create(&self, path: &str) -> io::Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.create(path))
    }

    pub fn apply(&self, path: &str, resources: &Resources) -> io::Result<()> {
        for (controller, file, value) in limits::files(resources, self.unified) {
            let Some(hierarchy) = self.hierarchy(controller) else { continue };
            let file = hierarchy.directory(path).join(file);
            match fs::write(&file, &value) {
                // Not every kernel has swap or bandwidth control.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|error| with_path("write", &file, error))?,
            }
        }
        Ok(())
    }

    /// When one process of a container is killed for want of memory, all of them are (v2 only), as on a stock node.
    pub fn kill_as_one(&self, path: &str) {
        if self.unified {
            // Kernels before 4.19 lack it; the container works without.
            let _ = fs::write(self.hierarchies[0].directory(path).join("memory.oom.group"), "1");
        }
    }

    /// Moves a process, everywhere.
    pub fn join(&self, path: &str, pid: u32) -> io::Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.join(path, pid))
    }

    /// Moves a process in the v1 hierarchies without a controller, which `libcontainer` leaves alone.
    pub fn join_named(&self, path: &str, pid: u32) -> io::Result<()> {
        let named = |hierarchy: &&Hierarchy| {
            !hierarchy.unified && hierarchy.controllers.iter().all(|name| name.starts_with("name="))
        };
        self.hierarchies.iter().filter(named).try_for_each(|hierarchy| hierarchy.join(path, pid))
    }

    /// The group's directory in each v1 hierarchy, with the name under which that is mounted; none on a unified machine.
    pub fn v1_groups(&self, path: &str) -> Vec<(String, PathBuf)> {
        let v1 = self.hierarchies.iter().filter(|hierarchy| !hierarchy.unified);
        v1.filter_map(|hierarchy| {
            let name = hierarchy.mount.file_name()?.to_string_lossy().into_owned();
            Some((name, hierarchy.directory(path)))
        })
        .collect()
    }

    /// Every process in the group and below it.
    pub fn processes(&self, path: &str) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for hierarchy in &self.hierarchies {
            hierarchy::visit(&hierarchy.directory(path), &mut |directory| {
                let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
                found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
            });
        }
        found
    }

    /// SIGKILL to every process in the group and below, again until none is left to fork.
    pub fn kill(&self, path: &str) {
        if self.unified && fs::write(self.hierarchies[0].directory(path).join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for _ in 0..100 {
            let processes = self.processes(path);
            let killed = processes.iter().filter(|pid| kill(**pid)).count();
            if killed == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills what is inside and removes the group with everything below it. A group that is gone already is fine.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let mut last = Ok(());
        for attempt in 0..200 {
            last = self
                .hierarchies
                .iter()
                .try_for_each(|hierarchy| hierarchy::remove_tree(&hierarchy.directory(path)));
            if last.is_ok() {
                return Ok(());
            }
            // Busy: somebody is inside, or dying there.
            self.kill(path);
            std::thread::sleep(Duration::from_millis(if attempt < 20 { 1 } else { 10 }));
        }
        last
    }

    /// How often the kernel killed a process of exactly this group for want of memory.
    pub fn oom_kills(&self, path: &str) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let Some(hierarchy) = self.hierarchy("memory") else { return 0 };
        let text = fs::read_to_string(hierarchy.directory(path).join(file)).unwrap_or_default();
        usage::field(&text, "oom_kill").unwrap_or(0)
    }

    pub fn usage(&self, path: &str) -> io::Result<Usage> {
        let directory = |controller| {
            let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no {controller} controller"));
            self.hierarchy(controller).map(|hierarchy| hierarchy.directory(path)).ok_or_else(missing)
        };
        if self.unified {
            return usage::unified(&directory("memory")?);
        }
        usage::v1(&directory("cpuacct")?, &directory("memory")?)
    }

    /// Where the group lies in the v2 hierarchy, for programs attached to it.
    pub fn unified_directory(&self, path: &str) -> Option<PathBuf> {
        self.unified.then(|| self.hierarchies[0].directory(path))
    }

    fn hierarchy(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| {
            hierarchy.unified || hierarchy.controllers.iter().any(|candidate| candidate == controller)
        })
    }
}

fn kill(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).is_ok()
}

fn with_path(action: &str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{action} `{}`: {error}", path.display()))
}
