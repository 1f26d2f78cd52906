//! One priority level: its seats, its queues, whose turn is next. No clock, no I/O.
//!
//! A flow is dealt a hand of queues and joins the shortest of them (shuffle sharding). Of the queues that wait, the one
//! that has been served least goes next (start-time fair queueing): served time is measured in seat-seconds, guessed when
//! a request starts and corrected when it ends.
//! Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/1040-priority-and-fairness

use std::{collections::VecDeque, sync::Arc, time::Duration};

/// What a request is thought to take before it is known, as on a stock server.
pub const GUESS_SECONDS: f64 = 0.003;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Exempt,
    Limited {
        nominal: u32,
        lendable: u32,
        /// None: whatever the others lend.
        borrowable: Option<u32>,
        /// None: who finds no seat is rejected at once.
        queuing: Option<Queuing>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queuing {
    pub queues: usize,
    pub hand: usize,
    pub length: usize,
}

pub struct Level<T> {
    pub name: Arc<str>,
    pub limit: Limit,
    /// No configuration names it any more; it ends with its last request.
    pub quiescing: bool,
    /// Seats in use.
    pub executing: u32,
    pub waiting: usize,
    queues: Vec<Queue<T>>,
    /// Where the queue stood that was served last.
    clock: f64,
}

struct Queue<T> {
    /// Seat-seconds that this queue has had.
    served: f64,
    executing: u32,
    /// Requests that are worked on, whatever seats they have.
    running: usize,
    waiting: VecDeque<(u32, T)>,
}

/// One queue, for who looks at it.
#[derive(Debug, PartialEq)]
pub struct QueueShown {
    pub waiting: usize,
    /// Seats that those who wait will need.
    pub wanted: u32,
    pub running: usize,
    pub executing: u32,
    pub served: f64,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { served: 0.0, executing: 0, running: 0, waiting: VecDeque::new() }
    }
}

impl<T> Level<T> {
    pub fn new(name: Arc<str>, limit: Limit) -> Level<T> {
        Level { name, limit, quiescing: false, executing: 0, waiting: 0, queues: Vec::new(), clock: 0.0 }
    }

    /// One request gets no more seats than the level has; where requests wait for seats, 15 % of them, and no more than
    /// each queue of its flow could have at once.
    /// Source: `priorityLevelMaxSeatsPercent` in
    /// https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/apiserver/pkg/util/flowcontrol/apf_controller.go
    pub fn width(&self, width: u32) -> u32 {
        match &self.limit {
            Limit::Exempt => width,
            Limit::Limited { nominal, queuing: None, .. } => width.min(*nominal).max(1),
            Limit::Limited { nominal, queuing: Some(queuing), .. } => {
                let hand = u32::try_from(queuing.hand).unwrap_or(u32::MAX).max(1);
                width.min(nominal.saturating_mul(15).div_ceil(100)).min(nominal / hand).max(1)
            }
        }
    }

    /// Joins a queue. Gives the entry back when the queue is full or the level has none.
    pub fn join(&mut self, flow: u64, width: u32, entry: T) -> Result<(), (&'static str, T)> {
        let Limit::Limited { queuing: Some(queuing), .. } = self.limit else {
            return Err(("concurrency-limit", entry));
        };
        if self.queues.len() < queuing.queues {
            self.queues.resize_with(queuing.queues, Queue::default);
        }
        let hand = deal(flow, queuing.queues, queuing.hand);
        let Some(at) = hand.min_by_key(|at| self.queues[*at].waiting.len()) else {
            return Err(("queue-full", entry));
        };
        let clock = self.clock;
        let queue = &mut self.queues[at];
        if queue.waiting.len() >= queuing.length {
            return Err(("queue-full", entry));
        }
        if queue.waiting.is_empty() && queue.executing == 0 {
            // Time in which it wanted nothing earns nothing.
            queue.served = queue.served.max(clock);
        }
        queue.waiting.push_back((width, entry));
        self.waiting += 1;
        Ok(())
    }

    /// The queue whose turn it is, and the seats that its first request needs.
    pub fn next(&self) -> Option<(usize, u32)> {
        let waiting = self.queues.iter().enumerate().filter(|(_, queue)| !queue.waiting.is_empty());
        let (at, queue) = waiting.min_by(|(_, a), (_, b)| a.served.total_cmp(&b.served))?;
        Some((at, queue.waiting.front()?.0))
    }

    /// Takes the first request of a queue and seats it.
    pub fn take(&mut self, at: usize) -> Option<T> {
        let queue = &mut self.queues[at];
        let (width, entry) = queue.waiting.pop_front()?;
        self.clock = self.clock.max(queue.served);
        queue.served += GUESS_SECONDS * f64::from(width);
        queue.executing += width;
        queue.running += 1;
        self.waiting -= 1;
        self.executing += width;
        Some(entry)
    }

