//! The lives of a pod's processes: creation, start, output, end.
//!
//! Kept true: what a container wrote before its end is in its log before the end is told.
#![allow(unsafe_code)]

use std::{fs, io};

use super::{
    container::{self, Container},
    log::Stream,
    server::Server,
    session::Purpose,
};
use crate::{
    api::Exit,
    protocol::{self, Reply, Status},
    record,
};

impl Server {
    pub(super) fn create(&mut self, index: usize, id: &str) {
        let number = self.connections[index].number;
        if self.position(id).is_some() {
            return self.connections[index].finish(&Reply::Done);
        }
        self.forget_unclaimed();
        match Container::create(self.pod.container(id), &self.sandbox, number) {
            // The answer goes out when its status came: see `create_status`.
            Ok(container) => self.containers.push(container),
            Err(error) => self.connections[index].finish(&Reply::Failed { message: error.to_string() }),
        }
    }

    pub(super) fn create_status(&mut self, index: usize) {
        let container = &mut self.containers[index];
        let Some(socket) = container.status.take() else { return };
        let mut descriptors = Vec::new();
        let status = protocol::receive_packet::<Status>(&socket, &mut descriptors).unwrap_or(None);
        if let Err(error) = container.created(status, descriptors) {
            container.failure = Some(error.to_string());
        }
        if container.failure.is_some() || self.shutdown.is_some() {
            // What was made so far must not stay behind.
            let cgroup = record::container_cgroup(&self.sandbox.cgroup, &container.record.id);
            self.cgroups.kill(&cgroup);
        }
        let (pid, requested_by) = (container.pid, container.requested_by);
        if let Some(connection) = self.connections.iter_mut().find(|other| other.number == requested_by) {
            connection.finish(&Reply::Done);
        }
        if let Some(status) = pid.and_then(|pid| self.claim(pid)) {
            self.container_ended(index, status);
        }
    }

    pub(super) fn start(&mut self, _connection: usize, index: usize) -> Reply {
        let container = &mut self.containers[index];
        if container.exit.is_none() && container.started_at_unix_ms == 0 {
            let result = match container.failure.clone() {
                Some(message) => Err(message),
                None => container.start(&self.sandbox.run).map_err(|error| error.to_string()),
            };
            if let Err(message) = result {
                self.start_failed(index, &message);
            }
        }
        let container = &self.containers[index];
        let failure = container.exit.as_ref().and_then(|exit| exit.start_error.clone());
        match (failure, container.pid) {
            (Some(message), _) => Reply::Failed { message },
            (None, Some(pid)) => Reply::Started { pid, started_at_unix_ms: container.started_at_unix_ms },
            (None, None) => Reply::Failed { message: "the container has no process".to_owned() },
        }
    }

    /// Code 128 and no start time, as a stock node reports `StartError`.
    fn start_failed(&mut self, index: usize, message: &str) {
        let exit = Exit {
            code: 128,
            signal: None,
            oom_killed: false,
            started_at_unix_ms: 0,
            finished_at_unix_ms: record::now_unix_ms(),
            start_error: Some(container::start_error(message)),
        };
        self.ended(index, exit);
    }

    pub(super) fn signal(&mut self, index: usize, signal: i32) -> Reply {
        let container = &self.containers[index];
        let (Some(pid), None) = (container.pid, &container.exit) else { return Reply::Done };
        // SAFETY: takes numbers only. The process is our child and not reaped, so its number is still its own.
        unsafe { libc::kill(pid, signal) };
        if signal == libc::SIGKILL {
            self.cgroups.kill(&record::container_cgroup(&self.sandbox.cgroup, &container.record.id));
        }
        Reply::Done
    }

    /// Reads once what a container wrote; more is told by the next poll.
    pub(super) fn output(&mut self, index: usize, stream: Stream) {
        self.read_output(index, stream);
    }

