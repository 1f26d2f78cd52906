//! What the daemon and a pod's shim say to each other over `shim.sock`.
//!
//! One connection carries one request: a 4-byte little-endian length and JSON, with file descriptors beside the first
//! byte for exec and attach. Most answers are one message; `Watch`, `Exec` and `Attach` stay open:
//! `Watch` tells every end of a container; closing an `Exec` ends its process, closing an `Attach` detaches.
//!
//! Kept true: an end is on disk before it is told here.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::api::{ExecSpec, Exit};

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Watch,
    Create {
        id: String,
    },
    Start {
        id: String,
    },
    Signal {
        id: String,
        signal: i32,
    },
    /// Forgets a stopped container.
    Remove {
        id: String,
    },
    /// With descriptors: without a TTY stdin, stdout, stderr; with one a socket to which the PTY's master is sent.
    Exec {
        id: String,
        spec: ExecSpec,
    },
    /// With descriptors: stdout, stderr, and stdin when asked for.
    Attach {
        id: String,
        stdin: bool,
    },
    /// On an attach's connection.
    Resize {
        columns: u16,
        rows: u16,
    },
    /// Ends what still runs, then the shim.
    Shutdown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    /// In words for the pod's owner.
    Failed {
        message: String,
    },
    NoSuchContainer,
    Started {
        pid: i32,
        started_at_unix_ms: i64,
    },
    /// The first answer to `Watch`.
    Containers {
        containers: Vec<ContainerSummary>,
    },
    Exited {
        id: String,
        exit: Exit,
    },
    /// The process of an exec ended, or the attached container.
    Code {
        code: i32,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerSummary {
    pub id: String,
    pub pid: Option<i32>,
    pub started_at_unix_ms: i64,
    pub exit: Option<Exit>,
}

/// What `coracle create …` tells the shim over its status socket (one packet each).
#[derive(Debug, Serialize, Deserialize)]
pub enum Status {
    /// The new process. With a TTY of a container's first process its master comes along.
    Created {
        pid: i32,
    },
    Failed {
        message: String,
    },
}

/// What the shim tells `coracle create exec` over the same socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExecPlan {
    pub container: std::path::PathBuf,
    pub pid: i32,
    pub spec: ExecSpec,
}

/// No message is longer: arguments of an exec are bounded by what a command line may be.
pub const MAX_MESSAGE: usize = 2 << 20;

pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let body = serde_json::to_vec(message).unwrap_or_default();
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend(body);
    frame
}

/// Takes one whole message off the front of `buffer`, if there is one.
pub fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(length) = buffer.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize) else {
        return Ok(None);
    };
    if length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("message of {length} bytes")));
    }
    let Some(body) = buffer.get(4..4 + length) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

const MAX_DESCRIPTORS: usize = 4;

/// Sends bytes with descriptors beside them. Returns how many bytes were taken.
pub fn send(socket: RawFd, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<usize> {
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero `msghdr` is a valid empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        assert!(descriptors.len() <= MAX_DESCRIPTORS);
        let size = size_of_val(descriptors) as u32;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: `control` is aligned and larger than CMSG_SPACE of four descriptors; the copy stays inside it.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            std::ptr::copy_nonoverlapping(
                descriptors.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                size as usize,
            );
        }
    }
    // SAFETY: `message` points to `part`, `bytes` and `control`, which live through the call.
    match unsafe { libc::sendmsg(socket, &message, libc::MSG_NOSIGNAL) } {
        sent if sent >= 0 => Ok(sent as usize),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Receives bytes and the descriptors that came along (close-on-exec).
pub fn receive(socket: RawFd, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero `msghdr` is a valid empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: `message` points to `part`, `bytes` and `control`, which live through the call.
    let received = unsafe { libc::recvmsg(socket, &mut message, libc::MSG_CMSG_CLOEXEC) };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel filled `control`; the CMSG functions stay within `msg_controllen`. Each descriptor found is
    // new in this process and owned by nobody else.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header);
                let count = ((*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                for index in 0..count {
                    let descriptor = data.cast::<RawFd>().add(index).read_unaligned();
                    descriptors.push(OwnedFd::from_raw_fd(descriptor));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    Ok(received as usize)
}

/// Receives one packet of a status socket. `None`: the other side is gone.
pub fn receive_packet<T: DeserializeOwned>(
    socket: &impl AsRawFd,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Option<T>> {
    // SAFETY: no buffer is given; the call tells the size of the next packet and leaves it there.
    let size =
        unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), 0, libc::MSG_PEEK | libc::MSG_TRUNC) };
    if size < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut buffer = vec![0; size as usize];
    let length = receive(socket.as_raw_fd(), &mut buffer, descriptors)?;
    if length == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&buffer[..length])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_only_when_it_is_whole() {
        let frame = encode(&Request::Start { id: "a".into() });
        let mut buffer = frame[..frame.len() - 1].to_vec();
        assert!(decode::<Request>(&mut buffer).unwrap().is_none());
        buffer.extend(&frame[frame.len() - 1..]);
        buffer.extend(encode(&Request::Watch));
        assert!(matches!(decode(&mut buffer).unwrap(), Some(Request::Start { id }) if id == "a"));
        assert!(matches!(decode(&mut buffer).unwrap(), Some(Request::Watch)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_beyond_reason_is_an_error() {
        assert!(decode::<Request>(&mut vec![0xff; 8]).is_err());
    }

    #[test]
    fn descriptors_travel_beside_the_bytes() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        send(here.as_raw_fd(), b"x", &[here.as_raw_fd(), there.as_raw_fd()]).unwrap();
        let mut found = Vec::new();
        assert_eq!(receive(there.as_raw_fd(), &mut [0; 8], &mut found).unwrap(), 1);
        assert_eq!(found.len(), 2);
    }
}
