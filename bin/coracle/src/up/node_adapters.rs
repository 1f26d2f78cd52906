//! Joins roles that do not know each other: the API server's pod subresources to the kubelet,
//! and the kubelet's pod network to the links of `engine/network`.

use std::{collections::HashSet, net::Ipv4Addr, path::Path, sync::Arc};

use coracle_apiserver::{ByteStream, Duplex, ExecRequest, LogRequest, PodAccess, PodAccessError, Session};
use coracle_client::chain;
use coracle_kubelet::{HostPort, Kubelet, KubeletError, LogOptions, PodNetwork};
use coracle_network::{NetworkError, PodLinks};
use futures::{FutureExt, future::BoxFuture};

/// Logs, exec, attach and port-forward, answered by the kubelet.
pub struct Pods(pub Arc<Kubelet>);

impl PodAccess for Pods {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<ByteStream, PodAccessError>> {
        let kubelet = self.0.clone();
        async move {
            let options = LogOptions {
                follow: request.follow,
                previous: request.previous,
                timestamps: request.timestamps,
                since_seconds: request.since_seconds,
                since_time: request.since_time,
                tail_lines: request.tail_lines,
                limit_bytes: request.limit_bytes,
            };
            kubelet.logs(&request.pod_uid, &request.container, options).await.map_err(access_error)
        }
        .boxed()
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>> {
        let kubelet = self.0.clone();
        async move {
            let ExecRequest { pod_uid, container, command, stdin, tty, .. } = request;
            let session = kubelet.exec(&pod_uid, &container, command, stdin, tty).await;
            session.map(session_of).map_err(access_error)
        }
        .boxed()
    }

    fn attach(&self, request: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>> {
        let kubelet = self.0.clone();
        async move {
            let session =
                kubelet.attach(&request.pod_uid, &request.container, request.stdin, request.tty).await;
            session.map(session_of).map_err(access_error)
        }
        .boxed()
    }

    fn port_forward(
        &self,
        pod_uid: String,
        port: u16,
    ) -> BoxFuture<'static, Result<Box<dyn Duplex>, PodAccessError>> {
        let kubelet = self.0.clone();
        async move {
            let stream = kubelet.port_forward(&pod_uid, port).await.map_err(access_error)?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        }
        .boxed()
    }
}

fn session_of(session: coracle_runtime::Session) -> Session {
    let exit = session.exit.map(|code| code.map_err(|error| PodAccessError::Internal(chain(&error))));
    Session {
        stdin: session.stdin,
        stdout: session.stdout,
        stderr: session.stderr,
        resize: session.resize,
        exit: exit.boxed(),
    }
}

fn access_error(error: KubeletError) -> PodAccessError {
    match error {
        KubeletError::BadRequest(message) => PodAccessError::BadRequest(message),
        KubeletError::Internal(message) => PodAccessError::Internal(message),
    }
}

/// The pod network of the kubelet.
pub struct Links(pub PodLinks);

impl PodNetwork for Links {
    fn attach(
        &self,
        pod_uid: &str,
        netns: &Path,
        host_ports: Vec<HostPort>,
    ) -> BoxFuture<'static, Result<Ipv4Addr, String>> {
        let (links, pod_uid, netns) = (self.0.clone(), pod_uid.to_string(), netns.to_path_buf());
        async move {
            let ports: Vec<_> = host_ports.into_iter().map(host_port).collect();
            links.attach(&pod_uid, &netns, &ports).await.map_err(network_error)
        }
        .boxed()
    }

    fn detach(&self, pod_uid: &str) -> BoxFuture<'static, Result<(), String>> {
        let (links, pod_uid) = (self.0.clone(), pod_uid.to_string());
        async move { links.detach(&pod_uid).await.map_err(network_error) }.boxed()
    }

    fn retain(&self, pod_uids: HashSet<String>) -> BoxFuture<'static, Result<(), String>> {
        let links = self.0.clone();
        async move { links.retain(&pod_uids).await.map_err(network_error) }.boxed()
    }
}

fn host_port(port: HostPort) -> coracle_network::HostPort {
    coracle_network::HostPort {
        host_ip: port.host_ip,
        host_port: port.host_port,
        container_port: port.container_port,
        protocol: port.protocol,
    }
}

fn network_error(error: NetworkError) -> String {
    chain(&error)
}