    /// A request ended. `queue` is the one it was taken from.
    pub fn end(&mut self, queue: Option<usize>, width: u32, took: Duration) {
        self.executing = self.executing.saturating_sub(width);
        if let Some(queue) = queue.and_then(|at| self.queues.get_mut(at)) {
            queue.executing = queue.executing.saturating_sub(width);
            queue.running = queue.running.saturating_sub(1);
            queue.served += (took.as_secs_f64() - GUESS_SECONDS) * f64::from(width);
        }
    }

    /// Who waits in each queue, the next one first, and the seats that each needs.
    pub fn waiting(&self) -> impl Iterator<Item = impl Iterator<Item = (u32, &T)>> {
        self.queues.iter().map(|queue| queue.waiting.iter().map(|(width, entry)| (*width, entry)))
    }

    /// All its queues; none before the first request had to wait.
    pub fn queues(&self) -> Vec<QueueShown> {
        let shown = |queue: &Queue<T>| QueueShown {
            waiting: queue.waiting.len(),
            wanted: queue.waiting.iter().map(|(width, _)| width).sum(),
            running: queue.running,
            executing: queue.executing,
            served: queue.served,
        };
        self.queues.iter().map(shown).collect()
    }

    /// Removes entries that nobody waits for any more.
    pub fn forget(&mut self, gone: impl Fn(&T) -> bool) {
        for queue in self.queues.iter_mut().filter(|queue| !queue.waiting.is_empty()) {
            queue.waiting.retain(|(_, entry)| !gone(entry));
        }
        self.waiting = self.queues.iter().map(|queue| queue.waiting.len()).sum();
    }
}

/// `hand` different ones of `deck` numbers, the same for the same flow.
fn deal(flow: u64, deck: usize, hand: usize) -> impl Iterator<Item = usize> {
    let mut rest = flow;
    let mut dealt: Vec<usize> = Vec::with_capacity(hand);
    for drawn in 0..hand.min(deck) {
        let left = (deck - drawn) as u64;
        let mut card = (rest % left) as usize;
        rest /= left;
        // Counted among the cards that are left.
        let at = dealt.iter().position(|earlier| {
            let passed = *earlier > card;
            if !passed {
                card += 1;
            }
            passed
        });
        dealt.insert(at.unwrap_or(dealt.len()), card);
    }
    dealt.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_has_different_cards_and_is_always_the_same() {
        for flow in [0, 1, 12345, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            let hand: Vec<usize> = deal(flow, 16, 4).collect();
            assert!(hand.windows(2).all(|pair| pair[0] < pair[1]) && hand[3] < 16, "{hand:?}");
            assert_eq!(hand, deal(flow, 16, 4).collect::<Vec<_>>());
        }
        assert_eq!(deal(7, 3, 9).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_flow_that_asks_much_does_not_starve_one_that_asks_little() {
        let queuing = Queuing { queues: 64, hand: 1, length: 100 };
        let limit = Limit::Limited { nominal: 1, lendable: 0, borrowable: Some(0), queuing: Some(queuing) };
        let mut level = Level::new("x".into(), limit);
        for _ in 0..50 {
            level.join(1, 1, "much").expect("queued");
        }
        for _ in 0..3 {
            level.join(2, 1, "little").expect("queued");
        }
        let order: Vec<&str> = std::iter::from_fn(|| {
            let (at, width) = level.next()?;
            let entry = level.take(at)?;
            level.end(Some(at), width, Duration::from_millis(10));
            Some(entry)
        })
        .take(6)
        .collect();
        assert_eq!(order.iter().filter(|flow| **flow == "little").count(), 3, "{order:?}");
    }

    #[test]
    fn one_request_gets_a_small_part_of_a_level_where_others_wait() {
        for (nominal, hand, asked, gets) in [
            (245, Some(6), 100, 37),
            (245, Some(6), 10, 10),
            (49, Some(6), 10, 8),
            (49, Some(16), 10, 3),
            (4, Some(6), 10, 1),
            (0, Some(6), 0, 1),
            (13, None, 100, 13),
            (0, None, 10, 1),
        ] {
            let queuing = hand.map(|hand| Queuing { queues: 64, hand, length: 50 });
            let limit = Limit::Limited { nominal, lendable: 0, borrowable: None, queuing };
            let level = Level::<()>::new("x".into(), limit);
            assert_eq!(level.width(asked), gets, "{asked} of {nominal}, {hand:?}");
        }
        assert_eq!(Level::<()>::new("x".into(), Limit::Exempt).width(100), 100);
    }

    #[test]
    fn a_full_queue_rejects_and_so_does_a_level_without_queues() {
        let queuing = Queuing { queues: 1, hand: 1, length: 1 };
        let limited = |queuing| Limit::Limited { nominal: 1, lendable: 0, borrowable: None, queuing };
        let mut level = Level::new("x".into(), limited(Some(queuing)));
        level.join(1, 1, ()).expect("queued");
        assert_eq!(level.join(1, 1, ()), Err(("queue-full", ())));
        let mut level = Level::new("x".into(), limited(None));
        assert_eq!(level.join(1, 1, ()), Err(("concurrency-limit", ())));
    }
}
