//! Exec and attach: starting them, moving their streams, ending them.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use super::{
    server::Server,
    session::{Attach, Exec, Purpose},
    spawn::{self, Streams},
};
use crate::{
    api::ExecSpec,
    protocol::{self, ExecPlan, Reply, Status},
};

impl Server {
    pub(super) fn exec(&mut self, index: usize, id: &str, spec: ExecSpec) {
        let Some(at) = self.position(id) else {
            return self.connections[index].finish(&Reply::NoSuchContainer);
        };
        match self.start_exec(index, at, spec) {
            Ok(exec) => {
                self.connections[index].purpose = Purpose::Exec;
                self.execs.push(exec);
            }
            Err(message) => self.connections[index].finish(&Reply::Failed { message }),
        }
    }

    fn start_exec(&mut self, index: usize, at: usize, spec: ExecSpec) -> Result<Exec, String> {
        self.forget_unclaimed();
        let container = &self.containers[at];
        let (Some(pid), None) = (container.pid.filter(|_| container.started_at_unix_ms > 0), &container.exit)
        else {
            return Err("cannot exec in a stopped container".to_owned());
        };
        let mut descriptors = std::mem::take(&mut self.connections[index].descriptors).into_iter();
        let streams = if spec.tty {
            Streams { console: descriptors.next(), ..Streams::default() }
        } else {
            Streams {
                stdout: descriptors.next(),
                stderr: descriptors.next(),
                stdin: descriptors.next(),
                console: None,
            }
        };
        let text = |error: &dyn std::error::Error| error.to_string();
        let (_, status) = spawn::create("exec", None, streams).map_err(|error| text(&error))?;
        let ends_with_session = spec.ends_with_session;
        let plan = ExecPlan { container: container.directory.0.clone(), pid, spec };
        let plan = serde_json::to_vec(&plan).map_err(|error| text(&error))?;
        protocol::send(status.as_raw_fd(), &plan, &[]).map_err(|error| match error.raw_os_error() {
            Some(libc::EMSGSIZE) => "argument list too long".to_owned(),
            _ => text(&error),
        })?;
        Ok(Exec::new(self.connections[index].number, status, ends_with_session))
    }

    pub(super) fn exec_status(&mut self, index: usize) {
        let exec = &mut self.execs[index];
        let Some(status) = &exec.status else { return };
        match protocol::receive_packet::<Status>(status, &mut Vec::new()) {
            Ok(Some(Status::Created { pid })) => {
                exec.pid = Some(pid);
                exec.kill_if_abandoned();
                if let Some(status) = self.claim(pid) {
                    self.execs[index].code = Some(super::container::code(status).0);
                }
            }
            Ok(Some(Status::Failed { message })) => {
                exec.failed = true;
                exec.finished = true;
                exec.status = None;
                self.tell_exec(index, &Reply::Failed { message }, true);
            }
            // All copies of the socket are closed: the program runs, or nothing ever will.
            Ok(None) | Err(_) => {
                exec.status = None;
                if exec.pid.is_none() {
                    exec.finished = true;
                    let message = "the process that starts programs ended without a word".to_owned();
                    self.tell_exec(index, &Reply::Failed { message }, true);
                }
            }
        }
        self.advance_execs();
    }

    /// Tells what is due: that the program runs, then how it ended.
    pub(super) fn advance_execs(&mut self) {
        for index in 0..self.execs.len() {
            let exec = &mut self.execs[index];
            if exec.finished || exec.status.is_some() || exec.pid.is_none() {
                continue;
            }
            let first = !std::mem::replace(&mut exec.told_started, true);
            let code = exec.code;
            exec.finished = code.is_some();
            if first {
                self.tell_exec(index, &Reply::Done, false);
            }
            if let Some(code) = code {
                self.tell_exec(index, &Reply::Code { code }, true);
            }
        }
    }

    fn tell_exec(&mut self, index: usize, reply: &Reply, last: bool) {
        let number = self.execs[index].connection;
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.number == number)
        else {
            return;
        };
        if last {
            connection.finish(reply);
        } else {
            connection.send(reply);
        }
    }

    pub(super) fn attach(&mut self, index: usize, id: String, stdin: bool) {
        let Some(at) = self.position(&id) else {
            return self.connections[index].finish(&Reply::NoSuchContainer);
        };
        let descriptors = std::mem::take(&mut self.connections[index].descriptors);
        let container = &mut self.containers[at];
        if let Some(exit) = &container.exit {
            let code = exit.code;
            return self.connections[index].finish(&Reply::Code { code });
        }
        match Attach::new(id, descriptors) {
            Ok(mut attach) => {
                if !stdin || container.input().is_none() {
                    attach.input = None;
                }
                self.connections[index].purpose = Purpose::Attach(attach);
                self.connections[index].send(&Reply::Done);
            }
            Err(error) => self.connections[index].finish(&Reply::Failed { message: error.to_string() }),
        }
    }

    pub(super) fn attach_input(&mut self, index: usize) {
        let Purpose::Attach(attach) = &mut self.connections[index].purpose else { return };
        let Some(input) = &attach.input else { return };
        let id = attach.container.clone();
        let read = nix::unistd::read(input.as_fd(), &mut self.buffer);
        let count = match read {
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return,
            Ok(count) => count,
            Err(_) => 0,
        };
        if count == 0 {
            attach.input = None;
            return self.input_ended(&id);
        }
        let Some(at) = self.position(&id) else { return };
        let container = &mut self.containers[at];
        container.stdin_pending.extend_from_slice(&self.buffer[..count]);
        container.flush_input();
    }

    fn input_ended(&mut self, id: &str) {
        let Some(at) = self.position(id) else { return };
        let container = &mut self.containers[at];
        if container.record.spec.stdin_once {
            container.stdin_ends = true;
            container.flush_input();
        }
    }

    pub(super) fn resize(&mut self, index: usize, columns: u16, rows: u16) {
        let Purpose::Attach(attach) = &self.connections[index].purpose else { return };
        let Some(at) = self.position(&attach.container) else { return };
        if let Some(master) = &self.containers[at].master {
            let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            // SAFETY: `size` lives through the call.
            unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        }
    }

    /// Forgets what ended. Positions change here and nowhere else.
    pub(super) fn sweep(&mut self) {
        let closed: Vec<_> = self.connections.extract_if(.., |connection| connection.closed).collect();
        for connection in closed {
            match connection.purpose {
                Purpose::Exec => {
                    let mut of_connection = self.execs.iter_mut();
                    if let Some(exec) = of_connection.find(|exec| exec.connection == connection.number) {
                        exec.left_by_client();
                    }
                }
                Purpose::Attach(attach) if attach.input.is_some() => self.input_ended(&attach.container),
                _ => {}
            }
        }
        self.execs.retain(|exec| !exec.finished);
        self.containers.retain(|container| !container.removed);
    }
}
