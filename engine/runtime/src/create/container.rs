//! Creates a container, not started: `coracle create container <directory>`.
//!
//! Reads:  the container's and the sandbox's records.
//! Writes: `config.json` in the container's directory, `libcontainer`'s state below `<run>/oci`.

use std::{
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::FileTypeExt, fs::MetadataExt, net::UnixListener},
    },
    path::Path,
};

use libcontainer::{container::builder::ContainerBuilder, syscall::syscall::SyscallType};
use serde_json::{Value, json};

use super::{
    STATUS, capabilities::CapabilitySet, cgroup_tree, chain, executor::ContainerExecutor, mount_flags,
    process, process::Process, rootfs, spec, words::Words,
};
use crate::{
    api::{ContainerSpec, Mount},
    cgroup::{Cgroups, device_filter},
    protocol::{self, Status},
    record::{self, ContainerDirectory},
};

pub fn create(directory: &Path) -> Result<(), String> {
    let container = ContainerDirectory(directory.to_owned());
    let text = |error: &dyn std::error::Error| chain(error);
    let sandbox = container.pod().and_then(|pod| pod.sandbox()).map_err(|error| text(&error))?;
    let mut record = container.record().map_err(|error| text(&error))?;
    let available = CapabilitySet::bounding().map_err(|error| text(&error))?;
    let process =
        Process::new(&record.spec, &sandbox.spec.hostname, available).map_err(|error| text(&error))?;

    check_sources(&record.spec)?;
    let rootfs = rootfs::prepare(directory, &mut record).map_err(|error| text(&error))?;
    let cgroup = record::container_cgroup(&sandbox.cgroup, &record.id);
    let all_devices = record.spec.privileged || record.spec.devices_all;
    let cgroups = Cgroups::detect().map_err(|error| text(&error))?;
    cgroups.join_named(&cgroup, std::process::id()).map_err(|error| text(&error))?;
    let cgroup_tree = match record.spec.privileged {
        true => None,
        false => cgroup_tree::prepare(directory, &cgroups, &cgroup)
            .map_err(|error| format!("mount the cgroup tree of `{cgroup}`: {error}"))?,
    };
    let around = spec::Surroundings {
        rootfs,
        cgroup: cgroup.clone(),
        cgroup_tree,
        available,
        devices: if all_devices { host_devices(Path::new("/dev")) } else { Vec::new() },
        open_files: open_files(),
    };
    let config = spec::build(&sandbox, &record.spec, &around);
    record::write(&directory.join("config.json"), &config).map_err(|error| text(&error))?;
    adjust_oom_score(record.spec.resources.oom_score_adj);

    let oci = record::oci_root(&sandbox.run);
    let socket = directory.join("console.sock");
    let console = record.spec.tty.then(|| listen(&socket)).transpose().map_err(|error| text(&error))?;
    let late_flags = mount_flags::late(&config).map_err(|error| text(&error))?;
    let executor = ContainerExecutor { process, late_flags, status: STATUS };
    let words = Words::collect().map_err(|error| text(&error))?;
    let created = ContainerBuilder::new(record.id.clone(), SyscallType::default())
        .with_executor(executor)
        .with_root_path(&oci)
        .map_err(|error| text(&error))?
        .with_console_socket(console.as_ref().map(|_| &socket))
        .as_init(directory)
        .as_sibling(true)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|error| {
            let words = words.first().unwrap_or_else(|| text(&error));
            format!("error during container init: {}", mount_failure(&record.spec, &around.rootfs, words))
        })?;
    let pid = created.pid().ok_or("libcontainer gave no process")?.as_raw();

    if !all_devices
        && let Some(group) = cgroups.unified_directory(&cgroup)
        && let Err(error) = device_filter::attach(&group)
    {
        kill(pid);
        return Err(format!("restrict devices of `{cgroup}`: {error}"));
    }
    let master =
        console.map(|listener| accept_master(&listener)).transpose().map_err(|error| text(&error))?;
    let descriptors: Vec<_> = master.iter().map(AsRawFd::as_raw_fd).collect();
    super::report(&Status::Created { pid }, &descriptors);
    Ok(())
}

