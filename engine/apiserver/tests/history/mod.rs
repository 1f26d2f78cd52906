//! What concurrent clients do and see over TLS, while their server is killed with SIGKILL at named points and at random
//! moments and started again on the same store, is a history that a correct server can have.
//!
//! The server is this test binary again; it kills itself at the points, see [`killer`]. A failure prints its seed, and
//! `CORACLE_HISTORY_SEED` makes the same choices again.

mod check;
mod clients;
mod killer;
mod record;

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use coracle_apiserver::ApiServer;
use coracle_store::{Resource, Store, StoreConfig};
use futures::future::join_all;
use tokio::sync::watch;

use clients::{Client, RESOURCES, Rng, Watcher};
use killer::{Killer, POINTS};
use record::Recorder;

const DIR: &str = "CORACLE_HISTORY_DIR";
const POINT: &str = "CORACLE_HISTORY_POINT";
const PASSES: &str = "CORACLE_HISTORY_PASSES";

const WRITERS: u64 = 4;
const RANDOM_MOMENTS: usize = 4;
/// A point that is not met by then (a busy machine) becomes a random moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server that is killed. Does nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let variable = |name| std::env::var(name).unwrap_or_default();
    let disk = Killer::new(&variable(POINT), variable(PASSES).parse().unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = StoreConfig {
            dir: dir.join("store"),
            encrypted: vec![Resource::new("secrets")],
            history_events: 100_000,
        };
        let store = Store::open_on(Arc::new(disk), store).await.unwrap();
        let server = ApiServer::build(crate::harness::config(&dir), &store).await.unwrap();
        std::fs::write(dir.join("kubeconfig"), server.admin_kubeconfig(None, None).unwrap()).unwrap();
        println!("\nserving");
        Arc::new(server).serve(Default::default()).await;
    });
}

/// Ends with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A server, and clients for it; nothing when it was killed before it served.
async fn start(dir: &Path, point: &str, passes: u64, recorder: &Recorder) -> (Server, Option<Client>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["history::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(POINT, point)
        .env(PASSES, passes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let child = Server(child);
    let serving = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        lines.any(|line| line == "serving")
    });
    if !serving.await.unwrap() {
        return (child, None);
    }
    let kubeconfig = kube::config::Kubeconfig::read_from(dir.join("kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let kube = kube::Client::try_from(config).unwrap();
    (child, Some(Client { kube, recorder: recorder.clone() }))
}

/// One server's life, from its start to its kill; whether it killed itself at the point.
async fn life(dir: &Path, point: &str, recorder: &Recorder, watchers: &mut [Watcher], rng: &mut Rng) -> bool {
    // A segment is written in large pieces, few of them; the log in many small ones.
    let passes = rng.below(if point.starts_with("log: ") && !point.ends_with("removal") { 60 } else { 2 });
    let moment = if point.is_empty() { Duration::from_millis(rng.below(500)) } else { PATIENCE };
    let (mut child, client) = start(dir, point, passes, recorder).await;
    let Some(client) = client else {
        child.0.wait().unwrap();
        return true;
    };
    let (_target, target) = watch::channel(None);
    let mut seed = || Rng(rng.below(u64::MAX));
    let writers = join_all((0..WRITERS).map(|_| client.write(seed(), usize::MAX)).collect::<Vec<_>>());
    let lists = client.list_on(seed());
    let watches = join_all(
        watchers
            .iter_mut()
            .map(|watcher| watcher.follow(&client, seed(), target.clone()))
            .collect::<Vec<_>>(),
    );
    let fills = async {
        if !point.is_empty() {
            client.fill().await;
        }
    };
    let kill = async {
        let end = tokio::time::Instant::now() + moment;
        let mut met = true;
        while child.0.try_wait().unwrap().is_none() {
            if tokio::time::Instant::now() >= end {
                child.0.kill().unwrap();
                met = false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        met
    };
    tokio::join!(writers, lists, watches, fills, kill).4
}

/// A server that is not killed: everybody comes to an end, and the watches to the end of all.
async fn calm(dir: &Path, recorder: &Recorder, watchers: &mut [Watcher], rng: &mut Rng) {
    let (_server, client) = start(dir, "", 0, recorder).await;
    let client = client.expect("a server that nobody kills serves");
    client.read_all().await;
    let (target, reached) = watch::channel(None);
    let mut seed = || Rng(rng.below(u64::MAX));
    let writers = join_all((0..WRITERS).map(|_| client.write(seed(), 30)).collect::<Vec<_>>());
    let watches = join_all(
        watchers
            .iter_mut()
            .map(|watcher| watcher.follow(&client, seed(), reached.clone()))
            .collect::<Vec<_>>(),
    );
    let work = async {
        writers.await;
        target.send_replace(Some(client.seal().await));
    };
    let all = async { tokio::join!(work, watches) };
    tokio::time::timeout(Duration::from_secs(180), all).await.expect("watches see the last write");
    for resource in RESOURCES {
        client.list(resource, 0).await.expect("a list");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_see_across_kills_is_a_right_history() {
    let given = std::env::var("CORACLE_HISTORY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| std::process::id().into());
    println!("CORACLE_HISTORY_SEED={seed}");
    _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (recorder, mut rng) = (Recorder::default(), Rng(seed));
    let mut watchers = RESOURCES.map(|resource| Watcher { resource, after: None });
    let mut points: Vec<&str> = POINTS.into_iter().chain(std::iter::repeat_n("", RANDOM_MOMENTS)).collect();
    let mut missed = Vec::new();
    while !points.is_empty() {
        let point = points.swap_remove(rng.below(points.len() as u64) as usize);
        if !life(dir.path(), point, &recorder, &mut watchers, &mut rng).await && !point.is_empty() {
            missed.push(point);
        }
    }
    println!("points that were not met: {missed:?}");
    assert!(missed.len() <= POINTS.len() / 2, "{missed:?}");
    calm(dir.path(), &recorder, &mut watchers, &mut rng).await;
    let history = recorder.history.lock().clone();
    let unknown = history.ops.iter().filter(|op| op.outcome == record::Outcome::Unknown).count();
    let events: usize = history.watches.iter().map(|segment| segment.events.len()).sum();
    println!(
        "{} operations, {unknown} without an answer, {} lists, {events} events in {} watches",
        history.ops.len(),
        history.lists.len(),
        history.watches.len()
    );
    assert!(history.ops.len() > 500 && unknown > 5 && events > 300, "too little happened to prove anything");
    check::check(&history).unwrap_or_else(|error| panic!("{error}"));
}
