//! Exec, attach and connections into a pod.
//!
//! Kept true: a session's streams go directly between this process and the container's; the shim tells the end only.
#![allow(unsafe_code)]

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use futures::FutureExt;
use tokio::{
    net::unix::pipe,
    sync::{mpsc, oneshot},
};

use super::{Runtime, failed, link::Link, random_id, terminal::Terminal, unexpected};
use crate::api::*;
use crate::create::reason;
use crate::protocol::{self, Reply, Request};

/// (the other side's end, ours), close-on-exec. Only ours must not block: the modes are apart.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

/// Our ends of a session without TTY, and the descriptors for the shim: stdout, stderr, stdin.
struct Pipes {
    stdin: Option<pipe::Sender>,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

impl Pipes {
    fn new(stdin: bool) -> io::Result<(Self, Vec<OwnedFd>)> {
        let (stdout, stdout_theirs) = pipe()?;
        let (stderr, stderr_theirs) = pipe()?;
        let mut theirs = vec![stdout_theirs, stderr_theirs];
        let mut input = None;
        if stdin {
            let (stdin_theirs, stdin) = pipe()?;
            theirs.push(stdin_theirs);
            input = Some(pipe::Sender::from_owned_fd(stdin)?);
        }
        let (stdout, stderr) =
            (pipe::Receiver::from_owned_fd(stdout)?, pipe::Receiver::from_owned_fd(stderr)?);
        Ok((Self { stdin: input, stdout, stderr }, theirs))
    }
}

impl Runtime {
    pub async fn exec(&self, id: &ContainerId, spec: ExecSpec) -> Result<Session, RuntimeError> {
        let (_, sandbox) = self.find(id)?;
        let failed = |error| session_failed("exec in container", id, error);
        let request = Request::Exec { id: id.0.to_string(), spec: spec.clone() };
        let mut link = Link::connect(&sandbox.run).map_err(failed)?;
        if spec.tty {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
            started(id, &mut link, &request, vec![theirs.into()]).await?;
            let terminal = receive_master(&ours).and_then(Terminal::new).map_err(failed)?;
            return Ok(self.terminal_session(link, terminal, spec.stdin));
        }
        let (pipes, theirs) = Pipes::new(spec.stdin).map_err(failed)?;
        started(id, &mut link, &request, theirs).await?;
        let (resize, resizes) = mpsc::channel(1);
        Ok(self.session(link, pipes, resize, Resizes::Ignored(resizes), true))
    }

    pub async fn attach(&self, id: &ContainerId, stdin: bool, tty: bool) -> Result<Session, RuntimeError> {
        let (_, sandbox) = self.find(id)?;
        let failed = |error| session_failed("attach to container", id, error);
        let mut link = Link::connect(&sandbox.run).map_err(failed)?;
        let (pipes, theirs) = Pipes::new(stdin).map_err(failed)?;
        let request = Request::Attach { id: id.0.to_string(), stdin };
        link.send(&request, &theirs).await.map_err(failed)?;
        drop(theirs);
        match link.receive().await.and_then(|reply| reply.ok_or_else(ended)).map_err(failed)? {
            Reply::Done => {}
            // Ended already: what it said is in its log.
            Reply::Code { .. } => return Err(exited()),
            other => return Err(unexpected("attach to container", &id.0, Ok(other))),
        }
        let (resize, resizes) = mpsc::channel(1);
        Ok(self.session(link, pipes, resize, Resizes::Shim(resizes), !tty))
    }

    fn session(
        &self,
        link: Link,
        pipes: Pipes,
        resize: mpsc::Sender<(u16, u16)>,
        resizes: Resizes,
        stderr: bool,
    ) -> Session {
        Session {
            stdin: pipes.stdin.map(|stdin| Box::new(stdin) as _),
            stdout: Box::new(pipes.stdout),
            stderr: stderr.then(|| Box::new(pipes.stderr) as _),
            resize,
            exit: self.follow(link, resizes),
        }
    }

    fn terminal_session(&self, link: Link, terminal: Terminal, stdin: bool) -> Session {
        let (resize, resizes) = mpsc::channel(1);
        Session {
            stdin: stdin.then(|| Box::new(terminal.clone()) as _),
            stdout: Box::new(terminal.clone()),
            stderr: None,
            resize,
            exit: self.follow(link, Resizes::Terminal(resizes, terminal)),
        }
    }

