//! What goes on in the levels and their queues, as people read it: columns apart by commas, and one under the other.
//!
//! Source: https://kubernetes.io/docs/reference/debug-cluster/flow-control/

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    config::Compiled,
    dispatch::{Request, Shared, Shown},
    level::GUESS_SECONDS,
    metrics::Counters,
};
use crate::{options::Query, registry::api_version};

const LEVELS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];
const QUEUES: [&str; 9] = [
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];
const REQUESTS: [&str; 10] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    // Kubernetes spells it so.
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];
/// With `includeRequestDetails`.
const DETAILS: [&str; 8] =
    ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];
/// No column is narrower, in characters.
const MIN_WIDTH: usize = 8;

pub fn dump(what: &str, query: &Query, compiled: &Compiled, shared: &Arc<Shared>) -> Option<String> {
    let levels = shared.levels();
    match what {
        "dump_priority_levels" => {
            Some(aligned(&LEVELS, levels.iter().map(|level| of_level(level, compiled)).collect()))
        }
        "dump_queues" => Some(aligned(&QUEUES, levels.iter().flat_map(of_queues).collect())),
        "dump_requests" => {
            let details: &[&str] =
                if query.text("includeRequestDetails").is_empty() { &[] } else { &DETAILS };
            let requests = shared.requests();
            let rows = requests.iter().map(|request| of_request(request, !details.is_empty()));
            Some(aligned(&[&REQUESTS, details].concat(), rows.collect()))
        }
        _ => None,
    }
}

fn of_level(level: &Shown, compiled: &Compiled) -> Vec<String> {
    let sum = |of: &dyn Fn(&Counters) -> u64| -> u64 {
        let own = compiled.schemas.iter().filter(|schema| schema.level_name == level.name);
        own.map(|schema| of(&schema.counters)).sum()
    };
    let rejections = |reasons: &'static [&'static str]| sum(&|counters| counters.rejections(reasons));
    let active = level.queues.iter().filter(|queue| queue.waiting > 0).count();
    vec![
        level.name.to_string(),
        active.to_string(),
        (level.waiting == 0 && level.executing == 0).to_string(),
        level.quiescing.to_string(),
        level.waiting.to_string(),
        sum(&|counters| counters.executing.load(Relaxed).max(0).unsigned_abs()).to_string(),
        sum(&|counters| counters.dispatched.load(Relaxed)).to_string(),
        rejections(&["concurrency-limit", "queue-full"]).to_string(),
        rejections(&["time-out"]).to_string(),
        rejections(&["cancelled"]).to_string(),
    ]
}

fn of_queues(level: &Shown) -> Vec<Vec<String>> {
    let row = |(index, queue): (usize, &super::level::QueueShown)| {
        let work = f64::from(queue.wanted) * GUESS_SECONDS;
        vec![
            level.name.to_string(),
            index.to_string(),
            queue.waiting.to_string(),
            queue.running.to_string(),
            queue.executing.to_string(),
            format!("{:.8}ss", queue.served),
            queue.wanted.to_string(),
            queue.wanted.to_string(),
            format!("{work:.8}ss"),
        ]
    };
    level.queues.iter().enumerate().map(row).collect()
}

/// What a request that ended still would cost is nothing here: no final seats, no latency after it.
fn of_request(request: &Request, detailed: bool) -> Vec<String> {
    let Request { asked, queue, place, width, started } = request;
    let index = |index: &Option<usize>| index.map_or("-1".into(), |index| index.to_string());
    let mut row = vec![
        asked.schema.level_name.to_string(),
        asked.schema.name.to_string(),
        index(queue),
        index(place),
        asked.distinguisher().to_owned(),
        asked.arrived.to_string(),
        width.to_string(),
        "0".into(),
        "0s".into(),
        // The zero of Go's time.
        started.map_or("0001-01-01T00:00:00Z".into(), |started| started.to_string()),
    ];
    if detailed {
        let info = &asked.info;
        let version = api_version(&info.group, &info.version);
        let details = [
            &asked.user,
            &*info.verb,
            &info.path,
            &info.namespace,
            &info.name,
            &version,
            &info.resource,
            &info.subresource,
        ];
        row.extend(details.map(String::from));
    }
    row
}

fn aligned(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut lines = vec![head.iter().map(|name| name.to_string()).collect::<Vec<_>>()];
    lines.extend(rows);
    // A comma belongs to its cell; one blank follows.
    let width =
        |at: usize| lines.iter().map(|line| line[at].len() + 2).max().unwrap_or_default().max(MIN_WIDTH);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (at, cell) in line.iter().enumerate() {
            if at + 1 < line.len() {
                text.push_str(&format!("{:width$}", format!("{cell},"), width = widths[at]));
            } else {
                text.push_str(cell);
            }
        }
        text.push('\n');
    }
    text
}
