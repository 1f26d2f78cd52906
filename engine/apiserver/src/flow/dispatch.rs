//! All levels together, behind one short lock: who gets a seat now, who waits, what happens when a seat is free again.
//!
//! Invariant: seats above a level's nominal number never exceed what the others lend and do not use; a seat is given back
//!            when it is dropped, whoever holds it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    level::{Level, Limit, QueueShown},
    schema::{Distinguisher, Schema},
};
use crate::request_info::RequestInfo;

#[derive(Default)]
pub struct Shared {
    now: Mutex<Now>,
    next_id: AtomicU64,
}

#[derive(Default)]
struct Now {
    levels: Vec<Level<Waiter>>,
    /// Those that have a seat, in the order in which they came.
    executing: BTreeMap<u64, Executing>,
}

struct Waiter {
    id: u64,
    asked: Asked,
    seat: oneshot::Sender<Seat>,
}

struct Executing {
    level: usize,
    queue: Option<usize>,
    width: u32,
    asked: Asked,
    started: Timestamp,
}

/// A request in its level.
#[derive(Clone)]
pub struct Asked {
    pub schema: Arc<Schema>,
    pub user: Arc<str>,
    pub info: Arc<RequestInfo>,
    pub arrived: Timestamp,
}

impl Asked {
    /// What makes it one of a flow.
    pub fn distinguisher(&self) -> &str {
        match self.schema.distinguisher {
            Distinguisher::None => "",
            Distinguisher::User => &self.user,
            Distinguisher::Namespace => &self.info.namespace,
        }
    }
}

pub enum Arrival {
    Seated(Seat),
    Queued(Place),
    Rejected(&'static str),
}

/// The right to be worked on.
pub struct Seat {
    shared: Arc<Shared>,
    id: u64,
    since: Instant,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let granted = {
            let mut now = self.shared.now.lock();
            let Some(own) = now.executing.remove(&self.id) else { return };
            own.asked.schema.counters.executing.fetch_sub(1, Relaxed);
            now.levels[own.level].end(own.queue, own.width, self.since.elapsed());
            self.shared.grant(&mut now)
        };
        // Out of the lock: whoever left meanwhile gives the seat back here.
        granted.into_iter().for_each(|(waiter, seat)| drop(waiter.send(seat)));
    }
}

/// A place in a queue; leaving it is dropping it.
pub struct Place {
    shared: Arc<Shared>,
    level: usize,
    id: u64,
    granted: oneshot::Receiver<Seat>,
}

impl Place {
    pub async fn seat(mut self) -> Option<Seat> {
        (&mut self.granted).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let level = &mut self.shared.now.lock().levels[self.level];
        if level.waiting > 0 {
            level.forget(|waiter| waiter.id == self.id);
        }
    }
}

type Granted = Vec<(oneshot::Sender<Seat>, Seat)>;

impl Shared {
    pub fn arrive(self: &Arc<Self>, asked: Asked, width: u32, flow: impl FnOnce() -> u64) -> Arrival {
        let level = asked.schema.level;
        let mut now = self.now.lock();
        let width = now.levels[level].width(width);
        let id = self.next_id.fetch_add(1, Relaxed);
        if now.levels[level].waiting == 0 && has_room(&now.levels, level, width) {
            now.levels[level].executing += width;
            let started = asked.arrived;
            return Arrival::Seated(self.seat(
                &mut now,
                id,
                Executing { level, queue: None, width, asked, started },
            ));
        }
        let (seat, granted) = oneshot::channel();
        match now.levels[level].join(flow(), width, Waiter { id, asked, seat }) {
            Ok(()) => Arrival::Queued(Place { shared: self.clone(), level, id, granted }),
            Err((reason, _)) => Arrival::Rejected(reason),
        }
    }

    fn seat(self: &Arc<Self>, now: &mut Now, id: u64, executing: Executing) -> Seat {
        executing.asked.schema.counters.executing.fetch_add(1, Relaxed);
        now.executing.insert(id, executing);
        Seat { shared: self.clone(), id, since: Instant::now() }
    }

