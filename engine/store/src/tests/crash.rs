//! A child process commits with eight writers and is killed with SIGKILL at a random moment, 200 times over on the
//! same directory: every acknowledged write is there after.
//!
//! The child is this test binary again; it prints a line for each commit once it is acknowledged.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Read, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use super::{sim_disk::Rng, *};
use crate::{OsDisk, keyring::Keyring, recover::recover};

const DIR: &str = "CORACLE_STORE_CRASH_DIR";
const ROUNDS: usize = 200;
/// Small, so that many kills hit a new segment or a checkpoint.
const SEGMENT: u64 = 64 << 10;

async fn open(dir: &Path) -> Store {
    Store::open_sized(Arc::new(OsDisk), config(dir), SEGMENT).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The process that is killed. Does nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&dir)).await;
        println!("\nopen");
        let writers = (0..8).map(|n| tokio::spawn(write_forever(store.writer(), store.reader(), n)));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

async fn write_forever(writer: Writer, reader: crate::Reader, number: usize) {
    let mut rng = Rng(number as u64 + u64::from(std::process::id()));
    loop {
        let resource = ["pods", "secrets", "leases"][rng.below(3) as usize];
        let name = format!("{resource}/w{number}/{}", rng.below(8));
        let durability = if resource == "leases" { Durability::Volatile } else { Durability::Durable };
        let value = rng.next().to_string().repeat(1 + rng.below(40) as usize);
        let (write, value) = match reader.get(&key(&name)) {
            Some(object) if rng.below(5) == 0 => (delete(&name, object.revision, durability), "-"),
            Some(object) => (put(&name, Expect::Revision(object.revision), &value, durability), &*value),
            None => (put(&name, Expect::Absent, &value, durability), &*value),
        };
        let object = writer.commit(write).await.unwrap();
        let line = format!("{name} {} {value}\n", object.revision);
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

/// Runs the child until it acknowledged `least` commits, however slow the disk is, and for a moment more; its lines after
/// it opened the store, each one whole.
fn killed_after(dir: &Path, least: usize, moment: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["tests::crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line != "open\n" {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child could not open the store");
    }
    let mut text = String::new();
    for _ in 0..least {
        assert!(output.read_line(&mut text).unwrap() > 0, "the child ended by itself");
    }
    let reading = std::thread::spawn(move || output.read_to_string(&mut text).map(|_| text).unwrap());
    std::thread::sleep(moment); // not for anything to happen: the random moment itself
    child.kill().unwrap();
    child.wait().unwrap();
    let text = reading.join().unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// What is on disk, by key: revision and value. Volatile objects may be at an older state and are left out.
fn on_disk(dir: &Path) -> (HashMap<String, (u64, String)>, u64) {
    let keyring = Keyring::load(&OsDisk, dir).unwrap();
    let state = recover(&OsDisk, dir, SEGMENT, &keyring).unwrap_or_else(|error| panic!("{error}")).state;
    let row = |object: &Arc<Object>| {
        (object.key.to_string(), (object.revision.0, object.meta.label("v").unwrap().to_owned()))
    };
    let durable = |object: &&Arc<Object>| object.key.resource.as_str() != "leases";
    (state.iter().filter(durable).map(row).collect(), state.revision.0)
}

#[tokio::test]
async fn every_acknowledged_write_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(std::process::id().into());
    let (mut revisions, mut commits, mut highest) = (HashSet::new(), 0, 0);
    let mut expected: HashMap<String, (u64, String)> = HashMap::new();
    for round in 0..ROUNDS {
        for line in killed_after(dir.path(), round % 4, Duration::from_micros(rng.below(60_000))) {
            let [name, revision, value] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let revision: u64 = revision.parse().unwrap();
            assert!(revisions.insert(revision), "revision {revision} was given twice");
            (commits, highest) = (commits + 1, revision.max(highest));
            match value {
                _ if name.starts_with("leases/") => {}
                "-" => _ = expected.remove(name),
                _ => _ = expected.insert(name.to_owned(), (revision, value.to_owned())),
            }
        }
        let (found, revision) = on_disk(dir.path());
        assert!(revision >= highest, "round {round}: revision {revision} after {highest}");
        // Each writer has one write under way when it is killed: that one is there or not.
        let mut under_way = HashSet::new();
        for name in expected.keys().chain(found.keys()).collect::<HashSet<_>>() {
            let (was, is) = (expected.get(name), found.get(name));
            let later = is.is_none_or(|is| was.is_none_or(|was| is.0 > was.0));
            let writer = name.split('/').nth(1);
            assert!(
                was == is || (later && under_way.insert(writer)),
                "round {round}: {name}: {was:?}, now {is:?}"
            );
        }
        expected = found;
        if round % 20 == 19 {
            open(dir.path()).await.close().await;
        }
    }
    assert!(commits > ROUNDS, "{commits} commits");
    eprintln!("{ROUNDS} kills, {commits} acknowledged commits");
}
