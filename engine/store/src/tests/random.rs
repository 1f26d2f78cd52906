//! Random commits, faults and losses of power, against a model. Prints its seed when it fails;
//! `CORACLE_STORE_SEED` runs one again (the order of threads differs, the choices are the same).

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
};

use super::{
    sim_disk::{Fault, Rng, SimDisk},
    *,
};
use crate::{EventKind, Reader, Scope};
use Durability::{Durable, Volatile};

const SEGMENT: u64 = 4096;
const WRITERS: u64 = 4;
const RESOURCES: [&str; 3] = ["pods", "secrets", "leases"];

/// What one key may hold after a crash: the last state that is surely on disk, and all that came later.
#[derive(Clone, Default)]
struct Possible(Vec<Option<(u64, String)>>);

/// What one writer knows of its own keys.
struct Known {
    possible: HashMap<String, Possible>,
    last_revision: u64,
}

async fn write_randomly(
    writer: Writer,
    reader: Reader,
    number: u64,
    mut rng: Rng,
    mut known: Known,
) -> Known {
    for _ in 0..60 {
        let resource = RESOURCES[rng.below(3) as usize];
        let name = format!("{resource}/ns{}/w{number}-{}", rng.below(2), rng.below(4));
        let current = reader.get(&key(&name));
        let durability = if rng.below(3) == 0 { Volatile } else { Durable };
        let value = rng.below(1 << 40).to_string().repeat(1 + rng.below(20) as usize);
        let (write, wanted) = match &current {
            Some(object) if rng.below(4) == 0 => (delete(&name, object.revision, durability), None),
            Some(object) => (put(&name, Expect::Revision(object.revision), &value, durability), Some(value)),
            None => (put(&name, Expect::Absent, &value, durability), Some(value)),
        };
        let possible = known.possible.entry(name.clone()).or_insert_with(|| Possible(vec![None]));
        match writer.commit(write).await {
            Ok(object) => {
                assert!(object.revision.0 > known.last_revision, "revisions grow");
                known.last_revision = object.revision.0;
                if durability == Durable {
                    possible.0.clear();
                }
                possible.0.push(wanted.map(|value| (object.revision.0, value)));
                assert_eq!(reader.get(&key(&name)).is_some(), possible.0.last().unwrap().is_some());
            }
            // On disk or not. Its revision is not known: 0 stands for any.
            Err(CommitError::ReadOnly { .. } | CommitError::Closed) => {
                possible.0.push(wanted.map(|value| (0, value)));
            }
            Err(error @ CommitError::Conflict { .. }) => panic!("{name}: {error}"),
        }
    }
    known
}

/// Follows a watch until the store ends; what a client that lists and watches has then.
async fn follow(reader: Reader, resource: &'static str) -> BTreeMap<String, u64> {
    let (snapshot, mut watch) = reader.list_watch(Scope::all(Resource::new(resource)));
    let scope = Scope::all(Resource::new(resource));
    let mut seen: BTreeMap<String, u64> =
        snapshot.list(&scope).map(|object| (object.key.to_string(), object.revision.0)).collect();
    let mut last = snapshot.revision();
    while let Ok(event) = watch.next().await {
        let (name, revision) = (event.object.key.to_string(), event.object.revision);
        assert!(revision > last, "events come in order, once");
        last = revision;
        assert_eq!(seen.get(&name).copied(), event.previous.as_ref().map(|object| object.revision.0));
        match event.kind {
            EventKind::Deleted => _ = seen.remove(&name),
            _ => _ = seen.insert(name, revision.0),
        }
        assert!(watch.progress() >= last);
    }
    seen
}

async fn run(seed: u64) {
    let mut rng = Rng(seed);
    let mut disk = SimDisk::default();
    let mut known: Vec<Known> =
        (0..WRITERS).map(|_| Known { possible: HashMap::new(), last_revision: 0 }).collect();
    for _round in 0..5 {
        let configuration = StoreConfig { history_events: 100_000, ..config(Path::new("/s")) };
        let opened = Store::open_sized(Arc::new(disk.clone()), configuration, SEGMENT).await;
        let store = opened.unwrap_or_else(|error| panic!("{error}"));
        check(&store, &mut known);
        if rng.below(4) > 0 {
            let fault = match rng.below(5) {
                0 => Fault::Fail(std::io::ErrorKind::Other),
                1 => Fault::Fail(std::io::ErrorKind::StorageFull),
                _ => Fault::Crash,
            };
            disk.fail_at(disk.operations() + 1 + rng.below(200), fault);
        }
        let watchers = RESOURCES.map(|resource| tokio::spawn(follow(store.reader(), resource)));
        let writers: Vec<_> = (0..WRITERS)
            .zip(known.drain(..))
            .map(|(n, known)| {
                let rng = Rng(rng.next());
                tokio::spawn(write_randomly(store.writer(), store.reader(), n, rng, known))
            })
            .collect();
        for writer in writers {
            known.push(writer.await.unwrap());
        }
        let image = disk.after_power_loss(&mut rng);
        let reader = store.reader();
        let proper_end = rng.below(3) == 0;
        store.close().await;
        for (resource, watcher) in RESOURCES.into_iter().zip(watchers) {
            let snapshot = reader.snapshot();
            let scope = Scope::all(Resource::new(resource));
            let expected: BTreeMap<String, u64> =
                snapshot.list(&scope).map(|object| (object.key.to_string(), object.revision.0)).collect();
            assert_eq!(watcher.await.unwrap(), expected);
        }
        disk = if proper_end { disk.after_power_loss(&mut rng) } else { image };
    }
}

/// What is there after a restart is possible, and becomes what is known.
fn check(store: &Store, known: &mut [Known]) {
    let last = known.iter().map(|known| known.last_revision).max().unwrap_or_default();
    let revision = store.reader().revision().0;
    assert!(revision >= last, "revision {revision} after {last}");
    for known in known {
        for (name, possible) in &mut known.possible {
            let found = store
                .reader()
                .get(&key(name))
                .map(|object| (object.revision.0, object.meta.label("v").unwrap_or_default().to_owned()));
            let fits = possible.0.iter().any(|state| match (state, &found) {
                (Some((revision, value)), Some(found)) => {
                    *value == found.1 && [0, found.0].contains(revision)
                }
                (None, None) => true,
                _ => false,
            });
            assert!(fits, "{name}: found {found:?}, possible {:?}", possible.0);
            possible.0 = vec![found];
        }
        known.last_revision = known.last_revision.max(revision);
    }
}

#[test]
fn whatever_happens_acknowledged_writes_are_there_after() {
    let given = std::env::var("CORACLE_STORE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or(0..80, |seed| seed..seed + 1);
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(seed))));
        if let Err(panic) = outcome {
            eprintln!("CORACLE_STORE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
