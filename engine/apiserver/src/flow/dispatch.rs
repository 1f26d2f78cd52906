//! All levels together, behind one short lock: who gets a seat now, who waits, what happens when a seat is free again.
//!
//! Invariant: seats above a level's nominal number never exceed what the others lend and do not use; a seat is given back
//!            when it is dropped, whoever holds it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    level::{Level, Limit, QueueShown},
    metrics::Counters,
    schema::Schema,
};

#[derive(Default)]
pub struct Shared {
    levels: Mutex<Vec<Level<Waiter>>>,
    next_id: AtomicU64,
}

struct Waiter {
    id: u64,
    counters: Arc<Counters>,
    seat: oneshot::Sender<Seat>,
}

pub enum Arrival {
    Seated(Seat),
    Queued(Place),
    Rejected(&'static str),
}

/// The right to be worked on.
pub struct Seat {
    shared: Arc<Shared>,
    level: usize,
    queue: Option<usize>,
    width: u32,
    since: Instant,
    counters: Arc<Counters>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counters.executing.fetch_sub(1, Relaxed);
        let granted = {
            let mut levels = self.shared.levels.lock();
            levels[self.level].end(self.queue, self.width, self.since.elapsed());
            self.shared.grant(&mut levels)
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
        let mut levels = self.shared.levels.lock();
        if levels[self.level].waiting > 0 {
            levels[self.level].forget(|waiter| waiter.id == self.id);
        }
    }
}

type Granted = Vec<(oneshot::Sender<Seat>, Seat)>;

impl Shared {
    pub fn arrive(self: &Arc<Self>, schema: &Schema, width: u32, flow: impl FnOnce() -> u64) -> Arrival {
        let at = schema.level;
        let mut levels = self.levels.lock();
        let width = levels[at].width(width);
        if levels[at].waiting == 0 && has_room(&levels, at, width) {
            levels[at].executing += width;
            return Arrival::Seated(self.seat(at, None, width, schema.counters.clone()));
        }
        let (seat, granted) = oneshot::channel();
        let id = self.next_id.fetch_add(1, Relaxed);
        let waiter = Waiter { id, counters: schema.counters.clone(), seat };
        match levels[at].join(flow(), width, waiter) {
            Ok(()) => Arrival::Queued(Place { shared: self.clone(), level: at, id, granted }),
            Err((reason, _)) => Arrival::Rejected(reason),
        }
    }

    fn seat(
        self: &Arc<Self>,
        level: usize,
        queue: Option<usize>,
        width: u32,
        counters: Arc<Counters>,
    ) -> Seat {
        counters.executing.fetch_add(1, Relaxed);
        Seat { shared: self.clone(), level, queue, width, since: Instant::now(), counters }
    }

    /// Seats whoever can be seated now.
    fn grant(self: &Arc<Self>, levels: &mut [Level<Waiter>]) -> Granted {
        let mut granted = Vec::new();
        for at in 0..levels.len() {
            while let Some((queue, width)) = levels[at].next().filter(|_| levels[at].waiting > 0)
                && has_room(levels, at, width)
                && let Some(waiter) = levels[at].take(queue)
            {
                granted.push((waiter.seat, self.seat(at, Some(queue), width, waiter.counters)));
            }
        }
        granted
    }

    /// The number of the level of this name, which gets this limit.
    pub fn set(self: &Arc<Self>, name: &Arc<str>, limit: Limit) -> usize {
        let (at, granted) = {
            let mut levels = self.levels.lock();
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
            (at, self.grant(&mut levels))
        };
        granted.into_iter().for_each(|(waiter, seat)| drop(waiter.send(seat)));
        at
    }

    /// Levels that no configuration names any more lend nothing and take nothing new.
    pub fn keep(&self, names: &[Arc<str>]) {
        for level in self.levels.lock().iter_mut().filter(|level| !names.contains(&level.name)) {
            level.quiescing = true;
            if let Limit::Limited { lendable, .. } = &mut level.limit {
                *lendable = 0;
            }
        }
    }

    /// Every level that is configured or still has requests, by name.
    pub fn levels(&self) -> Vec<Shown> {
        let levels = self.levels.lock();
        let there = levels.iter().filter(|it| !it.quiescing || it.executing > 0 || it.waiting > 0);
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
