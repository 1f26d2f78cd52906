//! What requests under way will use: charged when it is admitted, given back when the write is decided.
//!
//! Invariant: under one lock a namespace, what the store has plus what is reserved never exceeds a quota. A reservation
//! whose request vanished before its write was decided stays until the store shows the object, or [`DOUBT`] is over.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use coracle_quota::{Amounts, Pending, Quota, Usage};
use coracle_store::{Reader, Snapshot};
use parking_lot::Mutex;
use serde_json::Value;

/// A write that was sent is in the store by then.
const DOUBT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Ledger {
    accounts: Mutex<HashMap<Box<str>, Arc<Mutex<Account>>>>,
}

/// One namespace.
#[derive(Default)]
struct Account {
    usage: Usage,
    reserved: Vec<Reserved>,
    next: u64,
}

struct Reserved {
    id: u64,
    pending: Pending,
    abandoned: Option<Instant>,
}

impl Ledger {
    /// Admits `pending`, which adds `growth`, or says which quota it does not fit into.
    pub fn reserve(
        &self,
        reader: &Reader,
        namespace: &str,
        object: &Value,
        pending: Pending,
        growth: &Amounts,
    ) -> Result<Reservation, String> {
        let shared = self.account(reader, namespace);
        let mut account = shared.lock();
        // Taken under the lock: a reservation that is gone by now is in this snapshot.
        let snapshot = reader.snapshot();
        let quotas = super::quotas(&snapshot, namespace);
        // Also those that limit what the object does not name: a pod may have to name it.
        let tracks = |quota: &&Quota| quota.resources().contains(&&*pending.resource);
        let concerned: Vec<_> = quotas.iter().filter(tracks).collect();
        let resources: BTreeSet<&str> = concerned.iter().flat_map(|quota| quota.resources()).collect();
        account.forget_settled(&snapshot, namespace);
        let others: Vec<Pending> = account.reserved.iter().map(|one| one.pending.clone()).collect();
        account.usage.read(&snapshot, namespace, resources, &others);
        let now = jiff::Timestamp::now();
        for quota in concerned {
            let used = account.usage.used(quota, &others, now);
            let refusal = quota.refusal(&pending.resource, object, &pending.charge, growth, &used);
            if let Some(why) = refusal {
                return Err(why);
            }
        }
        account.next += 1;
        let id = account.next;
        account.reserved.push(Reserved { id, pending, abandoned: None });
        drop(account);
        Ok(Reservation { account: shared, id, settled: false })
    }

    fn account(&self, reader: &Reader, namespace: &str) -> Arc<Mutex<Account>> {
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get(namespace) {
            return account.clone();
        }
        // A new one is rare: time to let those go that no quota needs any more.
        let snapshot = reader.snapshot();
        accounts.retain(|name, account| {
            Arc::strong_count(account) > 1 || !super::quotas(&snapshot, name).is_empty()
        });
        accounts.entry(namespace.into()).or_default().clone()
    }
}

impl Account {
    /// Lets go of what was abandoned and is in the store by now, or never will be.
    fn forget_settled(&mut self, snapshot: &Snapshot, namespace: &str) {
        self.reserved.retain(|one| {
            let in_store = || one.pending.is_stored(snapshot, namespace);
            one.abandoned.is_none_or(|since| since.elapsed() < DOUBT && !in_store())
        });
    }
}

/// Held by the request.
pub struct Reservation {
    account: Arc<Mutex<Account>>,
    id: u64,
    settled: bool,
}

impl Reservation {
    /// The write happened, or certainly did not.
    pub fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut account = self.account.lock();
        if self.settled {
            account.reserved.retain(|one| one.id != self.id);
        } else if let Some(one) = account.reserved.iter_mut().find(|one| one.id == self.id) {
            one.abandoned = Some(Instant::now());
        }
    }
}