    /// Waits for the end in a task, so that resizing works while nobody waits. Without a waiter the session ends.
    fn follow(
        &self,
        mut link: Link,
        mut resizes: Resizes,
    ) -> futures::future::BoxFuture<'static, Result<i32, RuntimeError>> {
        let (mut sender, receiver) = oneshot::channel();
        self.spawn(async move {
            let result = loop {
                tokio::select! {
                    reply = link.receive() => break match reply {
                        Ok(Some(Reply::Code { code })) => Ok(code),
                        Ok(Some(Reply::Failed { message })) => Err(RuntimeError::Refused { message }),
                        Ok(Some(_)) => continue,
                        Ok(None) => Err(failed("follow session in", "container")(ended())),
                        Err(error) => Err(failed("follow session in", "container")(error)),
                    },
                    Some((columns, rows)) = resizes.next() => resizes.apply(&mut link, columns, rows).await,
                    () = sender.closed() => return,
                }
            };
            let _ = sender.send(result);
        });
        async move { receiver.await.unwrap_or_else(|_| Err(failed("follow session in", "container")(ended()))) }.boxed()
    }

    /// A TCP connection to `127.0.0.1:port` (then `::1`) inside the pod's network namespace.
    pub async fn connect(&self, pod: &PodUid, port: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        let netns = self.with_pod(pod, |pod| pod.info().netns)?;
        let (sender, receiver) = oneshot::channel();
        // A thread of its own, which ends: it changes its network namespace.
        std::thread::Builder::new()
            .name("pod-connect".to_owned())
            .stack_size(64 << 10)
            .spawn(move || drop(sender.send(connect(netns, port))))
            .map_err(failed("start a thread for", &pod.0))?;
        let failed = |error| failed("connect into pod", &pod.0)(error);
        let stream = receiver.await.unwrap_or_else(|_| Err(ended())).map_err(failed)?;
        let stream = stream.map_err(|[v4, v6]| RuntimeError::Refused {
            message: format!(
                "failed to connect to localhost:{port} inside namespace \"{}\", IPv4: dial tcp4 127.0.0.1:{port}: \
                 connect: {} IPv6 dial tcp6 [::1]:{port}: connect: {} ",
                pod.0,
                reason(&v4),
                reason(&v6)
            ),
        })?;
        stream.set_nonblocking(true).map_err(failed)?;
        tokio::net::TcpStream::from_std(stream).map_err(failed)
    }
}

enum Resizes {
    /// There is no terminal.
    Ignored(mpsc::Receiver<(u16, u16)>),
    /// The shim has the terminal.
    Shim(mpsc::Receiver<(u16, u16)>),
    Terminal(mpsc::Receiver<(u16, u16)>, Terminal),
}

impl Resizes {
    async fn next(&mut self) -> Option<(u16, u16)> {
        match self {
            Self::Ignored(receiver) | Self::Shim(receiver) | Self::Terminal(receiver, _) => {
                receiver.recv().await
            }
        }
    }

    async fn apply(&self, link: &mut Link, columns: u16, rows: u16) {
        match self {
            Self::Ignored(_) => {}
            // A shim that is gone ends the session anyway.
            Self::Shim(_) => drop(link.send(&Request::Resize { columns, rows }, &[]).await),
            Self::Terminal(_, terminal) => terminal.resize(columns, rows),
        }
    }
}

async fn started(
    id: &ContainerId,
    link: &mut Link,
    request: &Request,
    descriptors: Vec<OwnedFd>,
) -> Result<(), RuntimeError> {
    let failed = |error| session_failed("exec in container", id, error);
    link.send(request, &descriptors).await.map_err(failed)?;
    drop(descriptors);
    match link.receive().await.and_then(|reply| reply.ok_or_else(ended)).map_err(failed)? {
        Reply::Done => Ok(()),
        // The words of a stock node.
        Reply::Failed { message } => Err(RuntimeError::Refused {
            message: format!(
                "failed to exec in container: failed to start exec \"{}\": OCI runtime exec failed: exec failed: \
                 unable to start container process: {message}: unknown",
                random_id()
            ),
        }),
        other => Err(unexpected("exec in container", &id.0, Ok(other))),
    }
}

/// A shim that is gone, or goes while it is asked, has no containers that run.
fn session_failed(action: &'static str, id: &ContainerId, error: io::Error) -> RuntimeError {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof => exited(),
        _ => failed(action, &id.0)(error),
    }
}

/// In the words of a stock node. `kubectl run` shows the log then.
fn exited() -> RuntimeError {
    RuntimeError::Refused { message: "container is in CONTAINER_EXITED state".to_owned() }
}

fn receive_master(socket: &std::os::unix::net::UnixStream) -> io::Result<OwnedFd> {
    let mut descriptors = Vec::new();
    protocol::receive(socket.as_raw_fd(), &mut [0; 1], &mut descriptors)?;
    descriptors.pop().ok_or_else(ended)
}

fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// What both addresses say, if none takes the connection.
type Connected = Result<TcpStream, [io::Error; 2]>;

fn connect(netns: Option<PathBuf>, port: u16) -> io::Result<Connected> {
    if let Some(path) = netns {
        let namespace = std::fs::File::open(path)?;
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)?;
    }
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    Ok(TcpStream::connect(v4).or_else(|first| TcpStream::connect(v6).map_err(|second| [first, second])))
}
