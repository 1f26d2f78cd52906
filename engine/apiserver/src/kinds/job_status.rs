//! What a Job's status may say, whoever keeps it: Jobs with `managedBy` have controllers of their own.
//!
//! Kept true: a Job that has ended stays ended, with the times and counters that go with it.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/batch/validation/validation.go
//! (`validateJobStatus`, `ValidateJobStatusUpdate`)

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    checked::news,
    checks::{Causes, IMMUTABLE, indexed, is_set, items, non_negative, text},
    job_policy::{count_indexes, intervals},
};
use crate::status::Cause;

const CONDITIONS: &str = "status.conditions";
const COMPLETED_AT: &str = "status.completionTime";

/// What the status before got wrong already does not stop other changes of it.
pub fn status(new: &Value, old: &Value) -> Causes {
    let mut out = news(state(new), || state(old));
    out.extend(transition(new, old));
    out
}

fn holds(job: &Value, kind: &str) -> bool {
    let list = items(&job["status"]["conditions"]);
    list.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Upstream shows no value here.
fn conditions(out: &mut Causes, why: &str) {
    out.push(Cause::new("FieldValueInvalid", CONDITIONS, format!("Invalid value: {why}")));
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn state(job: &Value) -> Causes {
    let (spec, status, mut out) = (&job["spec"], &job["status"], Vec::new());
    non_negative(&mut out, status, "status", &["active", "succeeded", "failed", "ready", "terminating"]);
    uncounted(&mut out, &status["uncountedTerminatedPods"]);
    let (complete, failed) = (holds(job, "Complete"), holds(job, "Failed"));
    let (target, success) = (holds(job, "FailureTarget"), holds(job, "SuccessCriteriaMet"));
    if complete && failed {
        conditions(&mut out, "cannot set Complete=True and Failed=true conditions");
    }
    if complete && target {
        conditions(&mut out, "cannot set Complete=True and FailureTarget=true conditions");
    }
    times(&mut out, status, complete);
    if failed && !target {
        conditions(&mut out, "cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if complete && !success {
        let why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        conditions(&mut out, why);
    }
    if complete || failed {
        finished(&mut out, spec, status);
    }
    done_indexes(&mut out, spec, status);
    if (complete || failed) && number(&status["terminating"]) > 0 {
        let why = "terminating>0 is invalid for finished job";
        out.push(Cause::invalid("status.terminating", status["terminating"].clone(), why));
    }
    if status["ready"].as_i64().is_some_and(|ready| ready > number(&status["active"])) {
        let why = "cannot set more ready pods than active";
        out.push(Cause::invalid("status.ready", status["ready"].clone(), why));
    }
    if success && failed {
        conditions(&mut out, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    }
    if success && target {
        conditions(&mut out, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    }
    if !spec["successPolicy"].is_null() && !success && complete {
        let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        conditions(&mut out, why);
    }
    out
}

fn uncounted(out: &mut Causes, pods: &Value) {
    let mut seen = BTreeSet::new();
    for field in ["succeeded", "failed"] {
        for (at, uid) in indexed(&pods[field], &format!("status.uncountedTerminatedPods.{field}")) {
            if text(uid).is_empty() {
                out.push(Cause::invalid(at, "", "must not be empty"));
            } else if !seen.insert(text(uid)) {
                out.push(Cause::duplicate(at, uid.clone()));
            }
        }
    }
}

/// Times are written alike: their texts are in their order.
fn times(out: &mut Causes, status: &Value, complete: bool) {
    let (start, end) = (&status["startTime"], &status["completionTime"]);
    if is_set(end) && !complete {
        let why = "cannot set completionTime when there is no Complete=True condition";
        out.push(Cause::invalid(COMPLETED_AT, end.clone(), why));
    }
    if !is_set(end) && complete {
        out.push(Cause::required(COMPLETED_AT, "completionTime is required for Complete jobs"));
    }
    if is_set(start) && is_set(end) && text(end) < text(start) {
        out.push(Cause::invalid(COMPLETED_AT, end.clone(), "must be equal to or after `startTime`"));
    }
}

fn finished(out: &mut Causes, spec: &Value, status: &Value) {
    if number(&status["active"]) > 0 {
        let why = "active>0 is invalid for finished job";
        out.push(Cause::invalid("status.active", status["active"].clone(), why));
    }
    // One that was never to run anything may end without having begun.
    let idle = spec["suspend"] == true && spec["completions"] == 0;
    if !is_set(&status["startTime"]) && !idle {
        out.push(Cause::required("status.startTime", "startTime is required for finished job"));
    }
    let pods = &status["uncountedTerminatedPods"];
    if is_set(&pods["succeeded"]) || is_set(&pods["failed"]) {
        let shown = json!({"Succeeded": pods["succeeded"], "Failed": pods["failed"]});
        let why = "must be empty for finished job";
        out.push(Cause::invalid("status.uncountedTerminatedPods", shown, why));
    }
}

fn done_indexes(out: &mut Causes, spec: &Value, status: &Value) {
    let (completed, failed) = (text(&status["completedIndexes"]), status["failedIndexes"].as_str());
    let completions = spec["completions"].as_i64();
    let mut refuse = |field: &str, value: &str, why: &str| {
        out.push(Cause::invalid(format!("status.{field}"), value, why));
    };
    if let Some(Err(why)) = completions.map(|all| count_indexes(completed, all)) {
        refuse("completedIndexes", completed, &format!("error parsing completedIndexes: {why}"));
    }
    let limited = !spec["backoffLimitPerIndex"].is_null();
    if let (Some(all), Some(failed), true) = (completions, failed, limited)
        && let Err(why) = count_indexes(failed, all)
    {
        refuse("failedIndexes", failed, &format!("error parsing failedIndexes: {why}"));
    }
    if !completed.is_empty() && spec["completionMode"] != "Indexed" {
        let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
        refuse("completedIndexes", completed, why);
    }
    let Some(failed) = failed else { return };
    if !limited {
        let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        refuse("failedIndexes", failed, why);
    }
    let Some(all) = completions else { return };
    let both = intervals(failed, all)
        .iter()
        .flat_map(|(first, last)| {
            let done = intervals(completed, all);
            done.into_iter()
                .filter_map(move |(from, to)| (from <= *last && *first <= to).then_some(from.max(*first)))
        })
        .min();
    if let Some(index) = both {
        let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
        refuse("failedIndexes", failed, &why);
    }
}

fn transition(new: &Value, old: &Value) -> Causes {
    let (spec, status, before, mut out) = (&new["spec"], &new["status"], &old["status"], Vec::new());
    let ended = |kind: &str| holds(old, kind) && !holds(new, kind);
    for kind in ["Failed", "Complete", "FailureTarget"].into_iter().filter(|kind| ended(kind)) {
        conditions(&mut out, &format!("cannot disable the terminal {kind}=True condition"));
    }
    // An indexed Job that gets smaller forgets what is no more one of its indexes.
    let shrinks = spec["completionMode"] == "Indexed" && spec["completions"] == spec["parallelism"];
    for field in ["failed", "succeeded"] {
        let now = number(&status[field]);
        if now < number(&before[field]) && !(field == "succeeded" && shrinks) {
            let why = format!("cannot decrease the {field} counter");
            out.push(Cause::invalid(format!("status.{field}"), now, &why));
        }
    }
    let changed = |field: &str| is_set(&before[field]) && status[field] != before[field];
    if changed("completionTime") && is_set(&status["completionTime"]) {
        out.push(Cause::invalid(COMPLETED_AT, status["completionTime"].clone(), IMMUTABLE));
    }
    if changed("startTime") && spec["suspend"] != true {
        let why = "startTime cannot be removed for unsuspended job";
        out.push(Cause::required("status.startTime", why));
    }
    if ended("SuccessCriteriaMet") {
        conditions(&mut out, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if holds(old, "Complete") && !holds(old, "SuccessCriteriaMet") && holds(new, "SuccessCriteriaMet") {
        let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        conditions(&mut out, why);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};

    const START: &str = "2026-01-01T00:00:00Z";
    const END: &str = "2026-01-01T00:01:00Z";

    fn with(kinds: &[&str]) -> Value {
        let list: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        json!({"status": {"conditions": list}})
    }

    fn ended(kinds: &[&str], patch: Value) -> Value {
        let mut own = with(kinds);
        own["status"]["startTime"] = START.into();
        coracle_schema::json_merge_patch(&mut own["status"], &patch);
        own
    }

    #[test]
    fn states_of_jobs_get_the_stock_causes() {
        let of = |patch: Value| json!({"status": patch});
        let complete = |patch: Value| {
            let mut own = json!({"completionTime": END});
            coracle_schema::json_merge_patch(&mut own, &patch);
            ended(&["SuccessCriteriaMet", "Complete"], own)
        };
        assert_cases(
            json!({"spec": {"completions": 5, "parallelism": 5}}),
            state,
            &[
                (
                    of(json!({"active": -1, "ready": -1})),
                    &[
                        "status.active: Invalid value: -1: must be greater than or equal to 0",
                        "status.ready: Invalid value: -1: must be greater than or equal to 0",
                    ],
                ),
                (
                    of(json!({"uncountedTerminatedPods": {"succeeded": ["a", ""], "failed": ["a"]}})),
                    &[
                        "status.uncountedTerminatedPods.succeeded[1]: Invalid value: \"\": must not be empty",
                        "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
                    ],
                ),
                (complete(json!({})), &[]),
                (ended(&["FailureTarget", "Failed"], json!({})), &[]),
                (
                    complete(json!({"completionTime": null})),
                    &["status.completionTime: Required value: completionTime is required for Complete jobs"],
                ),
                (
                    of(json!({"completionTime": END})),
                    &[
                        "status.completionTime: Invalid value: \"2026-01-01T00:01:00Z\": cannot set completionTime when there is no Complete=True condition",
                    ],
                ),
                (
                    complete(json!({"startTime": END, "completionTime": START})),
                    &[
                        "status.completionTime: Invalid value: \"2026-01-01T00:00:00Z\": must be equal to or after `startTime`",
                    ],
                ),
                (
                    complete(
                        json!({"startTime": "", "active": 1, "terminating": 2, "uncountedTerminatedPods": {"failed": ["a"]}}),
                    ),
                    &[
                        "status.active: Invalid value: 1: active>0 is invalid for finished job",
                        "status.startTime: Required value: startTime is required for finished job",
                        "status.uncountedTerminatedPods: Invalid value: {\"Succeeded\":null,\"Failed\":[\"a\"]}: must be empty for finished job",
                        "status.terminating: Invalid value: 2: terminating>0 is invalid for finished job",
                    ],
                ),
                (
                    ended(&["Failed"], json!({})),
                    &[
                        "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
                    ],
                ),
                (
                    ended(&["Complete"], json!({"completionTime": END})),
                    &[
                        "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
                    ],
                ),
                (
                    ended(
                        &["SuccessCriteriaMet", "Complete", "FailureTarget", "Failed"],
                        json!({"completionTime": END}),
                    ),
                    &[
                        "status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions",
                        "status.conditions: Invalid value: cannot set Complete=True and FailureTarget=true conditions",
                        "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and Failed=true conditions",
                        "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
                    ],
                ),
                (
                    of(json!({"active": 1, "ready": 2})),
                    &["status.ready: Invalid value: 2: cannot set more ready pods than active"],
                ),
                (
                    of(json!({"completedIndexes": "1-3", "failedIndexes": "3"})),
                    &[
                        "status.completedIndexes: Invalid value: \"1-3\": cannot set non-empty completedIndexes when non-indexed completion mode",
                        "status.failedIndexes: Invalid value: \"3\": cannot set non-null failedIndexes when backoffLimitPerIndex is null",
                        "status.failedIndexes: Invalid value: \"3\": failedIndexes and completedIndexes overlap at index: 3",
                    ],
                ),
                (
                    json!({"spec": {"completionMode": "Indexed", "backoffLimitPerIndex": 1}, "status": {"completedIndexes": "1,9", "failedIndexes": "3,2"}}),
                    &[
                        "status.completedIndexes: Invalid value: \"1,9\": error parsing completedIndexes: too large index: \"9\"",
                        "status.failedIndexes: Invalid value: \"3,2\": error parsing failedIndexes: non-increasing order, previous: 3, current: 2",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn what_has_ended_stays_so() {
        let old = ended(&["FailureTarget", "Failed"], json!({"failed": 2, "succeeded": 1}));
        let texts = |new: &Value, old: &Value| {
            transition(new, old).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(texts(&old, &old), Vec::<String>::new());
        assert_eq!(
            texts(&json!({"status": {"failed": 1, "startTime": END}}), &old),
            [
                "status.conditions: Invalid value: cannot disable the terminal Failed=True condition",
                "status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition",
                "status.failed: Invalid value: 1: cannot decrease the failed counter",
                "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
                "status.startTime: Required value: startTime cannot be removed for unsuspended job",
            ]
        );
        let old = ended(&["SuccessCriteriaMet"], json!({"completionTime": START}));
        assert_eq!(
            texts(&ended(&[], json!({"completionTime": END})), &old),
            [
                "status.completionTime: Invalid value: \"2026-01-01T00:01:00Z\": field is immutable",
                "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
            ]
        );
        // Wrong before, and not made worse.
        let odd = ended(&["Complete"], json!({"completionTime": END}));
        assert_eq!(status(&odd, &odd), []);
    }
}