/// In the words that runc has for it.
fn check_sources(spec: &ContainerSpec) -> Result<(), String> {
    spec.mounts.iter().try_for_each(|mount| {
        fs::metadata(&mount.host_path).map(|_| ()).map_err(|error| {
            let (source, target) = (mount.host_path.display(), mount.container_path.display());
            let reason = process::reason(&error);
            format!("error during container init: error mounting \"{source}\" to rootfs at \"{target}\": stat {source}: {reason}")
        })
    })
}

/// `libcontainer` shows a mount that failed as Rust does, and of a system call that it failed. In runc's words.
fn mount_failure(spec: &ContainerSpec, rootfs: &Path, words: String) -> String {
    let shown = |mount: &&Mount| {
        words.starts_with(&format!("failed to mount Mount {{ destination: {:?},", mount.container_path))
    };
    let Some(mount) = spec.mounts.iter().find(shown) else { return words };
    let (source, target) = (mount.host_path.display(), mount.container_path.display());
    let is_directory = mount.host_path.is_dir();
    let reason = match covered(spec, rootfs, &mount.container_path) {
        Some(covered) if covered.is_dir() != is_directory => {
            "not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"
        }
        _ => words.rsplit_once(" }: ").map_or("", |(_, reason)| reason),
    };
    format!(
        "error mounting \"{source}\" to rootfs at \"{target}\": mount src={source}, dst={target}, flags=MS_BIND|MS_REC: {reason}"
    )
}

/// What the image or another volume has where `target` is mounted.
fn covered(spec: &ContainerSpec, rootfs: &Path, target: &Path) -> Option<fs::Metadata> {
    let around = |mount: &&Mount| mount.container_path != target && target.starts_with(&mount.container_path);
    let deepest = spec.mounts.iter().filter(around).max_by_key(|it| it.container_path.components().count());
    let path = match deepest {
        Some(mount) => mount.host_path.join(target.strip_prefix(&mount.container_path).ok()?),
        None => rootfs.join(target.strip_prefix("/").ok()?),
    };
    fs::symlink_metadata(path).ok()
}

fn kill(pid: i32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

/// Inherited by the container. Without CAP_SYS_RESOURCE the score cannot go down: then it stays as low as it may be.
fn adjust_oom_score(wanted: Option<i32>) {
    const FILE: &str = "/proc/self/oom_score_adj";
    let Some(wanted) = wanted else { return };
    if fs::write(FILE, wanted.to_string()).is_err() {
        let current =
            fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok()).unwrap_or(0);
        let _ = fs::write(FILE, wanted.max(current).to_string());
    }
}

/// As many as this process may give away, up to containerd's 1048576.
fn open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_ascii_whitespace().nth(1)).and_then(|word| word.parse().ok());
    hard.unwrap_or(1_048_576).min(1_048_576)
}

fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    // A socket's path has to be short: bind below the directory's descriptor.
    let directory = fs::File::open(socket.parent().unwrap_or(Path::new("/")))?;
    UnixListener::bind(format!("/proc/self/fd/{}/console.sock", directory.as_raw_fd()))
}

fn accept_master(listener: &UnixListener) -> std::io::Result<OwnedFd> {
    let (connection, _) = listener.accept()?;
    let mut descriptors = Vec::new();
    protocol::receive(connection.as_raw_fd(), &mut [0; 64], &mut descriptors)?;
    descriptors.pop().ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "no PTY came"))
}

/// Every device node of the machine, for privileged containers, except what a container has of its own.
fn host_devices(directory: &Path) -> Vec<Value> {
    const OWN: [&str; 7] = ["pts", "shm", "mqueue", "fd", "console", "ptmx", ".lxc"];
    let mut devices = Vec::new();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| !OWN.iter().any(|own| entry.file_name() == *own)) {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        let kind = metadata.file_type();
        if kind.is_dir() {
            devices.extend(host_devices(&entry.path()));
        } else if kind.is_char_device() || kind.is_block_device() {
            let number = metadata.rdev();
            devices.push(json!({
                "path": entry.path(), "type": if kind.is_char_device() { "c" } else { "b" },
                "major": nix::sys::stat::major(number), "minor": nix::sys::stat::minor(number),
                "fileMode": metadata.mode() & 0o7777, "uid": metadata.uid(), "gid": metadata.gid()
            }));
        }
    }
    devices
}
