//! Private network and mount namespaces for the calling thread, without an uplink.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
    process::Command,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use crate::Outcome;

/// The other end of the node's veth: a second machine on the node's network.
pub struct PeerNamespace(File);

/// Moves the calling thread into new network and mount namespaces: loopback is up, `eth0` has `node_ip/24`, its peer
/// has `peer_ip/24` in a namespace of its own. `/run` is private; the cgroup2 mount of hybrid machines is gone.
pub fn enter_private_namespaces(node_ip: &str, peer_ip: &str) -> Result<PeerNamespace> {
    let peer = PeerNamespace::new()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .context("unshare namespaces (are you root?)")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("make mounts private")?;
    // Absent on machines that are not hybrid.
    let _ = umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH);
    detach_below(&["/run/coracle/", "/var/lib/coracle/"])?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .context("mount a private /run")?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "peer0"])?;
    ip(&["link", "set", "peer0", "netns", &peer.path()])?;
    ip(&["addr", "add", &format!("{node_ip}/24"), "dev", "eth0"])?;
    ip(&["link", "set", "eth0", "up"])?;
    peer.enter(|| {
        ip(&["link", "set", "lo", "up"])?;
        ip(&["addr", "add", &format!("{peer_ip}/24"), "dev", "peer0"])?;
        ip(&["link", "set", "peer0", "up"])
    })??;
    Ok(peer)
}

/// What a Coracle that runs on the machine has mounted there is no part of a test's: it was copied with the namespace.
fn detach_below(dirs: &[&str]) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").context("read the mount table")?;
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| dirs.iter().any(|dir| point.starts_with(dir))) {
        match umount2(point, MntFlags::MNT_DETACH) {
            // Hidden under another mount.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("detach `{point}`")),
        }
    }
    Ok(())
}

impl PeerNamespace {
    fn new() -> Result<PeerNamespace> {
        let made = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare a network namespace (are you root?)")?;
            File::open("/proc/thread-self/ns/net").context("open a network namespace")
        });
        Ok(PeerNamespace(made.join().expect("the thread does not panic")?))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs `work` in the peer's network namespace (and the caller's mounts), on a thread of its own.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET)
                    .context("enter the peer's network namespace")?;
                Ok(work())
            });
            entered.join().expect("the work does not panic")
        })
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("run `ip` (Debian's iproute2)")?;
    Outcome::new(format!("ip {}", arguments.join(" ")), output).ok().map(|_| ())
}
