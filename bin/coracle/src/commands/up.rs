//! `coracle up`: runs everything in the foreground.

use std::{io::IsTerminal, process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use clap::ArgMatches;
use tracing_subscriber::EnvFilter;

use crate::{
    settings::{UpOptions, Values},
    up,
};

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let started = Instant::now();
    let options = UpOptions::from_values(&Values::resolve(matches)?)?;
    let filter = EnvFilter::try_new(&options.data.log)
        .with_context(|| format!("read setting `log` from `{}`", options.data.log))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        // Where the log cannot be written, saying so there would panic in the middle of what was logged.
        .log_internal_errors(false)
        .init();
    rustls::crypto::ring::default_provider().install_default().ok().context("install the TLS provider")?;
    // One worker a core: with more than that they only hand work to each other. Blocking work has its own threads.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(1, |cores| cores.get().clamp(1, 4)))
        .max_blocking_threads(32)
        // Unoptimised futures of the HTTP stack are deep; what is not used costs no memory.
        .thread_stack_size(4 << 20)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(up::run(options, started));
    // Blocking calls that outlive the drain must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome.map(|()| ExitCode::SUCCESS)
}
