//! The events of the recent past, for watches.
//!
//! A ring per resource, so that a watcher only meets, and is only woken by, events of its own resource; one
//! bound for all rings together, by count and by bytes.
//! Invariant: a watch returns every event of its scope after its start, in order, once; or says `Compacted`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::{Compacted, Event, Resource, Revision, Scope, WatchError};

/// How many bytes of JSON the history may keep for each event that it may keep: a bound for large objects.
const BYTES_PER_EVENT: usize = 4096;

pub(crate) struct History {
    channels: RwLock<HashMap<Resource, Arc<Channel>>>,
    /// The channels of all events kept, oldest event first.
    order: Mutex<Order>,
    limit: usize,
    /// What came before this process opened the store is not known.
    floor: Revision,
    /// The events of all revisions up to this one are in the rings.
    announced: AtomicU64,
    closed: AtomicBool,
}

#[derive(Default)]
struct Order {
    queue: VecDeque<Arc<Channel>>,
    bytes: usize,
}

struct Channel {
    ring: Mutex<Ring>,
    grown: Notify,
}

struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The number of the front event; numbers count the events of the resource.
    first: u64,
    /// Events of the resource up to this revision may be gone.
    evicted: Revision,
}

impl History {
    pub fn new(limit: usize, floor: Revision) -> Self {
        History {
            channels: RwLock::default(),
            order: Mutex::default(),
            limit: limit.max(1),
            floor,
            announced: AtomicU64::new(floor.0),
            closed: AtomicBool::new(false),
        }
    }

    fn channel(&self, resource: &Resource) -> Arc<Channel> {
        if let Some(channel) = self.channels.read().get(resource) {
            return channel.clone();
        }
        let ring = Ring { events: VecDeque::new(), first: 0, evicted: self.floor };
        let new = || Arc::new(Channel { ring: Mutex::new(ring), grown: Notify::new() });
        self.channels.write().entry(resource.clone()).or_insert_with(new).clone()
    }

    /// Appends a group, in revision order, and wakes those who wait for its resources. Called by the writer only.
    pub fn push(&self, events: &[Arc<Event>]) {
        let Some(last) = events.last() else { return };
        let mut grown: Vec<Arc<Channel>> = Vec::new();
        let mut order = self.order.lock();
        for event in events {
            let channel = self.channel(&event.object.key.resource);
            channel.ring.lock().events.push_back(event.clone());
            order.bytes += event.object.json.len();
            order.queue.push_back(channel.clone());
            if !grown.iter().any(|known| Arc::ptr_eq(known, &channel)) {
                grown.push(channel);
            }
        }
        self.announced.store(last.object.revision.0, Ordering::Release);
        self.evict(&mut order);
        drop(order);
        grown.iter().for_each(|channel| channel.grown.notify_waiters());
    }

    fn evict(&self, order: &mut Order) {
        while order.queue.len() > self.limit
            || (order.bytes > self.limit * BYTES_PER_EVENT && order.queue.len() > 1)
        {
            let Some(channel) = order.queue.pop_front() else { return };
            let mut ring = channel.ring.lock();
            let Some(event) = ring.events.pop_front() else { continue };
            ring.first += 1;
            ring.evicted = event.object.revision;
            order.bytes -= event.object.json.len();
        }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.channels.read().values().for_each(|channel| channel.grown.notify_waiters());
    }

    pub fn watch(self: &Arc<Self>, scope: Scope, after: Revision) -> Result<Watch, Compacted> {
        let channel = self.channel(&scope.resource);
        let next = {
            let ring = channel.ring.lock();
            if after < ring.evicted {
                return Err(Compacted { asked: after.0, oldest: ring.evicted.0 });
            }
            ring.first + ring.events.partition_point(|event| event.object.revision <= after) as u64
        };
        Ok(Watch { history: self.clone(), channel, scope, after, next })
    }

    /// The events of a resource after one revision and up to another, which the writer has published.
    pub fn between(
        &self,
        resource: &Resource,
        after: Revision,
        until: Revision,
    ) -> Result<Vec<Arc<Event>>, Compacted> {
        // Events are announced right after their state is published, by the one who published it.
        while self.announced.load(Ordering::Acquire) < until.0 && !self.closed.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let channel = self.channel(resource);
        let ring = channel.ring.lock();
        if after < ring.evicted {
            return Err(Compacted { asked: after.0, oldest: ring.evicted.0 });
        }
        let first = ring.events.partition_point(|event| event.object.revision <= after);
        let events = ring.events.range(first..);
        Ok(events.take_while(|event| event.object.revision <= until).cloned().collect())
    }

    /// How many events are kept.
    pub fn len(&self) -> usize {
        self.order.lock().queue.len()
    }
}

/// The events of a scope, from [`crate::Reader::watch`].
pub struct Watch {
    history: Arc<History>,
    channel: Arc<Channel>,
    scope: Scope,
    /// Every event of the resource up to this revision was looked at.
    after: Revision,
    /// The number of the first event that was not.
    next: u64,
}

impl Watch {
    /// The next event of the scope. Cancel safe.
    pub async fn next(&mut self) -> Result<Arc<Event>, WatchError> {
        loop {
            if let Some(event) = self.advance()? {
                return Ok(event);
            }
            let channel = self.channel.clone();
            let mut grown = std::pin::pin!(channel.grown.notified());
            grown.as_mut().enable();
            // What came between the first look and the registration is seen here.
            let closed = self.history.closed.load(Ordering::Acquire);
            if let Some(event) = self.advance()? {
                return Ok(event);
            }
            if closed {
                return Err(WatchError::Closed);
            }
            grown.await;
        }
    }

    /// The next event of the scope if there is one already.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, WatchError> {
        Ok(self.advance()?)
    }

    fn advance(&mut self) -> Result<Option<Arc<Event>>, Compacted> {
        let ring = self.channel.ring.lock();
        if self.after < ring.evicted {
            return Err(Compacted { asked: self.after.0, oldest: ring.evicted.0 });
        }
        let skip = self.next.saturating_sub(ring.first) as usize;
        self.next = self.next.max(ring.first);
        for event in ring.events.range(skip.min(ring.events.len())..) {
            self.next += 1;
            // A watch may start at a revision whose event comes into the ring a moment later.
            if event.object.revision <= self.after {
                continue;
            }
            self.after = event.object.revision;
            if self.scope.contains_in_resource(&event.object.key) {
                return Ok(Some(event.clone()));
            }
        }
        Ok(None)
    }

    /// Everything up to this revision was returned by `next` or lies outside the scope (for bookmarks).
    pub fn progress(&self) -> Revision {
        let announced = self.history.announced.load(Ordering::Acquire);
        let ring = self.channel.ring.lock();
        if self.after < ring.evicted {
            return self.after;
        }
        let skip = (self.next.saturating_sub(ring.first) as usize).min(ring.events.len());
        let pending = ring.events.range(skip..).find(|event| {
            event.object.revision > self.after && self.scope.contains_in_resource(&event.object.key)
        });
        let reached = pending.map_or(announced, |event| announced.min(event.object.revision.0 - 1));
        self.after.max(Revision(reached))
    }
}
