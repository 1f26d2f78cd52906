//! `pods/portforward`: connections to ports of a Pod, each a pair of streams, `data` and `error`.
//!
//! Over SPDY (plain, or inside a WebSocket as kubectl does it from 1.31 on) the client opens a pair for every connection.
//! Over WebSocket channels (the clients in Python and JavaScript) the query names the ports, one connection each:
//! channel 2i carries data, 2i+1 errors, and each begins with the port as two bytes, little endian.
//! Source: https://github.com/kubernetes/kubernetes/tree/master/staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward

use std::{collections::HashMap, sync::Arc};

use futures::{
    StreamExt,
    future::{self, Either},
    stream::FuturesUnordered,
};
use http::Request as HttpRequest;
use tokio::{io::AsyncWriteExt, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Context,
    channels::{self, Codec},
    mux::{Incoming, Out, Outgoing, QUEUE},
    options::Options,
    run_upgraded,
    spdy::{self, NewStream},
    tunnel::Tunnel,
    upgrade::{Transport, Upgrade},
};
use crate::{
    Duplex, PodAccess,
    status::Status,
    types::{Body, Response},
};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const WEBSOCKET: [&str; 5] =
    [TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "portforward.k8s.io", "base64.channel.k8s.io"];
const SPDY: [&str; 1] = ["portforward.k8s.io"];

/// The Pod that connections go to.
#[derive(Clone)]
struct Target {
    access: Arc<dyn PodAccess>,
    name: String,
    uid: String,
}

pub async fn serve(context: Context, request: HttpRequest<Body>) -> Result<Response, Status> {
    context.require_host()?;
    let upgrade = Upgrade::negotiate(request, &WEBSOCKET, &SPDY)?;
    let target = Target {
        access: context.access.clone(),
        name: context.pod_name().to_owned(),
        uid: context.pod_uid(),
    };
    let (transport, protocol) = (upgrade.transport, upgrade.protocol);
    let channels = transport == Transport::WebSocket && protocol != TUNNEL;
    let ports = if channels { ports(&context.query)? } else { Vec::new() };
    let (response, pending) = upgrade.accept();
    run_upgraded(context.stop.clone(), async move {
        match transport {
            Transport::Spdy => {
                let Some(socket) = pending.socket().await else { return };
                serve_spdy(socket, target).await;
            }
            Transport::WebSocket => {
                let Some(socket) = pending.websocket().await else { return };
                if channels {
                    serve_channels(socket, Codec::of(protocol), target, ports).await;
                } else {
                    serve_spdy(Tunnel::new(socket), target).await;
                }
            }
        }
    });
    Ok(response)
}

fn ports(query: &[(String, String)]) -> Result<Vec<u16>, Status> {
    let all = Options(query).all("ports");
    let ports: Result<Vec<u16>, Status> = all
        .iter()
        .flat_map(|list| list.split(','))
        .map(|port| match port.parse() {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(Status::bad_request(format!("unable to parse {port:?} as a port"))),
        })
        .collect();
    match ports {
        Ok(ports) if ports.is_empty() => Err(Status::bad_request("query parameter \"ports\" is required")),
        other => other,
    }
}

/// Runs the handler while the driver carries its streams; then closes in order. Ends at once when the client leaves.
async fn attend(
    driver: impl Future<Output = ()>,
    close: mpsc::Sender<Out>,
    handler: impl Future<Output = ()>,
) {
    let driver = std::pin::pin!(driver);
    let handler = std::pin::pin!(async move {
        handler.await;
        let _ = close.send(Out::Close).await;
    });
    if let Either::Right(((), driver)) = future::select(driver, handler).await {
        driver.await;
    }
}

async fn serve_spdy(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite, target: Target) {
    let (queues, streams, close) = spdy::queues();
    attend(spdy::drive(io, queues), close, forward_pairs(streams, target)).await;
}

/// Serves connections until the client opens no more and all have ended.
async fn forward_pairs(mut streams: mpsc::Receiver<NewStream>, target: Target) {
    let mut waiting: HashMap<String, NewStream> = HashMap::new();
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            stream = streams.recv() => {
                let Some(stream) = stream else { break };
                if let Some((data, error)) = pair(&mut waiting, stream) {
                    running.push(forward_pair(&target, data, error));
                }
            }
            Some(()) = running.next() => {}
        }
    }
    while running.next().await.is_some() {}
}

/// The partner of a stream has the same request id (the port, with clients that send none).
fn pair(waiting: &mut HashMap<String, NewStream>, stream: NewStream) -> Option<(NewStream, NewStream)> {
    let id = match stream.headers.get("requestid") {
        "" => stream.headers.get("port").to_owned(),
        id => id.to_owned(),
    };
    let other = waiting.remove(&id);
    let kind = |stream: &NewStream| stream.headers.get("streamtype").to_owned();
    match (kind(&stream).as_str(), other) {
        ("data", Some(other)) if kind(&other) == "error" => Some((stream, other)),
        ("error", Some(other)) if kind(&other) == "data" => Some((other, stream)),
        _ => {
            waiting.insert(id, stream);
            None
        }
    }
}

async fn forward_pair(target: &Target, data: NewStream, error: NewStream) {
    let port = data.headers.get("port").parse().unwrap_or(0);
    forward(target, port, data.incoming, data.outgoing, error.outgoing, data.reset).await;
}

async fn serve_channels(socket: super::upgrade::WebSocket, codec: Codec, target: Target, ports: Vec<u16>) {
    let (queue, outbox) = mpsc::channel(QUEUE);
    let mut inbox = Vec::new();
    let mut forwards = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let (sender, incoming) = mpsc::channel(QUEUE);
        inbox.extend([Some(sender), None]);
        let stream = 2 * index as u32;
        let data = Outgoing { stream, queue: queue.clone() };
        let error = Outgoing { stream: stream + 1, queue: queue.clone() };
        let target = target.clone();
        forwards.push(async move {
            let named = port.to_le_bytes().to_vec();
            if data.send(named.clone()).await.is_ok() && error.send(named).await.is_ok() {
                forward(&target, port, incoming, data, error, CancellationToken::new()).await;
            }
        });
    }
    let handler = async { drop(future::join_all(forwards).await) };
    attend(channels::drive(socket, codec, inbox, outbox), queue, handler).await;
}

/// One connection. It ends when the Pod's side ends or the client resets it; the client may end its half before.
async fn forward(
    target: &Target,
    port: u16,
    incoming: Incoming,
    data: Outgoing,
    error: Outgoing,
    reset: CancellationToken,
) {
    match target.access.port_forward(target.uid.clone(), port).await {
        Ok(connection) => {
            let _ = reset.run_until_cancelled(exchange(connection, incoming, &data)).await;
        }
        Err(cause) => {
            let Target { name, uid, .. } = target;
            let _ =
                error.send(format!("error forwarding port {port} to pod {name}, uid {uid}: {cause}")).await;
        }
    }
    let _ = data.finish().await;
    let _ = error.finish().await;
}

async fn exchange(connection: Box<dyn Duplex>, mut incoming: Incoming, data: &Outgoing) {
    let (reader, mut writer) = tokio::io::split(connection);
    let up = std::pin::pin!(async {
        while let Some(bytes) = incoming.recv().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    let down = std::pin::pin!(data.copy_from(reader));
    if let Either::Left(((), down)) = future::select(up, down).await {
        let _ = down.await;
    }
}
