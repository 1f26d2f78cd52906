//! Workloads: Deployments and what they own, Jobs, CronJobs.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AGE, Column, NAME, NAME_DESCRIPTION, Printer, age,
    cells::{
        self, NONE, capital_bool, containers, count, has_condition, integer, labels, number, selector, shown,
        shown_or, since_or, text,
    },
    name,
};

const CONTAINERS: Column = text("Containers", "Names of each container in the template.").wide();
const IMAGES: Column = text("Images", "Images referenced by each container in the template.").wide();
const SELECTOR: Column =
    text("Selector", "Label selector for pods. It must match the pod template's labels.").wide();
const DESIRED: Column = integer("Desired", "The number of desired pods.");
const CURRENT: Column = integer("Current", "The most recently observed number of pods.");
const READY: Column = integer("Ready", "The number of pods with a Ready condition.");

/// Of the subresource `scale`.
pub const SCALES: Printer = Printer {
    columns: &[
        text("Name", NAME_DESCRIPTION),
        integer("Desired", "replicas is the desired number of instances for the scaled object."),
        integer("Available", "replicas is the actual number of observed instances of the scaled object."),
        AGE,
    ],
    cells: |object, now| {
        let replicas = |part: &str| number(&object[part]["replicas"]).into();
        vec![name(object), replicas("spec"), replicas("status"), age::of(object, now)]
    },
};

pub const DEPLOYMENTS: Printer = Printer {
    columns: &[
        NAME,
        text("Ready", "Number of the pod with ready state"),
        integer(
            "Up-to-date",
            "Total number of non-terminating pods targeted by this deployment that have the desired template spec.",
        ),
        integer(
            "Available",
            "Total number of available non-terminating pods (ready for at least minReadySeconds) targeted by this deployment.",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["template"]["spec"]);
        vec![
            name(object),
            format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"])).into(),
            number(&status["updatedReplicas"]).into(),
            number(&status["availableReplicas"]).into(),
            age::of(object, now),
            names,
            images,
            selector(&spec["selector"]).into(),
        ]
    },
};

pub const REPLICA_SETS: Printer = Printer {
    columns: &[NAME, DESIRED, CURRENT, READY, AGE, CONTAINERS, IMAGES, SELECTOR],
    cells: |object, now| replicas(object, now, selector(&object["spec"]["selector"])),
};

pub const REPLICATION_CONTROLLERS: Printer = Printer {
    columns: &[NAME, DESIRED, CURRENT, READY, AGE, CONTAINERS, IMAGES, SELECTOR],
    cells: |object, now| replicas(object, now, labels(&object["spec"]["selector"])),
};

fn replicas(object: &Value, now: Timestamp, selector: String) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        name(object),
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age::of(object, now),
        names,
        images,
        selector.into(),
    ]
}

pub const STATEFUL_SETS: Printer = Printer {
    columns: &[NAME, text("Ready", "Number of the pod with ready state"), AGE, CONTAINERS, IMAGES],
    cells: |object, now| {
        let [names, images] = containers(&object["spec"]["template"]["spec"]);
        let ready = number(&object["status"]["readyReplicas"]);
        vec![
            name(object),
            format!("{ready}/{}", number(&object["spec"]["replicas"])).into(),
            age::of(object, now),
            names,
            images,
        ]
    },
};

pub const DAEMON_SETS: Printer = Printer {
    columns: &[
        NAME,
        integer(
            "Desired",
            "The total number of nodes that should be running the daemon pod (including nodes correctly running the daemon pod).",
        ),
        integer(
            "Current",
            "The number of nodes that are running at least 1 daemon pod and are supposed to run the daemon pod.",
        ),
        integer(
            "Ready",
            "numberReady is the number of nodes that should be running the daemon pod and have one or more of the daemon pod running with a Ready Condition.",
        ),
        integer("Up-to-date", "The total number of nodes that are running updated daemon pod"),
        integer(
            "Available",
            "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available",
        ),
        text("Node Selector", "NodeSelector is a selector which must be true for the pod to fit on a node."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["template"]["spec"]);
        let mut cells = vec![name(object)];
        for field in [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
        ] {
            cells.push(number(&status[field]).into());
        }
        cells.push(labels(&spec["template"]["spec"]["nodeSelector"]).into());
        cells.extend([age::of(object, now), names, images, selector(&spec["selector"]).into()]);
        cells
    },
};

pub const JOBS: Printer = Printer {
    columns: &[
        NAME,
        text("Status", "Status of the job."),
        text("Completions", "The number of pods which reached phase Succeeded, of those desired."),
        text("Duration", "Time required to complete the job."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |job, now| {
        let spec = &job["spec"];
        let [names, images] = containers(&spec["template"]["spec"]);
        vec![
            name(job),
            job_status(job).into(),
            completions(job).into(),
            duration(&job["status"], now).into(),
            age::of(job, now),
            names,
            images,
            selector(&spec["selector"]).into(),
        ]
    },
};

fn job_status(job: &Value) -> &'static str {
    let after = |deleting: bool| {
        if deleting {
            return "Terminating";
        }
        let known = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
        known.into_iter().find(|kind| has_condition(job, kind)).unwrap_or("Running")
    };
    match ["Complete", "Failed"].into_iter().find(|kind| has_condition(job, kind)) {
        Some(ended) => ended,
        None => after(job["metadata"]["deletionTimestamp"].is_string()),
    }
}

fn completions(job: &Value) -> String {
    let succeeded = number(&job["status"]["succeeded"]);
    let parallelism = number(&job["spec"]["parallelism"]);
    match job["spec"]["completions"].as_i64() {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

fn duration(status: &Value, now: Timestamp) -> String {
    let ended = shown(&status["completionTime"]).parse().unwrap_or(now);
    since_or(&status["startTime"], ended, "")
}

pub const CRON_JOBS: Printer = Printer {
    columns: &[
        NAME,
        text("Schedule", "The schedule in Cron format, see https://en.wikipedia.org/wiki/Cron."),
        text("Timezone", "The time zone name for the given schedule."),
        cells::boolean("Suspend", "This flag tells the controller to suspend subsequent executions."),
        integer("Active", "A list of pointers to currently running jobs."),
        text("Last Schedule", "Information when was the last time the job was successfully scheduled."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let job = &spec["jobTemplate"]["spec"];
        let [names, images] = containers(&job["template"]["spec"]);
        vec![
            name(object),
            shown(&spec["schedule"]).into(),
            shown_or(&spec["timeZone"], NONE).into(),
            capital_bool(&spec["suspend"]).into(),
            json!(count(&status["active"])),
            since_or(&status["lastScheduleTime"], now, NONE).into(),
            age::of(object, now),
            names,
            images,
            selector(&job["selector"]).into(),
        ]
    },
};
