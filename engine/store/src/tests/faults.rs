//! A disk that fails or is full.

use super::{sim_disk::*, *};
use Durability::{Durable, Volatile};
use std::io::ErrorKind;

const SEGMENT: u64 = 2048;

async fn open(disk: &SimDisk) -> Store {
    Store::open_sized(Arc::new(disk.clone()), config(Path::new("/s")), SEGMENT).await.unwrap()
}

#[tokio::test]
async fn after_a_failed_write_or_sync_nothing_is_published_and_the_store_stays_read_only() {
    for operation in [1, 2] {
        let disk = SimDisk::default();
        let store = open(&disk).await;
        create(&store.writer(), "pods/a/x", "1").await.unwrap();
        disk.fail_at(disk.operations() + operation, Fault::Fail(ErrorKind::Other));
        let before = (contents(&store), store.reader().revision());
        for name in ["pods/a/y", "pods/a/z"] {
            let error = create(&store.writer(), name, "1").await.unwrap_err();
            assert!(matches!(error, CommitError::ReadOnly { .. }), "{error}");
            assert!(error.to_string().contains("/s/log-0000000000000001"), "{error}");
        }
        let volatile = store.writer().commit(put("leases/a/x", Expect::Absent, "1", Volatile)).await;
        assert!(matches!(volatile, Err(CommitError::ReadOnly { .. })));
        assert_eq!((contents(&store), store.reader().revision()), before);
        assert!(store.reader().read_only().is_some());
        store.close().await;
        // What was written is on the disk or not; both are sound.
        let found = contents(&open(&disk.after_power_loss(&mut Rng(7))).await);
        assert!(found == before.0 || found.len() == 2, "{found:?}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_space_again() {
    let disk = SimDisk::default();
    let store = open(&disk).await;
    let (writer, mut written) = (store.writer(), Vec::new());
    disk.set_full(true);
    let reason = loop {
        let name = format!("pods/a/{:03}", written.len());
        match create(&writer, &name, "1").await {
            Ok(object) => written.push((name, "1".to_owned(), object.revision.0)),
            Err(CommitError::ReadOnly { reason }) => break reason,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(reason.starts_with("make a log segment in `/s`: "), "{reason}");
    assert!(reason.contains("; free space on its file system"), "{reason}");
    assert!(written.len() > 5, "the segment that is there is used up first");
    assert!(create(&writer, "pods/b/x", "1").await.is_err());
    assert_eq!(contents(&store), written);
    disk.set_full(false);
    assert_eq!(create(&writer, "pods/c/x", "1").await.unwrap().revision.0, written.len() as u64 + 2);
    assert_eq!(store.reader().read_only(), None);
    let found = contents(&open(&disk.after_power_loss(&mut Rng(1))).await);
    assert_eq!((found.len(), &found[..written.len()]), (written.len() + 1, &written[..]));
}

#[tokio::test]
async fn a_disk_that_is_full_during_a_write_keeps_what_was_acknowledged() {
    let disk = SimDisk::default();
    let store = open(&disk).await;
    let writer = store.writer();
    let mut written = 0;
    for n in 0..60 {
        if n % 4 == 3 {
            disk.fail_at(disk.operations() + 1, Fault::Fail(ErrorKind::StorageFull));
        }
        written += create(&writer, &format!("pods/a/{n:03}"), &"x".repeat(n * 7)).await.is_ok() as usize;
    }
    assert!((30..60).contains(&written), "{written}");
    let before = contents(&store);
    assert_eq!(before.len(), written);
    assert_eq!(contents(&open(&disk.after_power_loss(&mut Rng(3))).await), before);
}

#[tokio::test]
async fn a_part_of_a_refused_write_is_not_left_behind_when_the_log_goes_on_elsewhere() {
    let disk = SimDisk::default();
    let store = open(&disk).await;
    let writer = store.writer();
    for n in 0..20 {
        create(&writer, &format!("pods/a/{n:03}"), "small").await.unwrap();
        disk.fail_next_log_write(ErrorKind::StorageFull);
        let refused = create(&writer, &format!("pods/b/{n:03}"), &"x".repeat(700)).await.unwrap_err();
        assert!(matches!(refused, CommitError::ReadOnly { .. }), "{refused}");
        create(&writer, &format!("pods/c/{n:03}"), &"x".repeat(1800)).await.unwrap();
        assert_eq!(contents(&open(&disk.after_power_loss(&mut Rng(n))).await), contents(&store));
    }
}

#[tokio::test]
async fn volatile_commits_cost_no_disk_operations_and_their_revisions_are_not_given_again() {
    let disk = SimDisk::default();
    let store = open(&disk).await;
    let writer = store.writer();
    let durable = create(&writer, "leases/a/x", "0").await.unwrap();
    let (operations, mut last) = (disk.operations(), durable.revision);
    for n in 1..=900 {
        let write = put("leases/a/x", Expect::Revision(last), &n.to_string(), Volatile);
        last = writer.commit(write).await.unwrap().revision;
    }
    assert_eq!(disk.operations(), operations);
    let store = open(&disk.after_power_loss(&mut Rng(5))).await;
    assert_eq!(contents(&store), [("leases/a/x".into(), "0".into(), durable.revision.0)]);
    assert!(store.reader().revision() >= last);
    assert!(create(&store.writer(), "pods/a/x", "1").await.unwrap().revision > last);

    // More of them than the ceiling allows for cost a write once in a while.
    let (operations, mut volatile) = (disk.operations(), last);
    for _ in 0..2500 {
        let write = put("leases/a/x", Expect::Revision(volatile), "n", Volatile);
        volatile = writer.commit(write).await.unwrap().revision;
    }
    assert!((2..12).contains(&(disk.operations() - operations)));
    assert!(open(&disk.after_power_loss(&mut Rng(6))).await.reader().revision() >= volatile);
}

#[tokio::test]
async fn a_store_at_rest_or_opened_and_closed_writes_nothing() {
    let disk = SimDisk::default();
    let store = open(&disk).await;
    create(&store.writer(), "pods/a/x", "1").await.unwrap();
    store.close().await;
    let operations = disk.operations();
    for _ in 0..3 {
        open(&disk).await.close().await;
    }
    assert_eq!(disk.operations(), operations);
}

#[tokio::test]
async fn an_object_larger_than_a_segment_is_kept() {
    let disk = SimDisk::default();
    let store = open(&disk).await;
    for n in 0..3 {
        create(&store.writer(), &format!("pods/a/{n}"), "small").await.unwrap();
        create(&store.writer(), &format!("pods/b/{n}"), &"x".repeat(9000)).await.unwrap();
    }
    store.writer().commit(put("pods/c/x", Expect::Absent, "1", Durable)).await.unwrap();
    assert_eq!(contents(&open(&disk.after_power_loss(&mut Rng(3))).await), contents(&store));
}
