//! One container as its shim sees it: streams, log, state.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use super::{
    log::{Log, Stream},
    spawn::{self, Streams},
};
use crate::{
    api::Exit,
    protocol::{ContainerSummary, Status},
    record::{self, ContainerDirectory, ContainerRecord, RunningRecord, SandboxRecord},
};

pub struct Container {
    pub record: ContainerRecord,
    pub directory: ContainerDirectory,
    pub log: Log,
    /// Until `coracle create` told the process.
    pub status: Option<OwnedFd>,
    pub pid: Option<i32>,
    pub started_at_unix_ms: i64,
    /// Why it cannot be started.
    pub failure: Option<String>,
    pub exit: Option<Exit>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// With a TTY both directions go through its master.
    pub master: Option<OwnedFd>,
    pub stdin: Option<OwnedFd>,
    /// What an attach sent and the container has not read.
    pub stdin_pending: Vec<u8>,
    pub stdin_ends: bool,
    pub removed: bool,
    /// The connection that waits for the creation.
    pub requested_by: u64,
}

impl Container {
    /// Starts `coracle create container`; its answer comes on `status`.
    pub fn create(
        directory: ContainerDirectory,
        sandbox: &SandboxRecord,
        requested_by: u64,
    ) -> io::Result<Self> {
        let record = directory.record()?;
        let log = Log::open(&record.log, sandbox.log_max_bytes, sandbox.log_max_files)?;
        let mut container = Self {
            log,
            directory,
            status: None,
            pid: None,
            started_at_unix_ms: 0,
            failure: None,
            exit: None,
            stdout: None,
            stderr: None,
            master: None,
            stdin: None,
            stdin_pending: Vec::new(),
            stdin_ends: false,
            removed: false,
            requested_by,
            record,
        };
        let streams = container.streams()?;
        let (_, status) = spawn::create("container", Some(&container.directory.0), streams)?;
        container.status = Some(status);
        Ok(container)
    }

    /// Our ends are kept, the container's ends returned.
    fn streams(&mut self) -> io::Result<Streams> {
        let mut streams = Streams::default();
        if self.record.spec.tty {
            return Ok(streams);
        }
        let (stdout, theirs) = spawn::pipe()?;
        streams.stdout = Some(theirs);
        let (stderr, theirs) = spawn::pipe()?;
        streams.stderr = Some(theirs);
        spawn::set_nonblocking(&stdout)?;
        spawn::set_nonblocking(&stderr)?;
        (self.stdout, self.stderr) = (Some(stdout), Some(stderr));
        if self.record.spec.stdin {
            let (theirs, stdin) = spawn::pipe()?;
            spawn::set_nonblocking(&stdin)?;
            (streams.stdin, self.stdin) = (Some(theirs), Some(stdin));
        }
        // The streams of a container belong to its user, as engines do it: /dev/stdout can be opened again.
        let user = &self.record.spec.user;
        for stream in [&streams.stdin, &streams.stdout, &streams.stderr].into_iter().flatten() {
            nix::unistd::fchown(stream, Some(user.uid.into()), Some(user.gid.into()))?;
        }
        Ok(streams)
    }

    /// What `coracle create` said; `None`: it ended without a word.
    pub fn created(&mut self, status: Option<Status>, mut descriptors: Vec<OwnedFd>) -> io::Result<()> {
        self.status = None;
        match status {
            Some(Status::Created { pid }) => {
                self.pid = Some(pid);
                self.master = descriptors.pop();
                self.master.as_ref().map_or(Ok(()), spawn::set_nonblocking)
            }
            Some(Status::Failed { message }) => {
                self.failure = Some(message);
                Ok(())
            }
            None => {
                self.failure = Some("the process that creates containers ended without a word".to_owned());
                Ok(())
            }
        }
    }

    /// Lets the created process execute its program.
    pub fn start(&mut self, run: &Path) -> io::Result<()> {
        let pid = self.pid.ok_or_else(|| io::Error::other("the container has no process"))?;
        let directory = File::open(record::oci_root(run).join(&self.record.id))?;
        let mut socket = UnixStream::connect(format!("/proc/self/fd/{}/notify.sock", directory.as_raw_fd()))?;
        // On disk before the program runs: after a restart of the daemon it counts as running.
        self.started_at_unix_ms = record::now_unix_ms();
        let running = RunningRecord { pid, started_at_unix_ms: self.started_at_unix_ms };
        self.directory.write_running(&running)?;
        socket.write_all(b"start container")
    }

    pub fn output(&self, stream: Stream) -> Option<&OwnedFd> {
        match stream {
            Stream::Stdout => self.stdout.as_ref().or(self.master.as_ref()),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    pub fn close_output(&mut self, stream: Stream) {
        self.log.finish(stream);
        match stream {
            Stream::Stdout => (self.stdout, self.master) = (None, None),
            Stream::Stderr => self.stderr = None,
        }
    }

    /// Where an attach's input goes.
    pub fn input(&self) -> Option<&OwnedFd> {
        self.stdin.as_ref().or(self.master.as_ref())
    }

    pub fn flush_input(&mut self) {
        while !self.stdin_pending.is_empty() {
            let Some(input) = self.input() else { return self.stdin_pending.clear() };
            match nix::unistd::write(input, &self.stdin_pending) {
                Ok(count) => drop(self.stdin_pending.drain(..count)),
                Err(nix::errno::Errno::EAGAIN) => return,
                // Nobody reads any more.
                Err(_) => {
                    self.stdin_pending.clear();
                    self.stdin = None;
                }
            }
        }
        if self.stdin_ends {
            self.stdin = None;
        }
    }

    pub fn is_live(&self) -> bool {
        self.exit.is_none() && (self.pid.is_some() || self.status.is_some())
    }

    pub fn summary(&self) -> ContainerSummary {
        let started = self.started_at_unix_ms > 0;
        ContainerSummary {
            id: self.record.id.clone(),
            pid: self.pid.filter(|_| started),
            started_at_unix_ms: self.started_at_unix_ms,
            exit: self.exit.clone(),
        }
    }
}

/// The words of a stock node when a container cannot be started.
pub fn start_error(message: &str) -> String {
    format!(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
         unable to start container process: {message}: unknown"
    )
}

/// The exit code as shells and Kubernetes count it, and the signal.
pub fn code(status: i32) -> (i32, Option<i32>) {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        (128 + signal, Some(signal))
    } else {
        (libc::WEXITSTATUS(status), None)
    }
}
