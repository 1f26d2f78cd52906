//! The clients that people use, against one running Coracle: kubectl with every command that it has, helm, the official
//! clients for Python and Node, kr8s, kube-rs. What each of them does stands in `testing/clients`, or below for Rust.

#[path = "clients/kube_rs.rs"]
mod kube_rs;

use std::path::PathBuf;

use anyhow::{Context, Result};
use coracle_cluster::{Cluster, busybox, free4chat::repository};

#[test]
fn real_clients_find_a_stock_cluster() -> Result<()> {
    let cluster = Cluster::start()?;
    busybox(&cluster)?;
    // Alone, as it drains the node.
    let work = cluster.dir().join("kubectl");
    std::fs::create_dir(&work)?;
    script(&cluster, "bash", "kubectl.sh", &[&work.to_string_lossy()])?;
    // The others share the cluster, each in a namespace of its own, as clients do.
    std::thread::scope(|scope| {
        let cluster = &cluster;
        let run = |program: &'static str, file: &'static str| {
            scope.spawn(move || script(cluster, program, file, &[]))
        };
        let scripts = [
            run("bash", "helm.sh"),
            run("target/clients/venv/bin/python", "python_kubernetes.py"),
            run("target/clients/venv/bin/python", "python_kr8s.py"),
            run("node", "client_node.mjs"),
        ];
        let rust = kube_rs::works(&cluster.kubeconfig()).context("kube-rs");
        for script in scripts {
            script.join().expect("does not panic")?;
        }
        rust
    })
}

/// Runs a file of `testing/clients`. A program with a path in its name lies in the repository.
fn script(cluster: &Cluster, program: &str, file: &str, arguments: &[&str]) -> Result<()> {
    let program = if program.contains('/') { repository().join(program) } else { PathBuf::from(program) };
    let mut command = cluster.client(&program.to_string_lossy());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = repository().join("target/clients/bin");
    let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))?;
    command.env("PATH", path).env("PYTHONWARNINGS", "ignore");
    command.arg(repository().join("testing/clients").join(file)).args(arguments);
    cluster
        .run(&mut command)
        .ok()
        .map(drop)
        .with_context(|| format!("{file} (`scripts/setup test` installs what it needs)"))
}
