//! The streams over a real socket, with a pod that is a few lines of this file.

use std::sync::Mutex;

use futures::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::*;
use crate::{ByteStream, Duplex, ExecRequest, LogRequest, Session, types::Body};

/// Runs `cat` (echoes its input, then exits 0), `fail` (writes to both outputs, exits 3), `size` (prints the first
/// resize), `keep` (says `ready`, keeps its input, then says it again), `forever` (says `ready`, then waits until it is
/// dropped).
struct FakePod {
    requests: Mutex<Vec<String>>,
    kept: Arc<Mutex<String>>,
    /// How many processes are alive.
    alive: Arc<watch::Sender<usize>>,
}

/// Counts itself while it lives.
struct Alive(Arc<watch::Sender<usize>>);

impl Alive {
    fn new(count: &Arc<watch::Sender<usize>>) -> Alive {
        count.send_modify(|count| *count += 1);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl FakePod {
    fn new() -> Arc<FakePod> {
        Arc::new(FakePod {
            requests: Mutex::default(),
            kept: Arc::default(),
            alive: Arc::new(watch::channel(0).0),
        })
    }
}

async fn process(
    command: String,
    mut stdin: impl tokio::io::AsyncRead + Unpin,
    mut stdout: impl tokio::io::AsyncWrite + Unpin,
    mut stderr: impl tokio::io::AsyncWrite + Unpin,
    mut resized: mpsc::Receiver<(u16, u16)>,
    kept: Arc<Mutex<String>>,
) -> Result<i32, PodAccessError> {
    match command.as_str() {
        "cat" => {
            tokio::io::copy(&mut stdin, &mut stdout).await.unwrap();
            Ok(0)
        }
        "keep" => {
            stdout.write_all(b"ready").await.unwrap();
            let mut all = String::new();
            stdin.read_to_string(&mut all).await.unwrap();
            stdout.write_all(all.as_bytes()).await.unwrap();
            *kept.lock().unwrap() = all;
            Ok(0)
        }
        "fail" => {
            stdout.write_all(b"out").await.unwrap();
            stderr.write_all(b"err").await.unwrap();
            Ok(3)
        }
        "size" => {
            let (width, height) = resized.recv().await.unwrap();
            stdout.write_all(format!("{width}x{height}").as_bytes()).await.unwrap();
            Ok(0)
        }
        _ => {
            stdout.write_all(b"ready").await.unwrap();
            std::future::pending().await
        }
    }
}

impl PodAccess for FakePod {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<ByteStream, PodAccessError>> {
        self.requests.lock().unwrap().push(format!("{request:?}"));
        let lines = ["one\n", "two\n"].map(|line| Ok(bytes::Bytes::from_static(line.as_bytes())));
        async move { Ok(futures::stream::iter(lines).boxed() as ByteStream) }.boxed()
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>> {
        let alive = Alive::new(&self.alive);
        let command = request.command[0].clone();
        if command == "missing" {
            return async { Err(PodAccessError::BadRequest("no such command".into())) }.boxed();
        }
        let (stdin, process_stdin) = tokio::io::duplex(64);
        let (process_stdout, stdout) = tokio::io::duplex(64);
        let (process_stderr, stderr) = tokio::io::duplex(64);
        let (resize, resized) = mpsc::channel(1);
        let kept = self.kept.clone();
        let exit = async move {
            let _alive = alive;
            process(command, process_stdin, process_stdout, process_stderr, resized, kept).await
        };
        async move {
            Ok(Session {
                stdin: Some(Box::new(stdin)),
                stdout: Box::new(stdout),
                stderr: Some(Box::new(stderr)),
                resize,
                exit: exit.boxed(),
            })
        }
        .boxed()
    }

    fn attach(&self, request: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>> {
        self.exec(ExecRequest { command: vec!["fail".into()], ..request })
    }

    /// Port 7 echoes; nothing listens elsewhere.
    fn port_forward(
        &self,
        _uid: String,
        port: u16,
    ) -> BoxFuture<'static, Result<Box<dyn Duplex>, PodAccessError>> {
        if port != 7 {
            return async { Err(PodAccessError::Internal("connection refused".into())) }.boxed();
        }
        let (near, far) = tokio::io::duplex(64);
        let alive = Alive::new(&self.alive);
        tokio::spawn(async move {
            let _alive = alive;
            let (mut reader, mut writer) = tokio::io::split(far);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        });
        async move { Ok(Box::new(near) as Box<dyn Duplex>) }.boxed()
    }
}

fn pod(containers: &[&str]) -> Value {
    let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name})).collect();
    json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"nodeName": "one", "containers": containers},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "slow", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": "ContainerCreating"}}},
        ]},
    })
}

