//! Jobs and CronJobs: the selector that the server makes, and what a Job's pods may look like.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/batch/validation/validation.go and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/batch/job/strategy.go (`generateSelector`)

use coracle_expressions::time_zone;
use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, domain_prefixed_path, immutable, is_set, items, label_selector, non_negative, one_of,
        require, same, text,
    },
    cron,
    pod_spec::validate_template,
    pod_warnings,
};
use crate::{metadata::label_problems, selector::LabelSelector, status::Cause, strategy::Dependents};

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const COUNTS: [&str; 5] =
    ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"];
/// The controller adds eleven characters to the name.
const CRON_JOB_NAME_MAX: usize = 52;
const PODS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";
const MANAGER_MAX_BYTES: usize = 63;

pub static JOB: Checked = Checked::new(job)
    .with_dependents(Dependents::Orphaned(Some(PODS_STAY)))
    .warning(|job, is_new| warn(job, is_new, &job["spec"], "spec"))
    .comparing(compare_jobs)
    .checking_status(super::job_status::status)
    .preparing(|job, old, _| {
        if old.is_none() {
            select_own_pods(job);
        }
    });
pub static CRON_JOB: Checked = Checked::new(cron_job).warning(|cron, is_new| {
    let mut out = warn(cron, is_new, &cron["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec");
    if !is_new && text(&cron["spec"]["schedule"]).contains("TZ") {
        out.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".into());
    }
    out
});

fn warn(object: &Value, is_new: bool, spec: &Value, path: &str) -> Vec<String> {
    let mut out = if is_new { pod_warnings::of_workload_name(object) } else { Vec::new() };
    out.extend(pod_warnings::of_job_spec(spec, path));
    out
}

/// What the template's labels are unless a Job has its pods selected by hand.
fn own_labels(job: &Value) -> [(&'static str, &Value); 4] {
    let (uid, name) = (&job["metadata"]["uid"], &job["metadata"]["name"]);
    [(UID_LABEL, uid), (NAME_LABEL, name), ("controller-uid", uid), ("job-name", name)]
}

/// Gives the template labels with the Job's uid and name, and selects by the uid. What is there stays: it is refused
/// later, as of a Job that was read and is posted again.
fn select_own_pods(job: &mut Value) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    for (label, value) in own_labels(job).map(|(label, value)| (label, value.clone())) {
        let labels = &mut job["spec"]["template"]["metadata"]["labels"];
        if labels[label].is_null() {
            labels[label] = value;
        }
    }
    if job["spec"]["selector"]["matchLabels"][UID_LABEL].is_null() {
        job["spec"]["selector"]["matchLabels"][UID_LABEL] = job["metadata"]["uid"].clone();
    }
}

/// Labels and a selector that the server would not have chosen belong to another Job.
fn selects_own_pods(out: &mut Causes, job: &Value) {
    let spec = &job["spec"];
    if spec["manualSelector"] == true || spec["selector"].is_null() {
        return;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let own = own_labels(job);
    for (label, wanted) in own {
        let (at, why) =
            (format!("spec.template.metadata.labels[{label}]"), format!("must be '{}'", text(wanted)));
        match &labels[label] {
            Value::Null => out.push(Cause::required(at, &why)),
            given if given != wanted => out.push(Cause::invalid(at, labels.clone(), &why)),
            _ => {}
        }
    }
    let own: Value = own.into_iter().map(|(label, value)| (label.to_owned(), value.clone())).collect();
    if LabelSelector::from_object(&spec["selector"]).is_some_and(|selector| !selector.matches_map(&own)) {
        out.push(Cause::invalid("spec.selector", spec["selector"].clone(), "`selector` not auto-generated"));
    }
}

fn job(job: &Value) -> Causes {
    let spec = &job["spec"];
    let mut out = Vec::new();
    selects_own_pods(&mut out, job);
    out.extend(job_spec(spec, "spec"));
    let at = "spec.selector";
    if require(&mut out, &spec["selector"], at) {
        label_selector(&mut out, &spec["selector"], at);
        let labels = &spec["template"]["metadata"]["labels"];
        if LabelSelector::from_object(&spec["selector"]).is_some_and(|own| !own.matches_map(labels)) {
            let why = "`selector` does not match template `labels`";
            out.push(Cause::invalid("spec.template.metadata.labels", labels.clone(), why));
        }
    }
    let last = spec["completions"].as_i64().filter(|all| *all > 0 && spec["completionMode"] == "Indexed");
    if let Some(last) = last {
        // The highest of its pods' host names.
        let (name, host) = (crate::object::name(job), format!("{}-{}", crate::object::name(job), last - 1));
        if !label_problems(&host).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            out.push(Cause::invalid("metadata.name", name, &why));
        }
    }
    out
}

fn job_spec(spec: &Value, path: &str) -> Causes {
    let mut out = Vec::new();
    non_negative(&mut out, spec, path, &COUNTS);
    if let Some(manager) = spec["managedBy"].as_str() {
        let at = format!("{path}.managedBy");
        domain_prefixed_path(&mut out, manager, &at);
        if manager.len() > MANAGER_MAX_BYTES {
            out.push(Cause::too_long(at, MANAGER_MAX_BYTES));
        }
    }
    let mode = &spec["completionMode"];
    one_of(&mut out, mode, &format!("{path}.completionMode"), &["NonIndexed", "Indexed"]);
    if mode == "Indexed" && spec["completions"].is_null() {
        let why = "when completion mode is Indexed";
        out.push(Cause::required(format!("{path}.completions"), why));
    }
    super::job_policy::validate(&mut out, spec, path);
    let fails = !spec["podFailurePolicy"].is_null();
    let replacements: &[&str] = if fails { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    let at = format!("{path}.podReplacementPolicy");
    one_of(&mut out, &spec["podReplacementPolicy"], &at, replacements);
    out.extend(validate_template(&spec["template"], &format!("{path}.template")));
    let at = format!("{path}.template.spec.restartPolicy");
    match text(&spec["template"]["spec"]["restartPolicy"]) {
        "" | "Always" => out.push(Cause::required(at, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if fails => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            out.push(Cause::invalid(at, "OnFailure", why));
        }
        "OnFailure" | "Never" => {}
        other => out.push(Cause::not_supported(at, other, &["OnFailure", "Never"])),
    }
    out
}

/// What a Job does stays; of one that waits, where it does it may change.
fn compare_jobs(new: &Value, old: &Value) -> Causes {
    let (spec, before) = (&new["spec"], &old["spec"]);
    let mut out = Vec::new();
    let (now, was) = (&spec["completions"], &before["completions"]);
    if spec["completionMode"] != "Indexed" {
        immutable(&mut out, now, was, "spec.completions");
    } else if now != was && !now.is_null() && *now != spec["parallelism"] {
        let why = "can only be modified in tandem with spec.parallelism";
        out.push(Cause::invalid("spec.completions", now.clone(), why));
    }
    immutable(&mut out, &spec["selector"], &before["selector"], "spec.selector");
    let waiting = before["suspend"] == true && is_idle(&old["status"]);
    if !same(&template(spec, waiting), &template(before, waiting)) {
        out.push(Cause::invalid("spec.template", spec["template"].clone(), super::checks::IMMUTABLE));
    }
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        immutable(&mut out, &spec[field], &before[field], &format!("spec.{field}"));
    }
    out
}

/// Never begun, or suspended and without pods.
fn is_idle(status: &Value) -> bool {
    let suspended = |condition: &Value| condition["type"] == "Suspended" && condition["status"] == "True";
    let active = status["active"].as_i64().unwrap_or_default();
    !is_set(&status["startTime"]) || (active == 0 && items(&status["conditions"]).iter().any(suspended))
}

/// Of a Job that waits, where its pods go and what they ask for may still change.
fn template(spec: &Value, waiting: bool) -> Value {
    let mut template = spec["template"].clone();
    if waiting {
        for field in ["labels", "annotations"] {
            crate::object::remove(&mut template["metadata"], field);
        }
        for field in ["nodeSelector", "tolerations", "schedulingGates"] {
            crate::object::remove(&mut template["spec"], field);
        }
        crate::object::remove(&mut template["spec"]["affinity"], "nodeAffinity");
        for list in ["containers", "initContainers"] {
            for container in template["spec"][list].as_array_mut().into_iter().flatten() {
                crate::object::remove(container, "resources");
            }
        }
    }
    template
}

fn cron_job(object: &Value) -> Causes {
    let (spec, mut out) = (&object["spec"], Vec::new());
    let schedule = text(&spec["schedule"]);
    if schedule.is_empty() {
        out.push(Cause::required("spec.schedule", ""));
    } else {
        if let Err(why) = cron::check(schedule) {
            out.push(Cause::invalid("spec.schedule", schedule, &why));
        }
        if schedule.contains("TZ") {
            let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            out.push(Cause::invalid("spec.schedule", schedule, why));
        }
    }
    non_negative(&mut out, spec, "spec", &["startingDeadlineSeconds"]);
    if let Some(zone) = spec["timeZone"].as_str() {
        out.extend(zone_problem(zone).map(|why| Cause::invalid("spec.timeZone", zone, &why)));
    }
    one_of(&mut out, &spec["concurrencyPolicy"], "spec.concurrencyPolicy", &["Allow", "Forbid", "Replace"]);
    out.extend(job_spec(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec"));
    let job = &spec["jobTemplate"]["spec"];
    if is_set(&job["selector"]) {
        let why = "`selector` will be auto-generated";
        out.push(Cause::invalid("spec.jobTemplate.spec.selector", job["selector"].clone(), why));
    }
    if job["manualSelector"] == true {
        let supported: &[&str] = &["nil", "false"];
        out.push(Cause::not_supported("spec.jobTemplate.spec.manualSelector", true, supported));
    }
    non_negative(&mut out, spec, "spec", &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]);
    if crate::object::name(object).len() > CRON_JOB_NAME_MAX {
        let why = "must be no more than 52 characters";
        out.push(Cause::invalid("metadata.name", crate::object::name(object), why));
    }
    out
}

/// What is wrong with a name of the IANA database.
fn zone_problem(zone: &str) -> Option<String> {
    if zone.is_empty() {
        return Some("timeZone must be nil or non-empty string".into());
    }
    let unknown = || Some(format!("unknown time zone {zone}"));
    if !time_zone::is_name(zone) {
        return unknown();
    }
    if zone.contains("..") {
        return Some("time: invalid location name".into());
    }
    if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        return Some(why.into());
    }
    if time_zone::exists(zone) { None } else { unknown() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::checks::assert_cases, *};

    fn base() -> Value {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}}});
        select_own_pods(&mut job);
        job
    }

    #[test]
    fn a_job_selects_its_own_pods() {
        let spec = &base()["spec"];
        assert_eq!(spec["selector"], json!({"matchLabels": {UID_LABEL: "u"}}));
        assert_eq!(
            spec["template"]["metadata"]["labels"],
            json!({UID_LABEL: "u", NAME_LABEL: "j", "controller-uid": "u", "job-name": "j"})
        );
    }

    #[test]
    fn a_job_gets_the_stock_causes() {
        assert_cases(
            base(),
            job,
            &[
                (
                    json!({"spec": {"backoffLimit": -1}}),
                    &["spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"],
                ),
                (
                    json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}),
                    &[
                        "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
                    ],
                ),
                (
                    json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}}}),
                    &[
                        "spec.selector: Invalid value: {\"matchLabels\":{\"batch.kubernetes.io/controller-uid\":\"u\",\"a\":\"b\"}}: `selector` not auto-generated",
                    ],
                ),
                (
                    json!({"spec": {"template": {"metadata": {"labels": {"job-name": "other"}}}}}),
                    &[
                        "spec.template.metadata.labels[job-name]: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"j\",\"controller-uid\":\"u\",\"job-name\":\"other\"}: must be 'j'",
                    ],
                ),
                (
                    json!({"spec": {"completionMode": "Indexed"}}),
                    &["spec.completions: Required value: when completion mode is Indexed"],
                ),
                (
                    json!({"spec": {"managedBy": "me"}}),
                    &[
                        "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
                    ],
                ),
                (
                    json!({"spec": {"podReplacementPolicy": "TerminatingOrFailed", "podFailurePolicy": {"rules": []}}}),
                    &[
                        "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"",
                    ],
                ),
            ],
        );
        let mut dotted =
            json!({"metadata": {"name": "j.k"}, "spec": {"completionMode": "Indexed", "completions": 2}});
        select_own_pods(&mut dotted);
        let causes = job(&dotted);
        let texts: Vec<String> = causes.iter().map(Cause::to_string).collect();
        assert!(texts.contains(&"metadata.name: Invalid value: \"j.k\": will not able to create pod with invalid DNS label: j.k-1".to_owned()));
        let mut new = base();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "other".into();
        let causes = compare_jobs(&new, &base());
        assert_eq!((causes.len(), causes[0].field.as_str()), (1, "spec.template"));
        assert!(causes[0].message.ends_with("field is immutable"));
    }

    #[test]
    fn of_a_job_that_waits_the_pods_resources_and_place_may_change() {
        let mut new = base();
        new["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        let status = |active: u8, suspended: &str| {
            json!({"startTime": "2026-01-01T00:00:00Z", "active": active,
                "conditions": [{"type": "Suspended", "status": suspended}]})
        };
        for (suspend, status, allowed) in [
            (true, json!({}), true),
            (true, status(0, "True"), true),
            (true, status(1, "True"), false),
            (true, status(0, "False"), false),
            (false, json!({}), false),
        ] {
            let mut old = base();
            old["spec"]["suspend"] = suspend.into();
            old["status"] = status;
            assert_eq!(compare_jobs(&new, &old).is_empty(), allowed, "{old}");
        }
    }

    #[test]
    fn a_cron_job_gets_the_stock_causes() {
        let mut cron = json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *"}});
        cron["spec"]["jobTemplate"]["spec"]["template"]["spec"] = base()["spec"]["template"]["spec"].clone();
        assert_cases(
            cron,
            cron_job,
            &[
                (json!({"spec": {"schedule": ""}}), &["spec.schedule: Required value"]),
                (
                    json!({"spec": {"schedule": "* * *"}}),
                    &["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"],
                ),
                (
                    json!({"spec": {"schedule": "TZ=UTC * * * * *"}}),
                    &[
                        "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                    ],
                ),
                (
                    json!({"spec": {"timeZone": ""}}),
                    &["spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"],
                ),
                (
                    json!({"spec": {"timeZone": "../x"}}),
                    &["spec.timeZone: Invalid value: \"../x\": unknown time zone ../x"],
                ),
                (
                    json!({"spec": {"timeZone": "a..x"}}),
                    &["spec.timeZone: Invalid value: \"a..x\": time: invalid location name"],
                ),
                (json!({"spec": {"timeZone": "Etc/UTC"}}), &[]),
                (
                    json!({"spec": {"timeZone": "Local"}}),
                    &[
                        "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
                    ],
                ),
                (
                    json!({"spec": {"jobTemplate": {"spec": {"manualSelector": true}}}}),
                    &[
                        "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
                    ],
                ),
                (
                    json!({"spec": {"concurrencyPolicy": "Maybe"}}),
                    &[
                        "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
                    ],
                ),
            ],
        );
    }
}
