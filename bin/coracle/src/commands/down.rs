//! `coracle down`: stops Coracle, lets the pods end, and removes every trace from network, mounts and cgroups.
//! What is durable (objects, images, volumes) stays.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::ArgMatches;
use nix::{sys::signal::Signal, unistd::Pid};

use crate::{
    settings::{DataOptions, Values, required},
    up,
};

/// `coracle up` stops within 5 s; then it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(8);

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let values = Values::resolve(matches)?;
    let options = DataOptions::from_values(&values)?;
    let grace = Duration::from_secs(required(&values, "grace-period")?);
    options.require_data_dir()?;
    stop_daemon(&options.pid_file())?;
    let _network = up::NetworkClaim::acquire()?;
    up::run_owner::check(&options)?;
    rustls::crypto::ring::default_provider().install_default().ok().context("install the TLS provider")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(up::remove_traces(&options, grace))?;
    println!("stopped; data stays in {}", options.data_dir.display());
    Ok(ExitCode::SUCCESS)
}

fn stop_daemon(pid_file: &Path) -> Result<()> {
    let Some(pid) = up::pid_file::running(pid_file)? else { return Ok(()) };
    let pid = Pid::from_raw(pid);
    let signal =
        |signal| nix::sys::signal::kill(pid, signal).with_context(|| format!("signal process {pid}"));
    signal(Signal::SIGTERM)?;
    let started = Instant::now();
    while up::pid_file::running(pid_file)?.is_some() {
        if started.elapsed() > STOP_DEADLINE {
            signal(Signal::SIGKILL)?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
