//! Events, of both groups.
//!
//! Kept true: in `events.k8s.io` all that is new must be there and nothing changes but the series; in the core group old
//! clients may leave out what came later.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/events.go

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, IMMUTABLE, add, immutable, is_set, same, text, untagged},
};
use crate::{metadata::qualified_name_problems, status::Cause, strategy::Dependents};

const TEXT_MAX_BYTES: usize = 128;
const NOTE_MAX_BYTES: usize = 1024;

pub static EVENT: Checked = Checked::new(|event| checks(event, true))
    .comparing(compare)
    .created_by_update()
    .with_dependents(Dependents::None)
    .once();

/// How the group of the request calls what both have, and what upstream calls it in messages.
struct Names {
    about: &'static str,
    reporter: &'static str,
    shown_reporter: &'static str,
    note: &'static str,
    /// (what it is called in messages, the field) of what the new group keeps for old clients alone.
    old: [(&'static str, &'static str); 4],
}

const CORE: Names = Names {
    about: "involvedObject",
    reporter: "reportingComponent",
    shown_reporter: "reportingComponent",
    note: "message",
    old: [
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("source", "source"),
    ],
};
const EVENTS: Names = Names {
    about: "regarding",
    reporter: "reportingController",
    shown_reporter: "reportingController",
    note: "note",
    old: [
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"),
        ("source", "deprecatedSource"),
    ],
};

fn is_new(event: &Value) -> bool {
    event["apiVersion"].as_str().is_some_and(|own| own.starts_with("events.k8s.io/"))
}

fn names(event: &Value) -> &'static Names {
    if is_new(event) { &EVENTS } else { &CORE }
}

fn empty(path: &str, why: &str) -> Cause {
    Cause::invalid(path, "", why)
}

fn checks(event: &Value, at_creation: bool) -> Causes {
    let (names, mut out) = (names(event), Vec::new());
    home(&mut out, event, names);
    if is_set(&event["eventTime"]) {
        reported(&mut out, event, names);
    }
    if !is_new(event) || !at_creation {
        return out;
    }
    series(&mut out, event);
    if !is_set(&event["eventTime"]) {
        out.push(Cause::required("eventTime", ""));
    }
    let kind = text(&event["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        out.push(empty("type", &format!("has invalid value: {kind}")));
    }
    for (shown, field) in names.old {
        if is_set(&event[field]) && event[field] != 0 {
            out.push(empty(shown, "needs to be unset"));
        }
    }
    out
}

/// An Event lives where its object does, or in `default` when that has no namespace.
fn home(out: &mut Causes, event: &Value, names: &Names) {
    let (own, named) = (text(&event["metadata"]["namespace"]), text(&event[names.about]["namespace"]));
    let good = match (named, is_set(&event["eventTime"])) {
        ("", false) => own == "default",
        ("", true) => matches!(own, "default" | "kube-system"),
        (named, false) => own == named,
        (_, true) => true,
    };
    if !good {
        out.push(Cause::invalid("involvedObject.namespace", named, "does not match event.namespace"));
    }
}

/// Who says it, and how long it is.
fn reported(out: &mut Causes, event: &Value, names: &Names) {
    let reporter = text(&event[names.reporter]);
    if reporter.is_empty() {
        out.push(Cause::required(names.shown_reporter, ""));
    }
    add(out, names.shown_reporter, reporter, qualified_name_problems(reporter));
    for field in ["reportingInstance", "action", "reason"] {
        let own = text(&event[field]);
        if own.is_empty() {
            out.push(Cause::required(field, ""));
        }
        if own.len() > TEXT_MAX_BYTES {
            out.push(empty(field, &format!("can have at most {TEXT_MAX_BYTES} characters")));
        }
    }
    if text(&event[names.note]).len() > NOTE_MAX_BYTES {
        out.push(empty("message", &format!("can have at most {NOTE_MAX_BYTES} characters")));
    }
}

fn series(out: &mut Causes, event: &Value) {
    let series = &event["series"];
    if series.is_null() {
        return;
    }
    if series["count"].as_i64().unwrap_or_default() < 2 {
        out.push(empty("series.count", "should be at least 2"));
    }
    if !is_set(&series["lastObservedTime"]) {
        out.push(Cause::required("series.lastObservedTime", ""));
    }
}

fn compare(new: &Value, old: &Value) -> Causes {
    let mut out = checks(new, false);
    if !is_new(new) {
        return out;
    }
    let names = names(new);
    if !same(&new["series"], &old["series"]) {
        series(&mut out, new);
    }
    let [first, last, count, source] = names.old;
    for (shown, field) in [
        ("involvedObject", names.about),
        ("reason", "reason"),
        ("message", names.note),
        source,
        first,
        last,
        count,
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", names.reporter),
        ("reportingInstance", "reportingInstance"),
    ] {
        match shown {
            "involvedObject" | "related" if new[field].is_object() && !same(&new[field], &old[field]) => {
                let own =
                    untagged(&new[field], "Kind Namespace Name UID APIVersion ResourceVersion FieldPath");
                out.push(Cause::invalid(shown, own, IMMUTABLE));
            }
            _ => immutable(&mut out, &new[field], &old[field], shown),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn an_old_event_lives_with_its_object() {
        assert_cases(
            json!({"apiVersion": "v1", "metadata": {"namespace": "a"}, "involvedObject": {"namespace": "a"}}),
            |event| checks(event, true),
            &[
                (
                    json!({"metadata": {"namespace": "b"}}),
                    &["involvedObject.namespace: Invalid value: \"a\": does not match event.namespace"],
                ),
                (
                    json!({"eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "c", "reportingInstance": "i", "action": "x"}),
                    &["reason: Required value"],
                ),
            ],
        );
    }

    #[test]
    fn a_new_event_is_whole_and_stays() {
        let old = json!({"apiVersion": "events.k8s.io/v1", "metadata": {"namespace": "a"}, "regarding": {"namespace": "a"}, "type": "Normal", "reason": "r",
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i", "action": "x"});
        assert_cases(
            old.clone(),
            |event| checks(event, true),
            &[
                (json!({"type": "Odd"}), &["type: Invalid value: \"\": has invalid value: Odd"]),
                (json!({"deprecatedCount": 1}), &["count: Invalid value: \"\": needs to be unset"]),
                (
                    json!({"series": {"count": 1}}),
                    &[
                        "series.count: Invalid value: \"\": should be at least 2",
                        "series.lastObservedTime: Required value",
                    ],
                ),
                (
                    json!({"reportingController": "a b"}),
                    &[
                        "reportingController: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                    ],
                ),
            ],
        );
        assert_cases(
            old.clone(),
            |new| compare(new, &old),
            &[
                (json!({"note": "n"}), &["message: Invalid value: \"n\": field is immutable"]),
                (json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}), &[]),
            ],
        );
    }
}
