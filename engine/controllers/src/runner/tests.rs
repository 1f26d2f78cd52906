use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use coracle_lifecycle::Pulse;
use coracle_store::{Body, Change, Durability, Expect, Meta, Store, StoreConfig, Write};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;

/// Tells every pass, and ends the first ones of some keys badly.
struct Probe {
    passes: mpsc::UnboundedSender<String>,
    count: AtomicUsize,
}

impl Controller for Probe {
    type Key = ObjectKey;
    const NAME: &'static str = "probe";

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary("configmaps")]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let _ = self.passes.send(key.to_string());
        match &*key.name {
            "panics" if count == 0 => panic!("the first pass"),
            "fails" if count == 0 => Err(ControllerError::Panicked { what: "not really".to_owned() }),
            "again" if count == 0 => Ok(Requeue::After(Duration::from_millis(1))),
            _ => Ok(Requeue::OnChange),
        }
    }
}

async fn store() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { dir: dir.path().to_owned(), encrypted: Vec::new(), history_events: 100 };
    (Store::open(config).await.unwrap(), dir)
}

async fn put(store: &Store, name: &str) {
    let start = r#"{"metadata":{"resourceVersion":""#;
    let json = format!(r#"{start}","name":"{name}"}}}}"#);
    let write = Write {
        key: ObjectKey::new("default", name).in_resource("configmaps"),
        expect: Expect::Absent,
        change: Change::Put {
            meta: Meta::default(),
            body: Body { json: json.into_bytes(), revision_at: start.len() },
        },
        durability: Durability::Volatile,
    };
    store.writer().commit(write).await.unwrap();
}

#[tokio::test]
async fn a_pass_runs_for_what_is_there_and_what_comes_and_again_after_failures_panics_and_on_request() {
    for (name, passes) in [("plain", 1), ("panics", 2), ("fails", 2), ("again", 2)] {
        let (store, _dir) = store().await;
        let (sender, mut told) = mpsc::unbounded_channel();
        let probe = Arc::new(Probe { passes: sender, count: AtomicUsize::new(0) });
        let stop = CancellationToken::new();
        put(&store, name).await;
        let running = tokio::spawn(run(
            probe,
            store.reader(),
            Pulse::default().begin("probe"),
            Arc::default(),
            stop.clone(),
        ));
        for _ in 0..passes {
            assert_eq!(told.recv().await, Some(format!("default/{name}")));
        }
        put(&store, "later").await;
        assert_eq!(told.recv().await.as_deref(), Some("default/later"), "after {name}");
        stop.cancel();
        running.await.unwrap();
        assert_eq!(told.recv().await, None);
    }
}

#[test]
fn a_pass_that_fails_is_retried_unless_its_namespace_is_being_deleted() {
    let refused = |cause: &str| {
        let status = serde_json::json!({
            "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no",
            "details": { "causes": [{ "reason": cause, "message": "no", "field": "metadata.namespace" }] },
        });
        let error = kube::Error::Api(serde_json::from_value(status).unwrap());
        Err(ControllerError::api("create slice of", "Service", "n/s")(error))
    };
    for (cause, retried) in [("NamespaceTerminating", false), ("FieldValueForbidden", true)] {
        let mut queue = Queue::new(Default::default());
        queue.add("n/s");
        let key = queue.take(Instant::now()).unwrap();
        finish("probe", &mut queue, key, refused(cause));
        assert_eq!(queue.next_due().is_some(), retried, "{cause}");
    }
}
