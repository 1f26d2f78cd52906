//! `process_*`: what the kernel says of this process.
//!
//! Source: https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics

use super::page::Page;

/// What the kernel counts time in for user space, on every architecture that Coracle runs on.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: f64 = 4096.0;

pub fn render(page: &mut Page) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    // The command's name may contain anything; the rest begins behind its closing parenthesis with field 3.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
    let field = |number: usize| -> f64 {
        fields.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let limits = read("/proc/self/limits");
    let limit = |name: &str| -> f64 {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let soft = line.and_then(|line| line.split_ascii_whitespace().next());
        soft.map_or(0.0, |text| text.parse().unwrap_or(-1.0))
    };
    let booted: f64 = read("/proc/stat")
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
        .unwrap_or_default();
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    for (name, kind, help, value) in [
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            (field(14) + field(15)) / TICKS_PER_SECOND,
        ),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", limit("Max open files")),
        ("process_open_fds", "gauge", "Number of open file descriptors.", open as f64),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", field(24) * PAGE_BYTES),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            booted + field(22) / TICKS_PER_SECOND,
        ),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", field(23)),
        (
            "process_virtual_memory_max_bytes",
            "gauge",
            "Maximum amount of virtual memory available in bytes.",
            limit("Max address space"),
        ),
    ] {
        page.family(name, kind, help);
        page.sample(name, "", value);
    }
}