    /// False when there is nothing more to read now.
    fn read_output(&mut self, index: usize, stream: Stream) -> bool {
        let container = &mut self.containers[index];
        let Some(descriptor) = container.output(stream) else { return false };
        match nix::unistd::read(descriptor, &mut self.buffer) {
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => false,
            // A PTY whose other end is closed gives EIO.
            Ok(0) | Err(_) => {
                container.close_output(stream);
                false
            }
            Ok(count) => {
                container.log.append(stream, &self.buffer[..count]);
                for connection in &mut self.connections {
                    if let Purpose::Attach(attach) = &mut connection.purpose
                        && attach.container == container.record.id
                    {
                        attach.offer(stream, &self.buffer[..count]);
                    }
                }
                true
            }
        }
    }

    pub(super) fn reaped(&mut self, pid: i32, status: i32) {
        if let Some(index) = self.live(pid) {
            return self.container_ended(index, status);
        }
        if let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == Some(pid) && exec.code.is_none()) {
            exec.code = Some(container::code(status).0);
            return self.advance_execs();
        }
        if self.pause == Some(pid) {
            self.pause = None;
            if self.shutdown.is_none() {
                // Its processes are gone with it; containers to come need a new one.
                let _ = self.start_pause();
            }
            return;
        }
        self.forget_unclaimed();
        if self.expects_processes() {
            self.unclaimed.push((pid, status));
        }
    }

    /// Numbers are used again: only a process that is not reaped has its own.
    fn live(&self, pid: i32) -> Option<usize> {
        self.containers.iter().position(|container| container.pid == Some(pid) && container.exit.is_none())
    }

    fn expects_processes(&self) -> bool {
        let creating = self.containers.iter().any(|container| container.status.is_some());
        creating || self.execs.iter().any(|exec| exec.pid.is_none())
    }

    /// Before a new process is asked for, so that an old number is not taken for its.
    pub(super) fn forget_unclaimed(&mut self) {
        if !self.expects_processes() {
            self.unclaimed.clear();
        }
    }

    pub(super) fn claim(&mut self, pid: i32) -> Option<i32> {
        let position = self.unclaimed.iter().position(|(other, _)| *other == pid)?;
        Some(self.unclaimed.swap_remove(position).1)
    }

    fn container_ended(&mut self, index: usize, status: i32) {
        if self.containers[index].exit.is_some() {
            return;
        }
        let cgroup = record::container_cgroup(&self.sandbox.cgroup, &self.containers[index].record.id);
        if self.sandbox.spec.share_process_namespace || self.sandbox.spec.host_pid {
            // Without a process namespace of its own its other processes would live on.
            self.cgroups.kill(&cgroup);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            // Bounded: a process outside of the container could keep a stream full for ever.
            for _ in 0..4096 {
                if !self.read_output(index, stream) {
                    break;
                }
            }
            self.containers[index].log.finish(stream);
        }
        let (code, signal) = container::code(status);
        let exit = Exit {
            code,
            signal,
            oom_killed: self.cgroups.oom_kills(&cgroup) > 0,
            started_at_unix_ms: self.containers[index].started_at_unix_ms,
            finished_at_unix_ms: record::now_unix_ms(),
            start_error: None,
        };
        self.ended(index, exit);
    }

    fn ended(&mut self, index: usize, exit: Exit) {
        let container = &mut self.containers[index];
        // A full disk must not hide the end from the daemon.
        let _ = container.directory.write_exit(&exit);
        container.exit = Some(exit.clone());
        container.stdin = None;
        container.stdin_pending.clear();
        let id = container.record.id.clone();
        let (started, code) = (container.started_at_unix_ms > 0 || exit.start_error.is_some(), exit.code);
        for connection in &mut self.connections {
            match &connection.purpose {
                Purpose::Watch if started => {
                    connection.send(&Reply::Exited { id: id.clone(), exit: exit.clone() })
                }
                Purpose::Attach(attach) if attach.container == id => connection.finish(&Reply::Code { code }),
                _ => {}
            }
        }
    }

    /// Every container ended: lets go of everything and ends.
    pub(super) fn end(mut self) -> io::Result<()> {
        if let Some(pid) = self.pause {
            // SAFETY: takes numbers only.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        let _ = fs::remove_file(self.sandbox.run.join("shim.sock"));
        if let Some(connection) =
            self.connections.iter_mut().find(|other| Some(other.number) == self.shutdown)
        {
            connection.socket.set_nonblocking(false)?;
            connection.finish(&Reply::Done);
        }
        std::process::exit(0)
    }
}
