//! `pods/exec` and `pods/attach`: a process in the container, its input and output as streams of the client.
//!
//! The last stream, `error`, says how it ended: a `Status` as JSON (from protocol v4 on), plain text before.
//! Source: https://github.com/kubernetes/kubernetes/tree/master/staging/src/k8s.io/kubelet/pkg/cri/streaming/remotecommand

use std::{collections::HashMap, time::Duration};

use futures::future::{self, Either};
use http::Request as HttpRequest;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::{
    Context,
    channels::{self, Codec},
    containers,
    mux::{Gone, Incoming, Out, Outgoing, QUEUE},
    options::Options,
    run_upgraded,
    spdy::{self, NewStream},
    upgrade::{Transport, Upgrade},
};
use crate::{
    ExecRequest, PodAccessError, Session,
    status::Status,
    types::{Body, Response},
};

const WEBSOCKET: [&str; 6] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v5.base64.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];
const SPDY: [&str; 3] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"];
/// How long a SPDY client may take to open its streams.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(30);
/// A client does not say when it is ready. Over WebSocket, kubectl begins to read before its streams exist, and drops what
/// comes for one that does not: the end of a quick process was lost, and `kubectl exec` failed. Over SPDY it has its
/// streams, but not yet written its terminal's size: told of the end, it closes, and prints that it could not write. A
/// stock server reaches the node (over SPDY: starts the process) only then, so clients always had this long.
const CLIENT_SETUP: Duration = Duration::from_millis(20);

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const ERROR: u32 = 3;
const RESIZE: u32 = 4;
const CHANNELS: [(&str, u32); 5] =
    [("stdin", STDIN), ("stdout", STDOUT), ("stderr", STDERR), ("error", ERROR), ("resize", RESIZE)];

pub async fn serve(context: Context, attach: bool, request: HttpRequest<Body>) -> Result<Response, Status> {
    let exec = exec_request(&context, attach)?;
    context.require_host()?;
    let upgrade = Upgrade::negotiate(request, &WEBSOCKET, &SPDY)?;
    let starting =
        if attach { context.access.attach(exec.clone()) } else { context.access.exec(exec.clone()) };
    let (transport, protocol) = (upgrade.transport, upgrade.protocol);
    // As in a stock server, a WebSocket client is answered before the node is asked, and reads what went wrong from its
    // error stream; a SPDY client gets the node's answer.
    let starting = match transport {
        Transport::WebSocket => starting,
        Transport::Spdy => Box::pin(future::ready(Ok(starting.await?))),
    };
    let ending = Ending {
        attach,
        outlives_client: !attach && !exec.tty,
        json: protocol.starts_with("v4.") || protocol.starts_with("v5."),
        command: exec.command.clone(),
    };
    let (response, pending) = upgrade.accept();
    run_upgraded(context.stop.clone(), async move {
        match transport {
            Transport::WebSocket => {
                let Some(socket) = pending.websocket().await else { return };
                let (session, ()) = future::join(starting, tokio::time::sleep(CLIENT_SETUP)).await;
                let (terminal, inbox, outbox) = websocket_terminal(&exec);
                let close = terminal.error.queue.clone();
                let driver = channels::drive(socket, Codec::of(protocol), inbox, outbox);
                see_out(driver, close, terminal.run(session, ending)).await;
            }
            Transport::Spdy => {
                let (session, Some(socket)) = future::join(starting, pending.socket()).await else { return };
                let (queues, streams, close) = spdy::queues();
                let resizes = exec.tty && !protocol.starts_with("v2.");
                let handler = async {
                    if let Ok(Some(terminal)) =
                        tokio::time::timeout(STREAMS_TIMEOUT, collect(streams, &exec, resizes)).await
                    {
                        tokio::time::sleep(CLIENT_SETUP).await;
                        terminal.run(session, ending).await;
                    }
                };
                see_out(spdy::drive(socket, queues), close, handler).await;
            }
        }
    });
    Ok(response)
}

/// Runs the handler while the driver carries its streams, and on when the client has left; then closes in order.
async fn see_out(
    driver: impl Future<Output = ()>,
    close: mpsc::Sender<Out>,
    handler: impl Future<Output = ()>,
) {
    let handler = async {
        handler.await;
        let _ = close.send(Out::Close).await;
    };
    future::join(driver, handler).await;
}

