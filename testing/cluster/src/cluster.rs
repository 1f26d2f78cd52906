//! One Coracle in private namespaces, and clients for it.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{sys::signal::Signal, unistd::Pid};
use tempfile::TempDir;

use crate::{Outcome, PeerNamespace, enter_private_namespaces};

/// The node's address.
pub const NODE_IP: &str = "192.168.77.10";
/// A second machine on the node's network.
pub const PEER_IP: &str = "192.168.77.20";

/// Generous, as machines are shared; what it really takes is measured in `bench/`.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// A running Coracle. Dropping it stops everything and removes its data.
pub struct Cluster {
    dir: TempDir,
    daemon: Option<Child>,
    ready_line: String,
    pub peer: PeerNamespace,
}

impl Cluster {
    /// Boots with an empty data directory. The calling thread stays in the private namespaces.
    pub fn start() -> Result<Cluster> {
        let mut cluster = Cluster::prepare()?;
        cluster.up(&[])?;
        Ok(cluster)
    }

    /// Namespaces and an empty data directory, nothing started.
    pub fn prepare() -> Result<Cluster> {
        let peer = enter_private_namespaces(NODE_IP, PEER_IP)?;
        let dir = tempfile::Builder::new().prefix("coracle-").tempdir().context("make a data directory")?;
        std::fs::create_dir(dir.path().join("home")).context("make a home directory")?;
        Ok(Cluster { dir, daemon: None, ready_line: String::new(), peer })
    }

    /// Runs `coracle up` and waits for its ready line.
    pub fn up(&mut self, arguments: &[&str]) -> Result<()> {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.log_path())?;
        self.up_with_log(arguments, log)
    }

    pub fn up_with_log(&mut self, arguments: &[&str], log: std::fs::File) -> Result<()> {
        let mut command = self.coracle("up");
        command.args(["--node-name", "node", "--log", "info"]).args(arguments);
        command.stdout(Stdio::piped()).stderr(log);
        let mut daemon = command.spawn().context("start coracle")?;
        let stdout = daemon.stdout.take().expect("piped");
        self.daemon = Some(daemon);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        match receiver.recv_timeout(START_DEADLINE) {
            Ok(line) if line.starts_with("coracle is ready") => self.ready_line = line,
            Ok(line) => bail!("coracle said `{line}` instead of being ready\n{}", self.log()),
            Err(_) => bail!("coracle was not ready within {START_DEADLINE:?}\n{}", self.log()),
        }
        // Whoever reads the rest must not be stopped by a full pipe.
        std::mem::forget(receiver);
        Ok(())
    }

    pub fn ready_line(&self) -> &str {
        &self.ready_line
    }

    /// kill -9; pods go on.
    pub fn kill(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("coracle is not running")?;
        daemon.kill().context("kill coracle")?;
        daemon.wait().context("reap coracle")?;
        Ok(())
    }

    /// SIGTERM, and how long it took to end.
    pub fn stop(&mut self) -> Result<Duration> {
        let mut daemon = self.daemon.take().context("coracle is not running")?;
        let started = std::time::Instant::now();
        nix::sys::signal::kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM)
            .context("signal coracle")?;
        daemon.wait().context("reap coracle")?;
        Ok(started.elapsed())
    }

    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("data/kubeconfig")
    }

    /// `coracle SUBCOMMAND` with this cluster's directories.
    pub fn coracle(&self, subcommand: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(subcommand.split(' '));
        command.arg("--data-dir").arg(self.dir.path().join("data"));
        command.arg("--pod-log-dir").arg(self.dir.path().join("pod-logs"));
        command.env_remove("KUBECONFIG");
        command.process_group(0);
        command
    }

    /// A client program with the admin's kubeconfig and a home directory of its own, where it keeps its caches too: those
    /// in `/tmp` go by the server's address, which every cluster has.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let home = self.dir.path().join("home");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &home).env("TMPDIR", &home);
        command
    }

    /// `kubectl` with the words of `line`; use [`Cluster::client`] where a word has spaces.
    pub fn kubectl(&self, line: &str) -> Outcome {
        self.run(self.client("kubectl").args(line.split_whitespace()))
    }

    /// `kubectl LINE -f -` with `manifest` on standard input.
    pub fn kubectl_with(&self, line: &str, manifest: &str) -> Outcome {
        let mut command = self.client("kubectl");
        command.args(line.split_whitespace()).args(["-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl is installed");
        let mut stdin = child.stdin.take().expect("piped");
        // An early exit closes the pipe; the outcome tells why.
        let _ = stdin.write_all(manifest.as_bytes());
        drop(stdin);
        Outcome::new(
            format!("kubectl {line} -f -"),
            child.wait_with_output().expect("kubectl can be waited for"),
        )
    }

    pub fn run(&self, command: &mut Command) -> Outcome {
        let line = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output();
        Outcome::new(line.clone(), output.unwrap_or_else(|error| panic!("run {line}: {error}")))
    }

    /// Imports an archive made by [`crate::ImageBuilder`].
    pub fn import(&self, archive: &Path) -> Result<String> {
        self.run(self.coracle("image import").arg(archive)).ok()
    }

    /// What Coracle logged, its last part.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(60).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("coracle.log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of coracle ends with\n{}", self.log());
        }
        if self.daemon.is_some() {
            let _ = self.stop();
        }
        if self.dir.path().join("data").exists() {
            let outcome = self.run(self.coracle("down").args(["--grace-period", "0"]));
            if !outcome.success {
                eprintln!("coracle down failed: {}", outcome.stderr);
            }
        }
    }
}

/// `CORACLE_BIN`, else what `make build` made.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CORACLE_BIN") {
        return path.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/coracle")
}
