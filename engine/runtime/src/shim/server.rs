//! The shim's loop: waits for events and handles them one after the other.
#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    time::{Duration, Instant},
};

use super::{
    container::Container,
    events::{self, PollSet, Source},
    log::Stream,
    session::{Attach, Connection, Exec, Purpose},
    spawn::{self, Streams},
};
use crate::{
    cgroup::Cgroups,
    protocol::{self, Reply, Request, Status},
    record::{self, PodDirectory, SandboxRecord},
};

/// How long clients may take to read what their container wrote before its end, and how it ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub struct Server {
    pub(super) pod: PodDirectory,
    pub(super) sandbox: SandboxRecord,
    pub(super) cgroups: Cgroups,
    pub(super) listener: UnixListener,
    pub(super) signals: OwnedFd,
    pub(super) connections: Vec<Connection>,
    pub(super) containers: Vec<Container>,
    pub(super) execs: Vec<Exec>,
    /// The first process of the shared process namespace.
    pub(super) pause: Option<i32>,
    /// Children that ended before their `coracle create` told us of them.
    pub(super) unclaimed: Vec<(i32, i32)>,
    pub(super) next_number: u64,
    /// Who asked for the end.
    pub(super) shutdown: Option<u64>,
    pub(super) buffer: Vec<u8>,
}

impl Server {
    pub fn new(pod: PodDirectory, sandbox: SandboxRecord, listener: UnixListener) -> io::Result<Self> {
        let mut server = Self {
            pod,
            cgroups: Cgroups::detect()?,
            listener,
            signals: events::signals()?,
            connections: Vec::new(),
            containers: Vec::new(),
            execs: Vec::new(),
            pause: None,
            unclaimed: Vec::new(),
            next_number: 0,
            shutdown: None,
            buffer: vec![0; 32 << 10],
            sandbox,
        };
        if server.sandbox.spec.share_process_namespace && !server.sandbox.spec.host_pid {
            server.start_pause()?;
        }
        Ok(server)
    }

    pub(super) fn start_pause(&mut self) -> io::Result<()> {
        let pinned = record::namespace(&self.sandbox.run, "pid");
        // Of a first process that was killed.
        let _ = nix::mount::umount2(&pinned, nix::mount::MntFlags::MNT_DETACH);
        let (_, status) = spawn::create("pause", Some(&self.sandbox.run), Streams::default())?;
        match protocol::receive_packet(&status, &mut Vec::new())? {
            Some(Status::Created { pid }) => {
                self.pause = Some(pid);
                Ok(())
            }
            Some(Status::Failed { message }) => Err(io::Error::other(message)),
            None => Err(io::Error::other("the first process of the pod ended without a word")),
        }
    }

    pub fn run(mut self) -> io::Result<()> {
        let mut set = PollSet::default();
        let mut ended_at = None;
        loop {
            self.fill(&mut set);
            let timeout = ended_at.map(|_| LAST_WORDS.as_millis() as i32);
            for source in set.wait(timeout)? {
                self.handle(source);
            }
            self.sweep();
            if self.shutdown.is_some() && !self.containers.iter().any(Container::is_live) {
                let ended_at = *ended_at.get_or_insert_with(Instant::now);
                let is_said =
                    self.execs.is_empty() && !self.connections.iter().any(Connection::is_unfinished);
                if is_said || ended_at.elapsed() > LAST_WORDS {
                    return self.end();
                }
            }
        }
    }

