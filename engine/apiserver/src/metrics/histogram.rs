//! A histogram of fixed buckets: one atomic a bucket, and the sum in a whole unit.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// `N` is the number of bounds and one (what is above them all).
pub struct Histogram<const N: usize> {
    counts: [AtomicU64; N],
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Histogram { counts: [const { AtomicU64::new(0) }; N], sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Histogram<N> {
    /// `bounds` and `value` are in the same unit; `amount` is `value` in the unit of the sum.
    pub fn observe(&self, bounds: &[f64], value: f64, amount: u64) {
        let at = bounds.iter().position(|bound| value <= *bound).unwrap_or(N - 1);
        self.counts[at].fetch_add(1, Relaxed);
        self.sum.fetch_add(amount, Relaxed);
    }

    /// Lines of buckets, sum and count. `labels` is what stands between the braces; `unit` turns the sum into that of
    /// the bounds. Nothing when nothing was observed.
    pub fn render(&self, out: &mut String, name: &str, labels: &str, bounds: &[f64], unit: f64) {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        if counts.iter().all(|count| *count == 0) {
            return;
        }
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (at, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds.get(at).map_or("+Inf".to_owned(), f64::to_string);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
        }
        let sum = self.sum.load(Relaxed) as f64 * unit;
        let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}");
        let _ = writeln!(out, "{name}_count{{{labels}}} {total}");
    }
}
