use coracle_store::{Body, Change, Durability, Event, Expect, Meta, Store, StoreConfig, Write};

use super::*;

async fn put(store: &Store, resource: &str, key: &ObjectKey, rest: &str) {
    let start = r#"{"metadata":{"resourceVersion":""#;
    let json = format!(r#"{start}","name":"{}"}}{rest}}}"#, key.name);
    let body = Body { json: json.into_bytes(), revision_at: start.len() };
    let write = Write {
        key: key.in_resource(resource),
        expect: Expect::Absent,
        change: Change::Put { meta: Meta::default(), body },
        durability: Durability::Volatile,
    };
    store.writer().commit(write).await.unwrap();
}

#[tokio::test]
async fn a_pod_whose_node_is_absent_is_looked_at_however_it_got_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { dir: dir.path().to_owned(), encrypted: Vec::new(), history_events: 100 };
    let store = Store::open(config).await.unwrap();
    put(&store, "nodes", &ObjectKey::new("", "here"), "").await;
    for (at, (node, kind, looked_at)) in [
        ("here", EventKind::Added, false),
        ("here", EventKind::Modified, false),
        ("", EventKind::Added, false),
        ("gone", EventKind::Added, true),
        ("gone", EventKind::Modified, true),
        ("gone", EventKind::Deleted, false),
    ]
    .into_iter()
    .enumerate()
    {
        let key = ObjectKey::new("default", &format!("p{at}"));
        put(&store, "pods", &key, &format!(r#","spec":{{"nodeName":"{node}","containers":[]}}"#)).await;
        let object = store.reader().get(&key.in_resource("pods")).unwrap();
        let event = Event { kind, object, previous: None };
        let expected = if looked_at { vec![key] } else { Vec::new() };
        assert_eq!(orphans(&store.reader(), &event), expected, "{node:?} {kind:?}");
    }
}

#[test]
fn each_pod_waits_for_its_node_on_its_own() {
    let (seen, start) = (Unchanged::default(), Instant::now());
    for (name, uid, at_seconds, left_seconds) in
        [("a", "1", 0, 40), ("a", "1", 30, 10), ("b", "2", 40, 40), ("a", "1", 50, 0), ("a", "3", 50, 40)]
    {
        let mut pod = Pod::default();
        pod.metadata.uid = Some(uid.to_owned());
        let now = start + Duration::from_secs(at_seconds);
        let left = quarantine(&seen, &pod, &ObjectKey::new("default", name), now);
        assert_eq!(left, Duration::from_secs(left_seconds), "{name} {uid} {at_seconds}");
    }
}
