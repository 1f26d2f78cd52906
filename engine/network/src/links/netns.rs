//! A netlink socket inside another network namespace. A thread of its own enters the namespace and ends: the
//! caller's thread, which may be shared by other tasks, never leaves its own.

use std::{fs::File, io, os::fd::AsFd, thread};

use nix::sched::{CloneFlags, setns};

use crate::netlink::{Family, Refused, Socket};

pub fn socket_in(netns: &File, subject: &str) -> Result<Socket, Refused> {
    let refused = |source: io::Error| Refused {
        action: "enter network namespace",
        subject: subject.to_owned(),
        source,
    };
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| refused(errno.into()))?;
            Socket::open(Family::Route)
        });
        entered.join().unwrap_or_else(|_| Err(refused(io::Error::other("thread panicked"))))
    })
}
