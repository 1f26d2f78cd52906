//! A netlink socket. The kernel handles a message while it is being sent, so that every answer is queued when
//! `send` returns: nothing here waits.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};

use super::{
    Refused,
    message::{Batch, messages},
};

#[derive(Clone, Copy)]
pub enum Family {
    Route,
    Netfilter,
}

/// A socket keeps the network namespace it was opened in.
pub struct Socket {
    fd: OwnedFd,
}

/// A message of the kernel that is not an acknowledgement.
pub struct Reply {
    pub kind: u16,
    pub payload: Vec<u8>,
}

const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;

impl Socket {
    pub fn open(family: Family) -> Result<Socket, Refused> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map(|fd| Socket { fd })
            .map_err(|errno| Refused {
                action: "open netlink socket",
                subject: format!("{protocol:?}"),
                source: errno.into(),
            })
    }

    /// Sends all messages of `batch` and reports the first one that was refused, unless that is tolerated.
    pub fn execute(&self, batch: &Batch) -> Result<Vec<Reply>, Refused> {
        if batch.entries.is_empty() {
            return Ok(Vec::new());
        }
        let whole = |errno: nix::Error| Refused {
            action: "send to the kernel",
            subject: format!("{} messages", batch.entries.len()),
            source: errno.into(),
        };
        self.make_room(batch.bytes.len());
        send(self.fd.as_raw_fd(), &batch.bytes, MsgFlags::empty()).map_err(whole)?;
        let mut replies = Vec::new();
        let mut refused = None;
        let mut buffer = vec![0; 32 * 1024];
        // A dump comes in pieces, each made by the kernel when the one before is read.
        loop {
            let len = match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(len) => len,
                Err(nix::Error::EAGAIN) => break,
                Err(nix::Error::EINTR | nix::Error::ENOBUFS) => continue,
                Err(errno) => return Err(whole(errno)),
            };
            for (kind, sequence, payload) in messages(&buffer[..len]) {
                match kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        refused = refused.or_else(|| refusal(batch, sequence, payload));
                    }
                    _ => replies.push(Reply { kind, payload: payload.to_vec() }),
                }
            }
        }
        refused.map_or(Ok(replies), Err)
    }

    /// A batch must fit the send buffer as a whole.
    fn make_room(&self, len: usize) {
        if len > 64 * 1024 {
            // Root may exceed the system's limit; if not, `send` says so.
            let _ = setsockopt(&self.fd, sockopt::SndBufForce, &(len * 2));
        }
    }
}

fn refusal(batch: &Batch, sequence: u32, payload: &[u8]) -> Option<Refused> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    if code >= 0 {
        return None;
    }
    let entry = batch.entries.get(sequence as usize);
    if entry.is_some_and(|entry| entry.tolerated.contains(&-code)) {
        return None;
    }
    Some(Refused {
        action: entry.map_or("change the kernel's network state", |entry| entry.action),
        subject: entry.map_or_else(String::new, |entry| entry.subject.clone()),
        source: io::Error::from_raw_os_error(-code),
    })
}
