//! Backups of real stores: restored, damaged at every place, and restored by a process that is killed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use coracle_store::{
    Body, Change, Durability, Expect, Key, Meta, Resource, Scope, Store, StoreConfig, Write,
};

use super::*;

const KEYS: [&str; 3] = ["pki/ca.crt", "pki/ca.key", "pki/sa.key"];

fn encrypted() -> Vec<Resource> {
    vec![Resource::new("secrets")]
}

async fn open(data_dir: &Path) -> Store {
    let dir = data_dir.join("store");
    Store::open(StoreConfig { dir, encrypted: encrypted(), history_events: 10 }).await.unwrap()
}

async fn create(store: &Store, resource: &str, name: &str, value: &str) {
    let key = Key::new(Resource::new(resource), "default", name);
    let before = format!(r#"{{"metadata":{{"name":"{name}","namespace":"default","resourceVersion":""#);
    let json = format!(r#"{before}"}},"data":"{value}"}}"#).into_bytes();
    let meta = Meta::from_json(&json).unwrap();
    let change = Change::Put { meta, body: Body { revision_at: before.len(), json } };
    let write = Write { key, expect: Expect::Absent, change, durability: Durability::Durable };
    store.writer().commit(write).await.unwrap();
}

/// A data directory whose keys and objects all say `mark`.
async fn cluster(data_dir: &Path, mark: &str, objects: usize) {
    for path in KEYS {
        let path = data_dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, mark).unwrap();
    }
    let store = open(data_dir).await;
    for n in 0..objects {
        create(&store, if n % 2 == 0 { "configmaps" } else { "secrets" }, &format!("o{n}"), mark).await;
    }
    store.close().await;
}

async fn backup(data_dir: &Path) -> Vec<u8> {
    let store = open(data_dir).await;
    let snapshot = store.reader().snapshot();
    let mut encoder = Encoder::start(Vec::new(), snapshot.revision().0).unwrap();
    for path in KEYS {
        encoder.file(path, &std::fs::read_to_string(data_dir.join(path)).unwrap()).unwrap();
    }
    for (resource, _) in snapshot.resources() {
        for object in snapshot.list(&Scope::all(resource)) {
            encoder.object(object).unwrap();
        }
    }
    store.close().await;
    encoder.finish().unwrap()
}

/// Every object and key, and nothing about how they are stored.
async fn contents(data_dir: &Path) -> BTreeMap<String, String> {
    let store = open(data_dir).await;
    let snapshot = store.reader().snapshot();
    let mut found: BTreeMap<String, String> = snapshot
        .resources()
        .into_iter()
        .flat_map(|(resource, _)| snapshot.list(&Scope::all(resource)).cloned().collect::<Vec<_>>())
        .map(|object| (object.key.to_string(), String::from_utf8(object.json.to_vec()).unwrap()))
        .collect();
    for path in KEYS {
        found.insert(path.into(), std::fs::read_to_string(data_dir.join(path)).unwrap());
    }
    store.close().await;
    found
}

/// Names directly in the directory, the lock aside.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

struct Dirs {
    old: tempfile::TempDir,
    new: tempfile::TempDir,
}

impl Dirs {
    async fn new(objects: usize) -> Dirs {
        let dirs = Dirs { old: tempfile::tempdir().unwrap(), new: tempfile::tempdir().unwrap() };
        cluster(dirs.old.path(), "old", objects).await;
        dirs
    }
}

#[tokio::test]
async fn an_empty_directory_gets_the_same_cluster_with_later_revisions() {
    let dirs = Dirs::new(6).await;
    let file = backup(dirs.old.path()).await;
    let restored = restore(dirs.new.path(), &file[..], false, &encrypted()).unwrap();
    assert_eq!((restored.objects, restored.revision), (6, 7));
    assert_eq!(contents(dirs.new.path()).await, contents(dirs.old.path()).await);
    assert_eq!(names(dirs.new.path()), ["pki", "store"]);
    let store = open(dirs.new.path()).await;
    let stale = store.reader().watch(Scope::all(Resource::new("configmaps")), coracle_store::Revision(7));
    assert!(stale.is_err(), "what clients saw after the backup must not look like this cluster's past");
    assert!(store.reader().revision().0 > 1_000_000_000);
    store.close().await;
    // A backup of the restored cluster is as good.
    let again = tempfile::tempdir().unwrap();
    restore(again.path(), &backup(dirs.new.path()).await[..], false, &encrypted()).unwrap();
    assert_eq!(contents(again.path()).await, contents(dirs.old.path()).await);
}

#[tokio::test]
async fn a_cluster_is_replaced_only_when_told_and_is_kept_aside() {
    let dirs = Dirs::new(3).await;
    let file = backup(dirs.old.path()).await;
    cluster(dirs.new.path(), "new", 2).await;
    let before = contents(dirs.new.path()).await;
    let refused = restore(dirs.new.path(), &file[..], false, &encrypted()).unwrap_err();
    assert!(matches!(refused, RestoreError::Occupied { .. }), "{refused}");
    assert_eq!(contents(dirs.new.path()).await, before);
    restore(dirs.new.path(), &file[..], true, &encrypted()).unwrap();
    assert_eq!(contents(dirs.new.path()).await, contents(dirs.old.path()).await);
    assert_eq!(names(dirs.new.path()), ["before-restore", "pki", "store"]);
    assert_eq!(contents(&dirs.new.path().join("before-restore")).await, before);
}

#[tokio::test]
async fn revisions_go_on_beyond_those_of_the_cluster_that_is_replaced() {
    let dirs = Dirs::new(3).await;
    let (file, data_dir) = (backup(dirs.old.path()).await, dirs.new.path());
    let mut seen = 0;
    for round in 1..4 {
        let restored = restore(data_dir, &file[..], true, &encrypted()).unwrap();
        assert!(restored.uncounted.is_none(), "{:?}", restored.uncounted);
        let store = open(data_dir).await;
        assert!(store.reader().revision().0 > seen, "restored {round} times");
        create(&store, "configmaps", "later", "x").await;
        seen = store.reader().revision().0;
        store.close().await;
    }
    // What cannot be read any more is replaced all the same.
    let store = data_dir.join("store");
    let checkpoint = names(&store).into_iter().find(|name| name.starts_with("checkpoint-")).unwrap();
    std::fs::write(store.join(checkpoint), "damaged").unwrap();
    let restored = restore(data_dir, &file[..], true, &encrypted()).unwrap();
    assert!(restored.uncounted.unwrap().to_string().contains("is damaged at byte 0"));
    assert_eq!(contents(data_dir).await, contents(dirs.old.path()).await);
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_leaves_nothing_behind() {
    let dirs = Dirs::new(4).await;
    let good = backup(dirs.old.path()).await;
    let text = String::from_utf8(good.clone()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().concat();
    let cases = [
        ("", "this is no backup"),
        ("PK\u{3}\u{4}", "this is no backup"),
        (&text.replace("\"version\":1", "\"version\":2"), "format version 2, this coracle reads version 1"),
        (&without(lines.len() - 1), "cut off after line 8"),
        (&text[..text.len() / 2], "cut off after line"),
        (&without(5), "SHA-256"),
        (&without(1), "SHA-256"),
        (&text.replacen("\"data\":\"old\"", "\"data\":\"odd\"", 1), "SHA-256"),
        (&text.replacen("{\"object\"", "{\"subject\"", 1), "line 5 makes no sense"),
        (&format!("{text}{{}}\n"), "goes on after its last line"),
        (&[&lines[..3], &[lines[0]], &lines[3..]].concat().concat(), "line 4 is not where it belongs"),
        (&[&lines[..5], &[lines[1]], &lines[5..]].concat().concat(), "line 6 is not where it belongs"),
    ];
    for (damaged, expected) in cases {
        let error = restore(dirs.new.path(), damaged.as_bytes(), false, &encrypted()).unwrap_err();
        let RestoreError::Read(error) = error else { panic!("{error}") };
        assert!(error.to_string().contains(expected), "{error}, expected {expected}");
        assert!(names(dirs.new.path()).is_empty());
    }
    // Every single byte counts.
    for at in (0..good.len()).step_by(7) {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        assert!(restore(dirs.new.path(), &damaged[..], false, &encrypted()).is_err(), "byte {at}");
        assert!(names(dirs.new.path()).is_empty());
    }
}

#[tokio::test]
async fn what_has_no_place_in_a_backup_is_refused() {
    let dirs = Dirs::new(1).await;
    let with = |paths: &[&str]| {
        let mut encoder = Encoder::start(Vec::new(), 7).unwrap();
        paths.iter().for_each(|path| encoder.file(path, "x").unwrap());
        encoder.finish().unwrap()
    };
    for path in ["../x", "/etc/passwd", "pki/../../x", "store/log-1", "pki", "pki/a/b"] {
        let paths = [&KEYS[..], &[path]].concat();
        let error = restore(dirs.new.path(), &with(&paths)[..], false, &encrypted()).unwrap_err();
        assert!(matches!(error, RestoreError::ForeignFile { .. }), "{path}: {error}");
    }
    let error = restore(dirs.new.path(), &with(&KEYS[..2])[..], false, &encrypted()).unwrap_err();
    assert!(matches!(error, RestoreError::MissingKey { path: "pki/sa.key" }), "{error}");
    assert!(names(dirs.new.path()).is_empty());
}

#[tokio::test]
async fn a_restore_that_was_stopped_between_two_moves_is_finished() {
    let dirs = Dirs::new(2).await;
    let file = backup(dirs.old.path()).await;
    // How far the moves had come: of pki away, pki in, store away, store in.
    for done in 0..=4 {
        let dir = tempfile::tempdir().unwrap();
        cluster(dir.path(), "new", 2).await;
        let whole = tempfile::tempdir_in(dir.path()).unwrap();
        restore(whole.path(), &file[..], false, &encrypted()).unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::rename(whole.path(), path("restored")).unwrap();
        let moves = [
            ("pki", "before-restore/pki"),
            ("restored/pki", "pki"),
            ("store", "before-restore/store"),
            ("restored/store", "store"),
        ];
        for (from, to) in &moves[..done] {
            std::fs::create_dir_all(path("before-restore")).unwrap();
            std::fs::rename(path(from), path(to)).unwrap();
        }
        finish(dir.path()).unwrap();
        assert_eq!(contents(dir.path()).await, contents(dirs.old.path()).await, "after {done} moves");
        assert_eq!(names(dir.path()), ["before-restore", "pki", "store"]);
    }
}

const CHILD_DIR: &str = "CORACLE_BACKUP_KILL_DIR";

/// The process that is killed. Does nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let file = std::fs::read(dir.join("file")).unwrap();
    println!("\nrestoring");
    restore(&dir.join("data"), &file[..], true, &encrypted()).unwrap();
    println!("\nrestored");
}

/// Runs the child; how long it took, or that it was killed after `moment`.
fn restore_in_child(dir: &Path, moment: Option<Duration>) -> Duration {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["tests::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line == "restoring").expect("the child starts");
    let started = std::time::Instant::now();
    match moment {
        Some(moment) => {
            std::thread::sleep(moment); // not for anything to happen: the random moment itself
            child.kill().unwrap();
        }
        None => _ = lines.find(|line| line == "restored").expect("the child ends"),
    }
    let took = started.elapsed();
    child.wait().unwrap();
    took
}

#[tokio::test]
async fn a_restore_that_is_killed_has_happened_or_not() {
    const ROUNDS: u32 = 40;
    let dirs = Dirs::new(40).await;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::write(dir.path().join("file"), backup(dirs.old.path()).await).unwrap();
    let restored = contents(dirs.old.path()).await;
    let (mut before_it, mut after_it) = (0, 0);
    std::fs::create_dir(&data).unwrap();
    let took = restore_in_child(dir.path(), None);
    for round in 0..ROUNDS {
        _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir(&data).unwrap();
        let empty = round % 4 == 3;
        if !empty {
            cluster(&data, "new", 3).await;
        }
        let before = if empty { BTreeMap::new() } else { contents(&data).await };
        // Spread over the whole of it, and a bit beyond.
        restore_in_child(dir.path(), Some(took.mul_f64(1.2 * f64::from(round) / f64::from(ROUNDS))));
        finish(&data).unwrap();
        let found = if holds_a_cluster(&data) { contents(&data).await } else { BTreeMap::new() };
        assert!(found == before || found == restored, "round {round}: neither the one nor the other");
        *(if found == restored { &mut after_it } else { &mut before_it }) += 1;
        let left = names(&data);
        assert!(left.iter().all(|name| ["before-restore", "pki", "store"].contains(&&**name)), "{left:?}");
    }
    assert!(before_it > 0, "no kill came before the restore had happened: {after_it}");
    eprintln!("{ROUNDS} kills, {before_it} before it had happened, {after_it} after");
}
