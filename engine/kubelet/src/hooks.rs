//! Commands run in a container on the kubelet's behalf: postStart, preStop, exec probes.
//!
//! Source:    https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/

use std::time::Duration;

use coracle_runtime::{ContainerId, ExecSpec, Runtime};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::probes;

/// What is kept of a command's output.
const MAX_OUTPUT_BYTES: usize = 10 * 1024;
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub enum RunError {
    TimedOut,
    Failed(String),
}

async fn collect(mut stream: Box<dyn AsyncRead + Send + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Ok(n) = stream.read(&mut buffer).await {
        if n == 0 {
            break;
        }
        let room = MAX_OUTPUT_BYTES - kept.len();
        kept.extend_from_slice(&buffer[..n.min(room)]);
    }
    kept
}

/// Runs a command to its end. Its exit code, and stdout followed by stderr.
pub async fn run(
    runtime: &Runtime,
    id: &ContainerId,
    argv: Vec<String>,
    timeout: Duration,
) -> Result<(i32, String), RunError> {
    let whole = async {
        let spec = ExecSpec { argv, tty: false, stdin: false, ends_with_session: true };
        let session = runtime.exec(id, spec).await.map_err(|e| RunError::Failed(crate::chain(&e)))?;
        let stderr = async {
            match session.stderr {
                Some(stream) => collect(stream).await,
                None => Vec::new(),
            }
        };
        let (mut out, err, code) = tokio::join!(collect(session.stdout), stderr, session.exit);
        out.extend(err);
        let code = code.map_err(|e| RunError::Failed(crate::chain(&e)))?;
        Ok((code, String::from_utf8_lossy(&out).into_owned()))
    };
    tokio::time::timeout(timeout, whole).await.unwrap_or(Err(RunError::TimedOut))
}

/// Runs a lifecycle handler; `Err` says why it failed.
pub async fn handle(
    runtime: &Runtime,
    id: &ContainerId,
    ip: &str,
    container: &Container,
    handler: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        return match run(runtime, id, command.clone(), limit).await {
            Ok((0, _)) => Ok(()),
            Ok((code, output)) => {
                Err(format!("command '{}' exited with {code}: {output}", command.join(" ")))
            }
            Err(RunError::TimedOut) => Err(format!("command '{}' timed out", command.join(" "))),
            Err(RunError::Failed(message)) => Err(message),
        };
    }
    if let Some(get) = &handler.http_get {
        let port = probes::port_number(&get.port, container.ports.as_ref())?;
        return probes::http::call(get, ip, port, limit.min(HTTP_TIMEOUT)).await;
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0) as u64).min(limit)).await;
        return Ok(());
    }
    // A stock kubelet refuses tcpSocket in hooks.
    Err("invalid handler".to_owned())
}