    /// Seats whoever can be seated now.
    fn grant(self: &Arc<Self>, now: &mut Now) -> Granted {
        let mut granted = Vec::new();
        for level in 0..now.levels.len() {
            while let Some((queue, width)) =
                now.levels[level].next().filter(|_| now.levels[level].waiting > 0)
                && has_room(&now.levels, level, width)
                && let Some(Waiter { id, asked, seat }) = now.levels[level].take(queue)
            {
                let started = Timestamp::now();
                let executing = Executing { level, queue: Some(queue), width, asked, started };
                granted.push((seat, self.seat(now, id, executing)));
            }
        }
        granted
    }

    /// The number of the level of this name, which gets this limit.
    pub fn set(self: &Arc<Self>, name: &Arc<str>, limit: Limit) -> usize {
        let (at, granted) = {
            let mut now = self.now.lock();
            let levels = &mut now.levels;
            let at = match levels.iter().position(|level| level.name == *name) {
                Some(at) => {
                    levels[at].limit = limit;
                    levels[at].quiescing = false;
                    at
                }
                None => {
                    levels.push(Level::new(name.clone(), limit));
                    levels.len() - 1
                }
            };
            (at, self.grant(&mut now))
        };
        granted.into_iter().for_each(|(waiter, seat)| drop(waiter.send(seat)));
        at
    }

    /// Levels that no configuration names any more lend nothing and take nothing new.
    pub fn keep(&self, names: &[Arc<str>]) {
        for level in self.now.lock().levels.iter_mut().filter(|level| !names.contains(&level.name)) {
            level.quiescing = true;
            if let Limit::Limited { lendable, .. } = &mut level.limit {
                *lendable = 0;
            }
        }
    }

    /// Every level that is configured or still has requests, by name.
    pub fn levels(&self) -> Vec<Shown> {
        let now = self.now.lock();
        let there = now.levels.iter().filter(|it| !it.quiescing || it.executing > 0 || it.waiting > 0);
        let mut shown: Vec<Shown> = there
            .map(|level| Shown {
                name: level.name.clone(),
                limit: level.limit,
                quiescing: level.quiescing,
                executing: level.executing,
                waiting: level.waiting,
                queues: level.queues(),
            })
            .collect();
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        shown
    }

    /// Every request: level by level, of each queue first those that wait; those that never had to wait come last.
    pub fn requests(&self) -> Vec<Request> {
        let now = self.now.lock();
        let mut all = Vec::new();
        for level in &now.levels {
            for (queue, waiting) in level.waiting().enumerate() {
                all.extend(waiting.enumerate().map(|(place, (width, waiter))| {
                    let asked = waiter.asked.clone();
                    Request { queue: Some(queue), place: Some(place), width, asked, started: None }
                }));
            }
        }
        all.extend(now.executing.values().map(|it| {
            let (asked, started) = (it.asked.clone(), Some(it.started));
            Request { queue: it.queue, place: None, width: it.width, asked, started }
        }));
        let order = |request: &Request| {
            let level = request.asked.schema.level_name.clone();
            (level, request.queue.is_none(), request.queue, request.place.is_none(), request.place)
        };
        all.sort_by_cached_key(order);
        all
    }
}

/// A request, for who looks at it.
pub struct Request {
    /// None: it never had to wait.
    pub queue: Option<usize>,
    /// In the queue, while it waits.
    pub place: Option<usize>,
    pub width: u32,
    pub asked: Asked,
    /// None: it waits.
    pub started: Option<Timestamp>,
}

/// A level, for who looks at it.
pub struct Shown {
    pub name: Arc<str>,
    pub limit: Limit,
    pub quiescing: bool,
    /// Seats in use.
    pub executing: u32,
    pub waiting: usize,
    pub queues: Vec<QueueShown>,
}

/// Whether `width` more seats may be used in the level.
fn has_room<T>(levels: &[Level<T>], at: usize, width: u32) -> bool {
    let level = &levels[at];
    let Limit::Limited { nominal, lendable, borrowable, .. } = level.limit else { return true };
    let used = level.executing + width;
    if used <= nominal.saturating_sub(lendable) {
        return true;
    }
    if used > nominal && borrowable.is_some_and(|most| used > nominal + most) {
        return false;
    }
    let (mut borrowed, mut lent) = (0, 0);
    for (other, one) in levels.iter().enumerate() {
        let Limit::Limited { nominal, lendable, .. } = one.limit else { continue };
        let used = if other == at { used } else { one.executing };
        borrowed += used.saturating_sub(nominal);
        lent += nominal.saturating_sub(used).min(lendable);
    }
    borrowed <= lent
}
