//! `coracle status`: what runs here, and what it costs.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::ArgMatches;
use coracle_client::Api;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    metrics,
    settings::{DataOptions, Values},
    up::{pid_file, runtime_config},
};

/// How long requests are counted for their rate.
const SAMPLE: std::time::Duration = std::time::Duration::from_secs(1);

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let options = DataOptions::from_values(&Values::resolve(matches)?)?;
    let Some(pid) = pid_file::running(&options.pid_file())? else {
        println!("coracle is not running on {}", options.data_dir.display());
        return Ok(ExitCode::from(3));
    };
    println!("{:<12}running, process {pid}, data in {}", "coracle", options.data_dir.display());
    print_memory(&options, pid);
    rustls::crypto::ring::default_provider().install_default().ok().context("install the TLS provider")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(print_cluster(&options))?;
    Ok(ExitCode::SUCCESS)
}

async fn print_cluster(options: &DataOptions) -> Result<()> {
    let (address, client) = coracle_client::from_kubeconfig(&options.kubeconfig())?;
    let version =
        client.apiserver_version().await.with_context(|| format!("ask {address} for its version"))?;
    println!("{:<12}{address} {}", "api", version.git_version);
    for (what, line) in metrics::describe(&load(&client).await?) {
        println!("{what:<12}{line}");
    }
    for node in Api::<Node>::all(client.clone()).list(&Default::default()).await.context("list nodes")? {
        println!(
            "{:<12}{} {}",
            "node",
            node.metadata.name.as_deref().unwrap_or_default(),
            node_condition(&node)
        );
    }
    let pods = Api::<Pod>::all(client).list(&Default::default()).await.context("list pods")?;
    let phase = |wanted: &str| {
        pods.iter().filter(|pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(wanted)).count()
    };
    println!(
        "{:<12}{} running, {} pending, {} failed, {} succeeded",
        "pods",
        phase("Running"),
        phase("Pending"),
        phase("Failed"),
        phase("Succeeded")
    );
    Ok(())
}

/// What the API server counts now, and what it counted a moment ago.
async fn load(client: &kube::Client) -> Result<metrics::Load> {
    let page = async || -> Result<metrics::Page> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        Ok(metrics::Page::parse(&client.request_text(request).await.context("ask for metrics")?))
    };
    let before = page().await?;
    let began = std::time::Instant::now();
    tokio::time::sleep(SAMPLE).await;
    Ok(metrics::Load { before, now: page().await?, seconds: began.elapsed().as_secs_f64() })
}

fn node_condition(node: &Node) -> &'static str {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if ready { "Ready" } else { "NotReady" }
}

/// Proportional set size of the daemon and of the shims of its pods.
fn print_memory(options: &DataOptions, daemon: i32) {
    let pss_kib = |pid: i32| {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let shims: Vec<u64> =
        shim_pids(&runtime_config(options).state_dir).into_iter().filter_map(pss_kib).collect();
    let mib = |kib: u64| kib as f64 / 1024.0;
    if let Some(own) = pss_kib(daemon) {
        println!(
            "{:<12}{:.1} MiB, and {:.1} MiB in {} shims",
            "memory",
            mib(own),
            mib(shims.iter().sum()),
            shims.len()
        );
    }
}

/// Of the pods below `state_dir`: the machine may hold another Coracle's.
fn shim_pids(state_dir: &Path) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        (program.ends_with(b"coracle") || program.ends_with(b"exe"))
            && words.next() == Some(b"shim")
            && words.next().is_some_and(|dir| Path::new(OsStr::from_bytes(dir)).starts_with(state_dir))
    })
    .collect()
}