fn context(access: &Arc<FakePod>, pod: &Value, query: Option<&str>, stop: &CancellationToken) -> Context {
    Context {
        access: access.clone(),
        pod: Arc::new(serde_json::from_value(pod.clone()).unwrap()),
        query: query_pairs(query),
        stop: stop.clone(),
    }
}

/// Serves `/SUBRESOURCE?QUERY` of one pod on a loopback port until dropped.
struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    async fn start(access: &Arc<FakePod>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (access, token) = (access.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (access, token) = (access.clone(), token.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
                        let context = context(&access, &pod(&["app"]), request.uri().query(), &token);
                        async move {
                            let subresource = request.uri().path()[1..].to_owned();
                            let request = request.map(|body| body.map_err(Into::into).boxed_unsync() as Body);
                            let answer = dispatch(context, &subresource, request).await;
                            Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(Status::into_response))
                        }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service);
                    let _ = connection.with_upgrades().await;
                });
            }
        }));
        Server { address, stop }
    }

    /// Without a protocol the client names none, as kr8s does.
    async fn websocket(&self, path: &str, protocol: &str) -> WebSocketStream<TcpStream> {
        let mut request = format!("ws://{}/{path}", self.address).into_client_request().unwrap();
        if !protocol.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(protocol).unwrap());
        }
        let socket = TcpStream::connect(self.address).await.unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, socket).await.unwrap();
        let chosen = response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap());
        assert_eq!(chosen.unwrap_or_default(), protocol.split(',').next().unwrap());
        socket
    }
}

/// Everything that each channel said until the server closed.
async fn channels(mut socket: WebSocketStream<TcpStream>) -> Vec<(u8, String)> {
    let mut said: Vec<(u8, String)> = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(frame) = &message {
            // Clients take any other code, also none, for an error.
            assert_eq!(frame.as_ref().map(|frame| u16::from(frame.code)), Some(1000));
        }
        let Message::Binary(bytes) = message else { continue };
        let text = String::from_utf8_lossy(&bytes[1..]).into_owned();
        match said.iter_mut().find(|(channel, _)| *channel == bytes[0]) {
            Some((_, all)) => all.push_str(&text),
            None => said.push((bytes[0], text)),
        }
    }
    said.sort();
    said
}

fn binary(channel: u8, text: &str) -> Message {
    Message::binary([&[channel], text.as_bytes()].concat())
}

#[tokio::test]
async fn exec_over_a_websocket_carries_input_output_and_the_end_of_each() {
    let access = FakePod::new();
    let server = Server::start(&access).await;
    let socket = server.websocket("exec?command=cat&stdin=true&stdout=true", "v5.channel.k8s.io").await;
    let long = "x".repeat(100_000);
    let (mut sink, source) = socket.split();
    let sent = async {
        for part in ["hello ", &long] {
            sink.send(binary(0, part)).await.unwrap();
        }
        sink.send(Message::binary(vec![255, 0])).await.unwrap();
        sink
    };
    let received = async {
        let mut source = source;
        let mut said = [const { String::new() }; 4];
        while let Some(Ok(Message::Binary(bytes))) = source.next().await {
            if let Some(all) = said.get_mut(usize::from(bytes[0])) {
                all.push_str(std::str::from_utf8(&bytes[1..]).unwrap());
            }
        }
        said
    };
    let (_sink, [_, stdout, _, error]) = tokio::join!(sent, received);
    assert_eq!(stdout, format!("hello {long}"));
    assert_eq!(serde_json::from_str::<Value>(&error).unwrap(), json!({"metadata": {}, "status": "Success"}));
}