    fn fill(&self, set: &mut PollSet) {
        set.clear();
        for (index, container) in self.containers.iter().enumerate() {
            if let Some(status) = &container.status {
                set.read(status, Source::CreateStatus(index));
            }
        }
        for (index, exec) in self.execs.iter().enumerate() {
            if let Some(status) = &exec.status {
                set.read(status, Source::ExecStatus(index));
            }
        }
        for (index, container) in self.containers.iter().enumerate() {
            let slow = self.attached(&container.record.id).any(|attach| attach.is_slow());
            for stream in [Stream::Stdout, Stream::Stderr] {
                if let (false, Some(output)) = (slow, container.output(stream)) {
                    set.read(output, Source::Output(index, stream));
                }
            }
            if let (false, Some(input)) = (container.stdin_pending.is_empty(), container.input()) {
                set.write(input, Source::ContainerInput(index));
            }
        }
        for (index, connection) in self.connections.iter().enumerate() {
            let events =
                if connection.outbox.is_empty() { libc::POLLIN } else { libc::POLLIN | libc::POLLOUT };
            set.add(connection.socket.as_raw_fd(), events, Source::Connection(index));
            let Purpose::Attach(attach) = &connection.purpose else { continue };
            for stream in [Stream::Stdout, Stream::Stderr] {
                if let Some(output) = attach.waiting(stream) {
                    set.write(output, Source::AttachOutput(index, stream));
                }
            }
            if let (Some(input), true) = (&attach.input, self.takes_input(&attach.container)) {
                set.read(input, Source::AttachInput(index));
            }
        }
        set.read(&self.listener, Source::Listener);
        set.read(&self.signals, Source::Signals);
    }

    fn attached<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Attach> {
        self.connections.iter().filter_map(move |connection| match &connection.purpose {
            Purpose::Attach(attach) if attach.container == id => Some(attach),
            _ => None,
        })
    }

    fn takes_input(&self, id: &str) -> bool {
        self.position(id).is_some_and(|index| self.containers[index].stdin_pending.is_empty())
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::CreateStatus(index) => self.create_status(index),
            Source::ExecStatus(index) => self.exec_status(index),
            Source::Output(index, stream) => self.output(index, stream),
            Source::ContainerInput(index) => self.containers[index].flush_input(),
            Source::Connection(index) => self.connection(index),
            Source::AttachOutput(index, stream) => {
                if let Purpose::Attach(attach) = &mut self.connections[index].purpose {
                    attach.flush(stream);
                }
                self.connections[index].flush();
            }
            Source::AttachInput(index) => self.attach_input(index),
            Source::Listener => self.accept(),
            Source::Signals => {
                events::drain(&self.signals);
                while let Some((pid, status)) = events::reap() {
                    self.reaped(pid, status);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            self.next_number += 1;
            if let Ok(connection) = Connection::new(self.next_number, socket) {
                self.connections.push(connection);
            }
        }
    }

    fn connection(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.fill();
        connection.flush();
        loop {
            match protocol::decode(&mut self.connections[index].inbox) {
                Ok(Some(request)) => self.request(index, request),
                Ok(None) => break,
                Err(_) => {
                    self.connections[index].closed = true;
                    break;
                }
            }
        }
    }

    fn request(&mut self, index: usize, request: Request) {
        match request {
            Request::Watch => {
                let containers = self.containers.iter().map(Container::summary).collect();
                self.connections[index].purpose = Purpose::Watch;
                self.connections[index].send(&Reply::Containers { containers });
            }
            Request::Create { id } => self.create(index, &id),
            Request::Start { id } => self.on_container(index, &id, Self::start),
            Request::Signal { id, signal } => {
                self.on_container(index, &id, |server, _, at| server.signal(at, signal))
            }
            Request::Remove { id } => self.on_container(index, &id, |server, _, at| {
                server.containers[at].removed = true;
                Reply::Done
            }),
            Request::Exec { id, spec } => self.exec(index, &id, spec),
            Request::Attach { id, stdin } => self.attach(index, id, stdin),
            Request::Resize { columns, rows } => self.resize(index, columns, rows),
            Request::Shutdown => {
                self.shutdown = Some(self.connections[index].number);
                self.cgroups.kill(&self.sandbox.cgroup);
            }
        }
    }

    pub(super) fn position(&self, id: &str) -> Option<usize> {
        self.containers.iter().position(|container| container.record.id == id && !container.removed)
    }

    fn on_container(
        &mut self,
        index: usize,
        id: &str,
        action: impl FnOnce(&mut Self, usize, usize) -> Reply,
    ) {
        let reply = match self.position(id) {
            Some(at) => action(self, index, at),
            None => Reply::NoSuchContainer,
        };
        self.connections[index].finish(&reply);
    }
}
