//! Commits, conflicts, watches, durability, encryption, on real files.

use super::*;
use crate::{EventKind, OpenError, Scope, WatchError};
use Durability::{Durable, Volatile};

#[tokio::test]
async fn commits_get_consecutive_revisions_that_are_in_the_json() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    assert_eq!(store.reader().revision(), Revision(1));
    let writer = store.writer();
    let created = create(&writer, "pods/default/a", "1").await.unwrap();
    assert_eq!(created.json, r#"{"metadata":{"name":"a","resourceVersion":"2","labels":{"v":"1"}}}"#);
    let updated =
        writer.commit(put("pods/default/a", Expect::Revision(Revision(2)), "2", Durable)).await.unwrap();
    let deleted = writer.commit(delete("pods/default/a", updated.revision, Durable)).await.unwrap();
    assert_eq!(
        (updated.revision, deleted.revision, deleted.meta.label("v")),
        (Revision(3), Revision(4), Some("gone"))
    );
    assert_eq!((store.reader().revision(), contents(&store).len()), (Revision(4), 0));
}

#[tokio::test]
async fn a_probe_is_answered_after_the_commits_before_it_until_the_store_closes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let writer = store.writer();
    let (created, probed) = tokio::join!(create(&writer, "pods/default/a", "1"), async {
        writer.probe().await.unwrap();
        store.reader().revision()
    });
    assert_eq!(created.unwrap().revision, probed);
    writer.probe().await.unwrap();
    assert_eq!(store.reader().revision(), probed, "nothing is written");
    store.close().await;
    assert!(writer.probe().await.is_err());
}

#[tokio::test]
async fn a_write_whose_expectation_fails_changes_nothing_and_returns_the_current_object() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let writer = store.writer();
    create(&writer, "pods/a/x", "1").await.unwrap();
    let stale = Revision(1);
    for (write, current) in [
        (put("pods/a/x", Expect::Absent, "2", Durable), Some(2)),
        (put("pods/a/x", Expect::Revision(stale), "2", Durable), Some(2)),
        (put("pods/a/y", Expect::Revision(stale), "2", Durable), None),
        (delete("pods/a/x", stale, Durable), Some(2)),
        (delete("pods/a/y", stale, Durable), None),
        (Write { expect: Expect::Absent, ..delete("pods/a/y", stale, Durable) }, None),
    ] {
        let conflict = writer.commit(write).await.unwrap_err();
        let CommitError::Conflict { current: found } = conflict else { panic!("{conflict}") };
        assert_eq!(found.map(|object| object.revision.0), current);
    }
    assert_eq!(contents(&store), [("pods/a/x".into(), "1".into(), 2)]);
}

#[tokio::test]
async fn of_many_concurrent_creations_of_one_object_one_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let writer = store.writer();
    let attempts = (0..50).map(|n| create_numbered(&writer, n));
    let outcomes = futures_join(attempts).await;
    assert_eq!(outcomes.iter().filter(|created| **created).count(), 1);
    assert_eq!(store.reader().revision(), Revision(2));
}

async fn create_numbered(writer: &Writer, n: usize) -> bool {
    create(writer, "pods/a/x", &n.to_string()).await.is_ok()
}

async fn futures_join<F: Future<Output = bool>>(futures: impl Iterator<Item = F>) -> Vec<bool> {
    let mut pinned: Vec<_> = futures.map(Box::pin).collect();
    let mut outcomes = vec![None; pinned.len()];
    std::future::poll_fn(|cx| {
        for (future, outcome) in pinned.iter_mut().zip(&mut outcomes) {
            if outcome.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *outcome = Some(value);
            }
        }
        if outcomes.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outcomes.into_iter().flatten().collect()
}

#[tokio::test]
async fn objects_and_revisions_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let writer = store.writer();
    for name in ["a", "b", "c"] {
        create(&writer, &format!("pods/default/{name}"), name).await.unwrap();
        create(&writer, &format!("secrets/default/{name}"), name).await.unwrap();
    }
    writer.commit(delete("pods/default/b", Revision(4), Durable)).await.unwrap();
    let before = (contents(&store), store.reader().revision());
    store.close().await;
    assert!(matches!(create(&writer, "pods/a/late", "1").await, Err(CommitError::Closed)));
    for _ in 0..3 {
        let store = Store::open(config(dir.path())).await.unwrap();
        assert_eq!((contents(&store), store.reader().revision()), before);
        let secret = store.reader().get(&key("secrets/default/a")).unwrap();
        assert_eq!(secret.json, r#"{"metadata":{"name":"a","resourceVersion":"3","labels":{"v":"a"}}}"#);
        store.close().await;
    }
}

#[tokio::test]
async fn two_stores_cannot_have_one_directory_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    assert!(matches!(Store::open(config(dir.path())).await, Err(OpenError::Locked { .. })));
    store.close().await;
    Store::open(config(dir.path())).await.unwrap();
}