#[tokio::test]
async fn exec_tells_the_exit_code_and_attach_does_not() {
    let access = FakePod::new();
    let server = Server::start(&access).await;
    let said =
        channels(server.websocket("exec?command=fail&stdout=1&stderr=1", "v4.channel.k8s.io").await).await;
    assert_eq!(said[..2], [(1, "out".into()), (2, "err".into())]);
    let status: Value = serde_json::from_str(&said[2].1).unwrap();
    assert_eq!((&status["reason"], &status["status"]), (&json!("NonZeroExitCode"), &json!("Failure")));
    assert_eq!(status["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));

    let said = channels(server.websocket("attach?stdout=1&stderr=1", "v4.channel.k8s.io").await).await;
    assert_eq!(said[2].1, r#"{"metadata":{},"status":"Success"}"#);
}

#[tokio::test]
async fn a_terminal_is_resized_by_its_channel() {
    let access = FakePod::new();
    let server = Server::start(&access).await;
    let mut socket = server
        .websocket("exec?command=size&stdout=1&stderr=1&tty=1", "v5.channel.k8s.io,v4.channel.k8s.io")
        .await;
    socket.send(binary(4, r#"{"Width":80,"Height":24}"#)).await.unwrap();
    assert!(channels(socket).await.contains(&(1, "80x24".into())));
    let socket = server.websocket("attach?stdout=1&stderr=1&tty=1", "v4.channel.k8s.io").await;
    assert!(channels(socket).await.iter().all(|(channel, _)| *channel != 2), "a terminal has one output");
}

#[tokio::test]
async fn nothing_is_left_behind_when_the_client_vanishes() {
    let access = FakePod::new();
    let server = Server::start(&access).await;
    let mut alive = access.alive.subscribe();
    let mut exec = server.websocket("exec?command=forever&stdout=1&tty=1", "v4.channel.k8s.io").await;
    let mut forward = server.websocket("portforward?ports=7", "v4.channel.k8s.io").await;
    exec.next().await.unwrap().unwrap();
    forward.next().await.unwrap().unwrap();
    alive.wait_for(|count| *count == 2).await.unwrap();
    drop((exec, forward));
    alive.wait_for(|count| *count == 0).await.unwrap();
}

#[tokio::test]
async fn a_process_without_a_terminal_outlives_its_client_and_gets_what_that_sent() {
    let access = FakePod::new();
    let server = Server::start(&access).await;
    let mut alive = access.alive.subscribe();
    let mut exec = server.websocket("exec?command=keep&stdin=1&stdout=1", "v4.channel.k8s.io").await;
    exec.next().await.unwrap().unwrap();
    let long = "x".repeat(1000);
    exec.send(binary(0, &long)).await.unwrap();
    drop(exec);
    alive.wait_for(|count| *count == 0).await.unwrap();
    assert_eq!(*access.kept.lock().unwrap(), long);
}

#[tokio::test]
async fn websocket_port_forward_names_its_ports_then_carries_data_or_says_why_not() {
    let access = FakePod::new();
    let server = Server::start(&access).await;
    for protocol in ["v4.channel.k8s.io", ""] {
        let mut socket = server.websocket("portforward?ports=7&ports=8", protocol).await;
        let mut said: std::collections::BTreeMap<u8, Vec<u8>> = Default::default();
        socket.send(binary(0, "ping")).await.unwrap();
        let refused = "error forwarding port 8 to pod web, uid u1: connection refused";
        while said.get(&0).is_none_or(|bytes| bytes.len() < 6)
            || said.get(&3).is_none_or(|bytes| bytes.len() < 2 + refused.len())
        {
            let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() else { continue };
            said.entry(bytes[0]).or_default().extend(&bytes[1..]);
        }
        assert_eq!(said[&0], b"\x07\x00ping");
        assert_eq!(said[&1], b"\x07\x00");
        assert_eq!(said[&3], [b"\x08\x00", refused.as_bytes()].concat());
    }
}

#[tokio::test]
async fn what_the_node_refuses_is_answered_before_the_upgrade() {
    let access = FakePod::new();
    let server = Server::start(&access).await;
    for (path, headers, code) in [
        (
            "exec?command=missing&stdout=1",
            "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n",
            "400",
        ),
        (
            "exec?command=cat&stdout=1",
            "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n",
            "403",
        ),
        ("exec?command=cat&stdout=1", "", "400"),
        ("exec?command=cat", "", "400"),
        ("exec?command=cat&stdout=1&container=none", "", "400"),
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let request = format!("POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).await.unwrap();
        assert_eq!(std::str::from_utf8(&head).unwrap(), format!("HTTP/1.1 {code}"), "{path}");
    }
}

/// A stock server answers a WebSocket client before it asks the node.
#[tokio::test]
async fn what_the_node_refuses_is_said_on_the_error_channel_of_a_websocket() {
    let server = Server::start(&FakePod::new()).await;
    let socket = server.websocket("exec?command=missing&stdout=true", "v5.channel.k8s.io").await;
    let said = channels(socket).await;
    let [(3, status)] = said.as_slice() else { panic!("{said:?}") };
    let status: Value = serde_json::from_str(status).unwrap();
    assert_eq!((&status["message"], &status["code"]), (&json!("no such command"), &json!(400)));
}

#[tokio::test]
async fn logs_pass_their_options_to_the_node() {
    let access = FakePod::new();
    let query = "follow=true&tailLines=5&sinceSeconds=60&limitBytes=100&timestamps=true";
    let stop = CancellationToken::new();
    let answer = logs::serve(context(&access, &pod(&["app"]), Some(query), &stop)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "one\ntwo\n");
    let expected = LogRequest {
        pod_uid: "u1".into(),
        namespace: "default".into(),
        pod: "web".into(),
        container: "app".into(),
        follow: true,
        timestamps: true,
        since_seconds: Some(60),
        tail_lines: Some(5),
        limit_bytes: Some(100),
        ..LogRequest::default()
    };
    assert_eq!(*access.requests.lock().unwrap(), [format!("{expected:?}")]);
}

#[tokio::test]
async fn logs_over_a_websocket_come_as_bytes_or_in_base64() {
    let server = Server::start(&FakePod::new()).await;
    for (protocol, expected) in
        [("", "one\ntwo\n"), ("binary.k8s.io", "one\ntwo\n"), ("base64.binary.k8s.io", "b25lCg==dHdvCg==")]
    {
        let mut socket = server.websocket("log", protocol).await;
        let mut said = String::new();
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Binary(bytes) => said.push_str(std::str::from_utf8(&bytes).unwrap()),
                Message::Text(text) => said.push_str(&text),
                _ => {}
            }
        }
        assert_eq!(said, expected, "{protocol}");
    }
}

#[tokio::test]
async fn log_requests_that_cannot_be_served_get_the_stock_answer() {
    let access = FakePod::new();
    for (containers, query, code, message) in [
        (
            &["app", "slow"][..],
            "",
            400,
            "a container name must be specified for pod web, choose one of: [app slow]",
        ),
        (&["app"], "container=x", 400, "container x is not valid for pod web"),
        (
            &["app", "slow"],
            "container=slow",
            400,
            "container \"slow\" in pod \"web\" is waiting to start: ContainerCreating",
        ),
        (&["app"], "previous=true", 400, "previous terminated container \"app\" in pod \"web\" not found"),
        (&["new"], "", 400, "container \"new\" in pod \"web\" is not available"),
        (
            &["app"],
            "tailLines=-1",
            422,
            "PodLogOptions \"web\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
        (&["app"], "tailLines=x", 400, "strconv.ParseInt: parsing \"x\": invalid syntax"),
    ] {
        let context = context(&access, &pod(containers), Some(query), &CancellationToken::new());
        let status = logs::serve(context).await.unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message));
    }
}
