//! Voice chat rooms. Browsers signal over a WebSocket per room and send Opus over WebRTC; this server forwards
//! each voice to the others of the room.
//!
//! | file | |
//! |---|---|
//! | `http` | routes, the page, the upgrade to signalling |
//! | `signalling`, `messages` | one browser's WebSocket and what is said on it |
//! | `rooms`, `talking` | who is where and who talks: pure state |
//! | `sfu/` | the WebRTC side: one task, one UDP socket |
//! | `crypto/` | what str0m needs, on `ring` |

mod assets;
mod config;
mod crypto;
mod http;
mod messages;
mod metrics;
mod rooms;
mod sfu;
mod signalling;
mod talking;

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing_subscriber::EnvFilter;

use crate::{assets::Assets, config::Config, http::App, metrics::Metrics};

/// After draining, requests that still run have this long.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// How long a client may take for a request's head. It also ends idle connections, so it is longer than what proxies
/// keep idle ones for: they close first, and no request meets a closing connection.
const SLOW_HEAD: Duration = Duration::from_secs(120);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("free4chat_backend=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).init();
    let config = Config::from_env()?;
    let metrics = Arc::new(Metrics::new(Instant::now()));
    let assets = Assets::load(&config.frontend)?;
    let (sfu, voice) = sfu::build(&config, metrics.clone()).await?;
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("bind TCP {address}"))?;

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tracing::info!(voice = %voice.address(), public = ?config.public_udp, assets = assets.len(), "voice is ready");
    tasks.spawn(voice.run(stop.clone()));
    let app = App { sfu, metrics, assets: Arc::new(assets), tasks: tasks.clone(), stop: stop.clone() };
    tasks.spawn(accept(listener, app, stop.clone()));
    tracing::info!("free4chat listens on {address}");

    terminated().await?;
    // Kubernetes takes a terminating pod out of its Services by itself; until every proxy knows, nothing may fail.
    tracing::info!(drain = ?config.drain, "draining");
    tokio::time::sleep(config.drain).await;
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(LAST_REQUESTS, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "connections were still busy");
    }
    Ok(())
}

/// SIGTERM from Kubernetes, SIGINT from a terminal.
async fn terminated() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn accept(listener: TcpListener, app: App, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                app.tasks.spawn(serve(stream, app.clone(), stop.clone()));
            }
            // Too many open files, for example: others may close some.
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection; on `stop` it ends after the request that runs.
async fn serve(stream: TcpStream, app: App, stop: CancellationToken) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| app.clone().handle(request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(SLOW_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}