#[tokio::test]
async fn a_watch_returns_the_events_of_its_scope_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let (reader, writer) = (store.reader(), store.writer());
    create(&writer, "pods/a/x", "1").await.unwrap();
    let (snapshot, mut watch) = reader.list_watch(Scope::namespace(Resource::new("pods"), "a"));
    create(&writer, "pods/b/x", "1").await.unwrap();
    create(&writer, "nodes//n", "1").await.unwrap();
    let y = create(&writer, "pods/a/y", "1").await.unwrap();
    writer.commit(put("pods/a/x", Expect::Revision(Revision(2)), "2", Durable)).await.unwrap();
    writer.commit(delete("pods/a/y", y.revision, Durable)).await.unwrap();

    assert_eq!((snapshot.revision(), watch.progress()), (Revision(2), Revision(4)));
    for (kind, name, revision, previous) in [
        (EventKind::Added, "pods/a/y", 5, None),
        (EventKind::Modified, "pods/a/x", 6, Some(2)),
        (EventKind::Deleted, "pods/a/y", 7, Some(5)),
    ] {
        let event = watch.next().await.unwrap();
        assert_eq!(
            (event.kind, event.object.key.to_string(), event.object.revision.0),
            (kind, name.into(), revision)
        );
        assert_eq!(event.previous.as_ref().map(|object| object.revision.0), previous);
    }
    assert_eq!(watch.progress(), Revision(7));
    create(&writer, "nodes//m", "1").await.unwrap();
    assert_eq!((watch.progress(), watch.try_next().unwrap().is_none()), (Revision(8), true));

    let mut resumed = reader.watch(Scope::all(Resource::new("pods")), Revision(5)).unwrap();
    assert_eq!(resumed.next().await.unwrap().object.revision, Revision(6));
    store.close().await;
    assert_eq!(resumed.next().await.unwrap().object.revision, Revision(7));
    assert!(matches!(resumed.next().await, Err(WatchError::Closed)));
}

#[tokio::test]
async fn a_waiting_watch_wakes_for_its_resource() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let mut watch = store.reader().watch(Scope::object(&key("pods/a/x")), Revision(1)).unwrap();
    let waiting = tokio::spawn(async move { watch.next().await.map(|event| event.object.revision.0) });
    let writer = store.writer();
    create(&writer, "pods/a/w", "1").await.unwrap();
    create(&writer, "pods/a/x", "1").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn a_watch_whose_history_is_gone_says_so_and_others_live_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig { history_events: 10, ..config(dir.path()) }).await.unwrap();
    let (reader, writer) = (store.reader(), store.writer());
    let pods = || Scope::all(Resource::new("pods"));
    let mut slow = reader.watch(pods(), Revision(1)).unwrap();
    let mut quiet = reader.watch(Scope::all(Resource::new("nodes")), Revision(1)).unwrap();
    for n in 0..20 {
        create(&writer, &format!("pods/a/{n}"), "1").await.unwrap();
    }
    assert!(matches!(slow.next().await, Err(WatchError::Compacted(Compacted { asked: 1, oldest: 11 }))));
    assert_eq!(reader.watch(pods(), Revision(10)).map(|_| ()).unwrap_err().oldest, 11);
    assert_eq!(reader.watch(pods(), Revision(11)).unwrap().next().await.unwrap().object.revision.0, 12);
    create(&writer, "nodes//n", "1").await.unwrap();
    assert_eq!(quiet.next().await.unwrap().object.revision.0, 22);
    assert_eq!(reader.history_len(), 10);
}