fn exec_request(context: &Context, attach: bool) -> Result<ExecRequest, Status> {
    let options = Options(&context.query);
    let container = containers::choose(&context.pod, options.text("container"))?;
    let tty = options.flag("tty");
    let request = ExecRequest {
        pod_uid: context.pod_uid(),
        container,
        command: if attach { Vec::new() } else { options.all("command") },
        stdin: options.flag("stdin"),
        stdout: options.flag("stdout"),
        // A terminal has one output.
        stderr: options.flag("stderr") && !tty,
        tty,
    };
    if !attach && request.command.is_empty() {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    if !request.stdin && !request.stdout && !request.stderr {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(request)
}

/// The client's side of a process.
struct Terminal {
    stdin: Option<Incoming>,
    resize: Option<Incoming>,
    stdout: Option<Outgoing>,
    stderr: Option<Outgoing>,
    error: Outgoing,
}

/// How the end is told.
struct Ending {
    attach: bool,
    /// The process does, and who it was started for is not told.
    outlives_client: bool,
    json: bool,
    command: Vec<String>,
}

fn websocket_terminal(
    exec: &ExecRequest,
) -> (Terminal, Vec<Option<mpsc::Sender<bytes::Bytes>>>, mpsc::Receiver<Out>) {
    let (queue, outbox) = mpsc::channel(QUEUE);
    let mut inbox: Vec<Option<mpsc::Sender<bytes::Bytes>>> = CHANNELS.map(|_| None).into();
    let mut incoming = |wanted: bool, channel: u32| {
        let (sender, receiver) = mpsc::channel(QUEUE);
        inbox[channel as usize] = wanted.then_some(sender);
        wanted.then_some(receiver)
    };
    let outgoing = |stream| Outgoing { stream, queue: queue.clone() };
    let terminal = Terminal {
        stdin: incoming(exec.stdin, STDIN),
        resize: incoming(exec.tty, RESIZE),
        stdout: exec.stdout.then(|| outgoing(STDOUT)),
        stderr: exec.stderr.then(|| outgoing(STDERR)),
        error: outgoing(ERROR),
    };
    (terminal, inbox, outbox)
}

/// Waits until the client opened every stream that it asked for; `None` when it leaves before.
async fn collect(
    mut streams: mpsc::Receiver<NewStream>,
    exec: &ExecRequest,
    resizes: bool,
) -> Option<Terminal> {
    let expected = expected(exec, resizes);
    let mut found: HashMap<u32, NewStream> = HashMap::new();
    while found.len() < expected.len() {
        let stream = streams.recv().await?;
        if let Some(channel) = channel(&expected, stream.headers.get("streamtype")) {
            found.insert(channel, stream);
        }
    }
    let mut take = |channel: u32| found.remove(&channel);
    Some(Terminal {
        stdin: take(STDIN).map(|stream| stream.incoming),
        resize: take(RESIZE).map(|stream| stream.incoming),
        stdout: take(STDOUT).map(|stream| stream.outgoing),
        stderr: take(STDERR).map(|stream| stream.outgoing),
        error: take(ERROR)?.outgoing,
    })
}

fn expected(exec: &ExecRequest, resizes: bool) -> Vec<(&'static str, u32)> {
    let wanted = [exec.stdin, exec.stdout, exec.stderr, true, resizes];
    CHANNELS.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(channel, _)| channel).collect()
}

fn channel(expected: &[(&str, u32)], kind: &str) -> Option<u32> {
    expected.iter().find(|(name, _)| *name == kind).map(|(_, channel)| *channel)
}

impl Terminal {
    async fn run(self, session: Result<Session, PodAccessError>, ending: Ending) {
        let Terminal { stdin, resize, stdout, stderr, error } = self;
        let session = match session {
            Ok(session) => session,
            Err(refused) => {
                let _ = tell([stdout, stderr], &error, ending.message(Err(refused))).await;
                return;
            }
        };
        // A client that leaves ends its input, once all that it had sent was taken.
        let left = async {
            future::join(feed(stdin, session.stdin), resizes(resize, session.resize)).await;
            error.queue.closed().await;
        };
        let output = async {
            // Why a process failed comes before the end of what it made: clients may leave at that.
            let stderr = pass(stderr.as_ref(), session.stderr);
            let stdout = pass(stdout.as_ref(), Some(session.stdout));
            // The exit counts once everything written before it has been sent.
            future::join3(stderr, stdout, session.exit).await.2
        };
        match future::select(std::pin::pin!(output), std::pin::pin!(left)).await {
            Either::Left((exit, _)) => {
                let _ = tell([stdout.clone(), stderr.clone()], &error, ending.message(exit)).await;
            }
            // The process goes on by itself, as on a stock node; a terminal hangs up.
            Either::Right(((), output)) if ending.outlives_client => drop(output.await),
            Either::Right(_) => {}
        }
    }
}

async fn tell(outputs: [Option<Outgoing>; 2], error: &Outgoing, message: Option<String>) -> Result<(), Gone> {
    if let Some(message) = message {
        error.send(message).await?;
    }
    for stream in outputs.into_iter().flatten() {
        stream.finish().await?;
    }
    error.finish().await
}

async fn feed(stdin: Option<Incoming>, process: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    let (Some(mut stdin), Some(mut process)) = (stdin, process) else { return };
    while let Some(bytes) = stdin.recv().await {
        if process.write_all(&bytes).await.is_err() || process.flush().await.is_err() {
            return;
        }
    }
    let _ = process.shutdown().await;
}

async fn resizes(resize: Option<Incoming>, process: mpsc::Sender<(u16, u16)>) {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    let Some(mut resize) = resize else { return };
    while let Some(bytes) = resize.recv().await {
        let sizes: Vec<Size> =
            serde_json::Deserializer::from_slice(&bytes).into_iter().map_while(Result::ok).collect();
        for size in sizes {
            if process.send((size.width, size.height)).await.is_err() {
                return;
            }
        }
    }
}

/// Sends what the process writes; what the client did not ask for, or is not there to see, is read all the same, else the
/// process would stand still.
async fn pass(to: Option<&Outgoing>, from: Option<Box<dyn AsyncRead + Send + Unpin>>) {
    let Some(mut from) = from else { return };
    if let Some(to) = to
        && to.copy_from(&mut from).await.is_ok()
    {
        return;
    }
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
}

impl Ending {
    /// What the error stream says; nothing for a good end in the old protocols. The exit code is told of exec alone.
    fn message(&self, exit: Result<i32, PodAccessError>) -> Option<String> {
        let status = match exit {
            Ok(code) if code != 0 && !self.attach => self.non_zero(code),
            Ok(_) if self.json => json!({"metadata": {}, "status": "Success"}),
            Ok(_) => return None,
            Err(error) => Status::from(error).to_json(),
        };
        let text = status["message"].as_str().filter(|_| !self.json).map(str::to_owned);
        Some(text.unwrap_or_else(|| status.to_string()))
    }

    fn non_zero(&self, code: i32) -> Value {
        let command = self.command.join(" ");
        json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: error executing command [{command}], exit code {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        })
    }
}
