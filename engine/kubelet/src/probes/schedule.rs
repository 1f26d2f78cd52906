//! When a probe's attempts are made, and which of them count. Pure; times are since the container's start.
//!
//! A stock kubelet's worker is there before the container, so its ticks come whole periods after the start; only readiness
//! is tried with the first status, about a second after it. Here a container that is not yet started or ready is also
//! asked early, ever more rarely, and only a success of these attempts counts.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/kubelet/prober/worker.go

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

use super::Kind;

/// Between the first early attempt and the second; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// About when a stock kubelet first asks whether a container is ready: what failed before has no event there.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Schedule {
    period: Duration,
    /// From here on there is an attempt a period, and failures count.
    ticks_from: Duration,
    told_from: Duration,
    next: Duration,
    retry: Duration,
}

impl Schedule {
    /// `was_ready`: an adopted container's readiness, which is not new.
    pub fn new(kind: Kind, probe: &Probe, was_ready: bool, now: Duration) -> Schedule {
        let seconds = |n: Option<i32>, default| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(default);
        let period = seconds(probe.period_seconds.filter(|n| *n > 0), 10);
        let delay = Duration::from_secs(seconds(probe.initial_delay_seconds, 0));
        let begin = delay.max(now);
        let whole_seconds = begin.as_secs() + u64::from(begin.subsec_nanos() > 0);
        let tick = Duration::from_secs(whole_seconds.max(period).next_multiple_of(period));
        let period = Duration::from_secs(period);
        // Of several successes that are asked for, each stands for a period.
        let first_success_decides = probe.success_threshold.is_none_or(|n| n <= 1);
        let (next, ticks_from, told_from) = match kind {
            Kind::Liveness => (tick, tick, tick),
            Kind::Startup => (begin, tick, tick),
            Kind::Readiness if was_ready => (tick, tick, tick),
            Kind::Readiness if first_success_decides => (begin, begin + period, begin + QUIET),
            Kind::Readiness => (begin, begin, begin + QUIET),
        };
        Schedule { period, ticks_from, told_from, next, retry: FIRST_RETRY }
    }

    /// When the next attempt is due.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// Whether a failure of the attempt that is due counts.
    pub fn failure_counts(&self) -> bool {
        self.next >= self.ticks_from
    }

    /// Whether a failure of the attempt that is due has an event.
    pub fn failure_is_told(&self) -> bool {
        self.next >= self.told_from
    }

    /// The attempt that was due ended `now`.
    pub fn advance(&mut self, success: bool, now: Duration) {
        if self.next >= self.ticks_from {
            self.next = (self.next + self.period).max(now);
        } else if success {
            self.next = self.ticks_from;
        } else {
            self.next = (now + self.retry).min(self.ticks_from);
            self.retry *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When attempts are due, in tenths of a second: of `c` a failure counts, of `t` it is told. All fail but for the last;
    /// after its success the next one is due at the number that follows.
    #[test]
    fn attempts_are_made_early_and_count_at_whole_periods() {
        use Kind::{Liveness, Readiness, Startup};
        let cases = [
            ("liveness, defaults", Liveness, (0, 10, 1), false, 0, "100ct 200ct 300ct 400ct", 500),
            ("liveness, a delay", Liveness, (15, 10, 1), false, 0, "200ct", 300),
            ("liveness after a startup probe", Liveness, (0, 10, 1), false, 425, "500ct 600ct", 700),
            ("startup", Startup, (0, 10, 1), false, 0, "0 1 3 7 15 31 63 100ct 200ct", 300),
            ("startup, a delay", Startup, (18, 10, 1), false, 0, "180 181 183 187 195 200ct", 300),
            ("startup, a delay of whole periods", Startup, (10, 5, 1), false, 0, "100ct", 150),
            ("ready in time", Readiness, (0, 10, 1), false, 0, "0 1 3", 100),
            ("ready late", Readiness, (0, 10, 1), false, 0, "0 1 3 7 15t 31t 63t 100ct", 200),
            ("ready, a delay", Readiness, (5, 10, 1), false, 0, "50 51 53 57 65t 81t 113t 150ct", 250),
            ("ready, short periods", Readiness, (0, 1, 1), false, 0, "0 1 3 7 10ct 20ct", 30),
            ("ready after two successes", Readiness, (0, 10, 2), false, 0, "0c 100ct", 200),
            ("readiness after a startup probe", Readiness, (0, 10, 1), false, 425, "425 426", 525),
            ("adopted while ready", Readiness, (0, 10, 1), true, 36005, "36100ct 36200ct", 36300),
            ("adopted while not ready", Readiness, (0, 10, 1), false, 36005, "36005 36006", 36105),
        ];
        let tenths = |n: u64| Duration::from_millis(n * 100);
        for (name, kind, (delay, period, successes), was_ready, now, expected, after_success) in cases {
            let probe = Probe {
                initial_delay_seconds: Some(delay),
                period_seconds: Some(period),
                success_threshold: Some(successes),
                ..Probe::default()
            };
            let mut schedule = Schedule::new(kind, &probe, was_ready, tenths(now));
            let attempts = expected.split(' ').count();
            let mut found = Vec::new();
            for attempt in 1..=attempts {
                let at = schedule.next();
                let counts = if schedule.failure_counts() { "c" } else { "" };
                let told = if schedule.failure_is_told() { "t" } else { "" };
                found.push(format!("{}{counts}{told}", at.as_millis() / 100));
                schedule.advance(attempt == attempts, at);
            }
            assert_eq!(found.join(" "), expected, "{name}");
            assert_eq!(schedule.next(), tenths(after_success), "{name}");
        }
    }

    #[test]
    fn an_attempt_that_takes_longer_than_a_period_delays_the_next_one_only() {
        let probe = Probe { period_seconds: Some(2), ..Probe::default() };
        let mut schedule = Schedule::new(Kind::Readiness, &probe, false, Duration::ZERO);
        schedule.advance(false, Duration::from_secs(3));
        assert_eq!((schedule.next(), schedule.failure_counts()), (Duration::from_secs(2), true));
        schedule.advance(false, Duration::from_millis(3500));
        assert_eq!(schedule.next(), Duration::from_secs(4));
        schedule.advance(false, Duration::from_secs(7));
        assert_eq!(schedule.next(), Duration::from_secs(7));
    }
}
