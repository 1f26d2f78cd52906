//! Connections to the shim, and the exec and attach sessions that some of them are.
#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use serde::Serialize;

use super::log::Stream;
use crate::protocol;

pub struct Connection {
    pub number: u64,
    pub socket: UnixStream,
    pub inbox: Vec<u8>,
    pub outbox: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
    pub purpose: Purpose,
    /// What is said last, once an attach has seen all output; then the connection closes.
    last: Option<Vec<u8>>,
    pub closed: bool,
}

pub enum Purpose {
    /// One request, one answer.
    Request,
    Watch,
    Exec,
    Attach(Attach),
}

impl Connection {
    pub fn new(number: u64, socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            number,
            socket,
            inbox: Vec::new(),
            outbox: Vec::new(),
            descriptors: Vec::new(),
            purpose: Purpose::Request,
            last: None,
            closed: false,
        })
    }

    /// Reads what is there. The other side's end closes the connection.
    pub fn fill(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match protocol::receive(self.socket.as_raw_fd(), &mut buffer, &mut self.descriptors) {
                Ok(0) => return self.closed = true,
                Ok(count) => self.inbox.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.closed = true,
            }
        }
    }

    /// Something is still to be said, but for the answer to who ends the pod.
    pub fn is_unfinished(&self) -> bool {
        !self.closed && self.last.is_some()
    }

    pub fn send<T: Serialize>(&mut self, message: &T) {
        self.outbox.extend(protocol::encode(message));
        self.flush();
    }

    pub fn finish<T: Serialize>(&mut self, message: &T) {
        self.last = Some(protocol::encode(message));
        self.flush();
    }

    pub fn flush(&mut self) {
        let drained = match &self.purpose {
            Purpose::Attach(attach) => attach.is_drained(),
            _ => true,
        };
        let ending = drained && self.last.is_some();
        if let (true, Some(last)) = (ending, &mut self.last) {
            self.outbox.append(last);
        }
        while !self.outbox.is_empty() {
            match protocol::send(self.socket.as_raw_fd(), &self.outbox, &[]) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.closed = true,
            }
        }
        self.closed |= ending;
    }
}

/// A client that sees a container's output and may write its input.
pub struct Attach {
    pub container: String,
    outputs: [Option<OwnedFd>; 2],
    pending: [Vec<u8>; 2],
    pub input: Option<OwnedFd>,
}

/// A client that reads more slowly than the container writes slows the container down once this much waits.
const MAX_PENDING: usize = 64 << 10;

impl Attach {
    pub fn new(container: String, descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let mut descriptors = descriptors.into_iter();
        let outputs = [descriptors.next(), descriptors.next()];
        let input = descriptors.next();
        outputs.iter().flatten().chain(&input).try_for_each(super::spawn::set_nonblocking)?;
        Ok(Self { container, outputs, pending: Default::default(), input })
    }

    pub fn offer(&mut self, stream: Stream, bytes: &[u8]) {
        if self.outputs[stream as usize].is_some() {
            self.pending[stream as usize].extend_from_slice(bytes);
            self.flush(stream);
        }
    }

    pub fn flush(&mut self, stream: Stream) {
        let (output, pending) = (&mut self.outputs[stream as usize], &mut self.pending[stream as usize]);
        while !pending.is_empty() {
            let Some(descriptor) = output else { return pending.clear() };
            match nix::unistd::write(descriptor, pending) {
                Ok(count) => drop(pending.drain(..count)),
                Err(nix::errno::Errno::EAGAIN) => return,
                Err(_) => *output = None,
            }
        }
    }

    pub fn waiting(&self, stream: Stream) -> Option<&OwnedFd> {
        let waits = !self.pending[stream as usize].is_empty();
        self.outputs[stream as usize].as_ref().filter(|_| waits)
    }

    pub fn is_slow(&self) -> bool {
        self.pending.iter().any(|pending| pending.len() > MAX_PENDING)
    }

    fn is_drained(&self) -> bool {
        self.pending.iter().all(Vec::is_empty)
    }
}

/// A process started by exec.
pub struct Exec {
    pub connection: u64,
    ends_with_session: bool,
    /// Until the program runs.
    pub status: Option<OwnedFd>,
    pub pid: Option<i32>,
    pub failed: bool,
    pub code: Option<i32>,
    /// The client is gone, and the process must end.
    abandoned: bool,
    pub told_started: bool,
    pub finished: bool,
}

impl Exec {
    pub fn new(connection: u64, status: OwnedFd, ends_with_session: bool) -> Self {
        Self {
            connection,
            ends_with_session,
            status: Some(status),
            pid: None,
            failed: false,
            code: None,
            abandoned: false,
            told_started: false,
            finished: false,
        }
    }

    pub fn left_by_client(&mut self) {
        self.abandoned = self.ends_with_session;
        self.kill_if_abandoned();
    }

    /// The process leads a group of its own; what it started and left in it ends too.
    pub fn kill_if_abandoned(&self) {
        if let (true, Some(pid), None) = (self.abandoned, self.pid, self.code) {
            // SAFETY: takes numbers only.
            unsafe {
                libc::kill(-pid, libc::SIGKILL);
                libc::kill(pid, libc::SIGKILL);
            }
        }
    }
}