use crate::Compacted;

#[tokio::test]
async fn after_a_restart_a_watch_continues_from_the_current_revision_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    create(&store.writer(), "pods/a/x", "1").await.unwrap();
    store.close().await;
    let store = Store::open(config(dir.path())).await.unwrap();
    let pods = || Scope::all(Resource::new("pods"));
    assert!(store.reader().watch(pods(), Revision(1)).is_err());
    let mut watch = store.reader().watch(pods(), Revision(2)).unwrap();
    create(&store.writer(), "pods/a/y", "1").await.unwrap();
    assert_eq!(watch.next().await.unwrap().object.revision, Revision(3));
}

#[tokio::test]
async fn volatile_objects_survive_a_proper_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let writer = store.writer();
    writer.commit(put("leases/a/x", Expect::Absent, "1", Volatile)).await.unwrap();
    let y = writer.commit(put("leases/a/y", Expect::Absent, "1", Durable)).await.unwrap();
    writer.commit(put("leases/a/y", Expect::Revision(y.revision), "2", Volatile)).await.unwrap();
    let before = contents(&store);
    store.close().await;
    let store = Store::open(config(dir.path())).await.unwrap();
    assert_eq!((contents(&store), store.reader().revision()), (before, Revision(4)));
}

#[tokio::test]
async fn secrets_are_not_readable_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    create(&store.writer(), "secrets/a/x", "plaintext-marker").await.unwrap();
    create(&store.writer(), "pods/a/x", "other-marker").await.unwrap();
    store.close().await;
    let has = |marker: &str| {
        std::fs::read_dir(dir.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(marker.len()).any(|window| window == marker.as_bytes())
        })
    };
    assert_eq!((has("plaintext-marker"), has("other-marker")), (false, true));

    use std::os::unix::fs::PermissionsExt;
    let keys = dir.path().join("encryption.keys");
    assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(&keys).unwrap();
    let error = Store::open(config(dir.path())).await.map(|_| ()).unwrap_err();
    assert!(matches!(&error, OpenError::Key { .. }), "{error}");
    assert!(error.to_string().contains("`secrets/a/x`"), "{error}");
}

#[tokio::test]
async fn a_past_revision_of_a_resource_is_known_as_far_as_the_history_reaches_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig { history_events: 20, ..config(dir.path()) }).await.unwrap();
    let (reader, writer) = (store.reader(), store.writer());
    let pods = Resource::new("pods");
    let rows = |snapshot: crate::Snapshot| -> Vec<(String, u64)> {
        let all = snapshot.list(&Scope::all(Resource::new("pods")));
        all.map(|object| (object.key.to_string(), object.revision.0)).collect()
    };
    let mut past = Vec::new();
    for n in 0..20_u64 {
        past.push(rows(reader.snapshot()));
        // Made, written again, made and deleted; every fourth time something else changes.
        let name = format!("pods/a/{}", n % 5);
        let write = match (n % 4, reader.get(&key(&name))) {
            (0, _) => put(&format!("nodes//{n}"), Expect::Absent, "1", Durable),
            (3, Some(old)) => delete(&name, old.revision, Durable),
            (_, Some(old)) => put(&name, Expect::Revision(old.revision), "2", Durable),
            (_, None) => put(&name, Expect::Absent, "1", Durable),
        };
        writer.commit(write).await.unwrap();
    }
    past.push(rows(reader.snapshot()));
    for (at, expected) in (1..).zip(past) {
        let snapshot = reader.snapshot_at(&pods, Revision(at)).unwrap();
        assert_eq!((snapshot.revision().0, rows(snapshot)), (at, expected));
    }
    create(&writer, "pods/a/x", "1").await.unwrap();
    create(&writer, "pods/a/y", "1").await.unwrap();
    assert!(reader.snapshot_at(&pods, Revision(1)).is_err());
    assert_eq!(
        rows(reader.snapshot_at(&pods, Revision(22)).unwrap()).len(),
        rows(reader.snapshot()).len() - 1
    );
}
