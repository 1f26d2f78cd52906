//! `/eviction`: a deletion that respects PodDisruptionBudgets.
//!
//! Writes: the budget's `status.disruptionsAllowed` and `disruptedPods`, then the pod's deletion. Invariant: a pod goes
//! only after its budget was charged.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/pod/storage/eviction.go

use coracle_schema::GroupVersionKind;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    decode,
    http::{body, resource},
    negotiate, object,
    options::{DeleteOptions, Query, WriteOptions},
    selector::LabelSelector,
    status::{Cause, GroupResource, Status},
    subresources::connect,
    types::{Request, Response, State, UserInfo},
    verbs::{
        self, Target,
        update::{Changed, modify},
    },
};

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const RETRY_SECONDS: u32 = 10;

pub async fn serve(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    let query = Query::parse(request.uri().query());
    let write = WriteOptions::parse(&query, "CreateOptions")?;
    let encoding = negotiate::accepted_encoding(request.headers())?;
    let (content_type, bytes) = body::read(request).await?;
    let gvk = GroupVersionKind::new("policy", "v1", "Eviction");
    let mut decoded = decode::parse(&bytes, decode::format_of(content_type.as_deref())?, &gvk)?;
    // The only version that is still taken without being served, and it is the same.
    if decoded.value["apiVersion"] == "policy/v1beta1" {
        decoded.value["apiVersion"] = "policy/v1".into();
    }
    let (mut eviction, warnings) = decode::posted(decoded, &gvk, write.field_validation)?;
    let name = object::name(&eviction);
    if !name.is_empty() && name != target.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    connect::admit_posted(state, user, target, &mut eviction, write.dry_run).await?;
    let mut options = DeleteOptions::parse(&query, &eviction["deleteOptions"])?;
    options.dry_run |= write.dry_run;
    // Who may have an opinion on evictions was asked for this one.
    options.admitted = true;
    let pod = verbs::decode(&*state.reader.get(&target.key()).ok_or_else(|| target.not_found())?)?;
    if needs_budget(&pod) {
        charge(state, target, &pod, options.dry_run).await?;
    }
    if !options.dry_run && !object::is_deleting(&pod) {
        mark(state, user, target).await?;
    }
    let pod_target = Target { subresource: String::new(), ..target.clone() };
    verbs::delete(state, user, &pod_target, &options).await?;
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    let mut response = resource::encode(encoding, StatusCode::CREATED, &status)?;
    resource::warn(&mut response, &warnings);
    Ok(response)
}

/// Says in the pod's status why it goes: its Job does not count it as a failure.
async fn mark(state: &State, user: &UserInfo, target: &Target) -> Result<(), Status> {
    let status = Target { subresource: "status".into(), ..target.clone() };
    let options = WriteOptions { admitted: true, ..WriteOptions::default() };
    modify(state, user, &status, &options, |pod| Ok(Changed::Patched(with_condition(pod).into())))
        .await
        .map(drop)
}

fn with_condition(pod: &Value) -> Value {
    const TARGET: &str = "DisruptionTarget";
    let mut pod = pod.clone();
    let others = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut conditions: Vec<Value> = others.filter(|one| one["type"] != TARGET).cloned().collect();
    conditions.push(json!({
        "type": TARGET,
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": object::now(),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }));
    pod["status"]["conditions"] = conditions.into();
    pod
}

fn needs_budget(pod: &Value) -> bool {
    !object::is_deleting(pod)
        && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"))
}

async fn charge(state: &State, target: &Target, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let Some(served) = state.resources.get("policy", "v1", "poddisruptionbudgets") else { return Ok(()) };
    let snapshot = state.reader.snapshot();
    let mut matching = Vec::new();
    for budget in snapshot.list(&served.scope(&target.namespace, None)) {
        let value = verbs::decode(budget)?;
        let selector = LabelSelector::from_object(&value["spec"]["selector"]);
        if selector.is_some_and(|selector| selector.matches_map(&pod["metadata"]["labels"])) {
            matching.push(value);
        }
    }
    let budget = match &matching[..] {
        [] => return Ok(()),
        [budget] => budget,
        _ => {
            return Err(Status::new(
                500,
                "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    if is_unready_beyond_budget(pod, budget) {
        return Ok(());
    }
    let mut budget_target = Target::new(served.clone(), &target.namespace, object::name(budget));
    budget_target.subresource = "status".into();
    let options = WriteOptions { dry_run, ..WriteOptions::default() };
    let user = UserInfo::apiserver();
    modify(state, &user, &budget_target, &options, |budget| spend(budget, &target.name)).await.map(drop)
}

/// A pod that is not ready counts for nothing while enough others are healthy.
fn is_unready_beyond_budget(pod: &Value, budget: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True");
    if ready {
        return false;
    }
    if budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" {
        return true;
    }
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    number("desiredHealthy") > 0 && number("currentHealthy") >= number("desiredHealthy")
}

/// Evictions that no controller has seen yet; more are refused.
const UNSEEN_MAX: usize = 2000;

fn spend(budget: &Value, pod: &str) -> Result<Changed, Status> {
    let name = object::name(budget);
    let status = &budget["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or_default();
    let refuse = |retry_seconds: u32, message: String| {
        let cause = Cause::new("DisruptionBudget", "", message);
        Err(Status::too_many_requests(REFUSED, retry_seconds).with_cause(cause))
    };
    let forbid =
        |why: &str| Err(Status::forbidden(GroupResource::new("policy", "poddisruptionbudget"), name, why));
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or_default() {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return refuse(RETRY_SECONDS, why);
    }
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return forbid("pdb disruptions allowed is negative");
    }
    if status["disruptedPods"].as_object().is_some_and(|all| all.len() > UNSEEN_MAX) {
        return forbid("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        let conditions = status["conditions"].as_array();
        let failure = conditions.into_iter().flatten().find(|one| {
            one["type"] == "DisruptionAllowed" && one["status"] == "False" && one["reason"] == "SyncFailed"
        });
        let why = failure.and_then(|one| one["message"].as_str()).filter(|why| !why.is_empty());
        return refuse(
            0,
            match why {
                Some(why) => format!(
                    "The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
                ),
                None => format!(
                    "The disruption budget {name} needs {} healthy pods and has {} currently",
                    number("desiredHealthy"),
                    number("currentHealthy")
                ),
            },
        );
    }
    let mut budget = budget.clone();
    budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
    budget["status"]["disruptedPods"][pod] = object::now().into();
    Ok(Changed::Patched(budget.into()))
}
