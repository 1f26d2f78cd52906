//! Counters that the SFU writes and `/metrics` and `/api/stats` read.
//!
//! Source: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use serde_json::{Value, json};

#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    pub rooms: Number,
    pub members: Number,
    pub packets_received: Number,
    pub packets_forwarded: Number,
    pub datagrams_ignored: Number,
}

/// Read and written from any task; no order between numbers is promised.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    pub fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    pub fn new(started: Instant) -> Metrics {
        Metrics {
            started,
            rooms: Number::default(),
            members: Number::default(),
            packets_received: Number::default(),
            packets_forwarded: Number::default(),
            datagrams_ignored: Number::default(),
        }
    }

    /// `GET /api/stats`.
    pub fn stats(&self) -> Value {
        json!({
            "rooms": self.rooms.get(),
            "members": self.members.get(),
            "packetsReceived": self.packets_received.get(),
            "packetsForwarded": self.packets_forwarded.get(),
            "uptimeSeconds": self.started.elapsed().as_secs(),
        })
    }

    /// `GET /metrics`, in Prometheus' text format.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, number) in [
            ("rooms", "gauge", "Rooms with at least one member.", &self.rooms),
            ("members", "gauge", "Members in all rooms.", &self.members),
            (
                "voice_packets_received_total",
                "counter",
                "Opus packets from microphones.",
                &self.packets_received,
            ),
            (
                "voice_packets_forwarded_total",
                "counter",
                "Opus packets to listeners.",
                &self.packets_forwarded,
            ),
            (
                "datagrams_ignored_total",
                "counter",
                "UDP datagrams that belong to no member.",
                &self.datagrams_ignored,
            ),
        ] {
            let name = format!("free4chat_{name}");
            let value = number.get();
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("writing to a string succeeds");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_prometheus_text() {
        let metrics = Metrics::new(Instant::now());
        metrics.members.set(2);
        metrics.packets_received.increment();
        let text = metrics.prometheus();
        assert!(text.contains("# TYPE free4chat_members gauge\nfree4chat_members 2\n"), "{text}");
        assert!(text.contains("free4chat_voice_packets_received_total 1\n"), "{text}");
    }
}
