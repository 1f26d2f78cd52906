//! LimitRanger: a namespace's LimitRanges fill in what containers leave out, and bound what containers, pods and claims
//! may ask for.
//!
//! Reads:  the LimitRanges of the request's namespace.
//! Source: https://kubernetes.io/docs/concepts/policy/limit-range/ and
//! https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/limitranger/admission.go

use coracle_quota::{Amounts, PodPart, pod_amounts};
use coracle_schema::Quantity;
use coracle_store::Scope;
use serde_json::{Value, json};

use super::{Operation, Request};
use crate::{
    kinds::checks::{items, text},
    object,
    registry::store_resource,
    status::Status,
    verbs,
};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const LISTS: [(&str, &str); 2] = [("containers", "container"), ("initContainers", "init container")];

/// The items of all LimitRanges, in the order of their names.
fn limits(request: &Request<'_>) -> Vec<Value> {
    let scope = Scope {
        resource: store_resource("", "limitranges"),
        namespace: Some(request.target.namespace.as_str().into()),
        name: None,
    };
    let snapshot = request.state.reader.snapshot();
    let ranges = snapshot.list(&scope).filter_map(|range| verbs::decode(range).ok());
    ranges.flat_map(|range| items(&range["spec"]["limits"]).to_vec()).collect()
}

pub fn admit(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    if request.operation != Operation::Create || !request.is("", "pods") || !pod["spec"].is_object() {
        return Ok(());
    }
    for limit in limits(request).iter().filter(|limit| limit["type"] == "Container") {
        fill(pod, limit);
    }
    Ok(())
}

/// Gives every container the defaults that it lacks, and says so in an annotation.
fn fill(pod: &mut Value, limit: &Value) {
    let mut notes = Vec::new();
    for (list, word) in LISTS {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = text(&container["name"]).to_owned();
            for (part, defaults, what) in
                [("requests", "defaultRequest", "request"), ("limits", "default", "limit")]
            {
                let mut set: Vec<&str> = Vec::new();
                for (resource, amount) in limit[defaults].as_object().into_iter().flatten() {
                    if container["resources"][part][resource].is_null() {
                        container["resources"][part][resource] = amount.clone();
                        set.push(resource);
                    }
                }
                if !set.is_empty() {
                    set.sort_unstable();
                    notes.push(format!("{} {what} for {word} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let text = format!("LimitRanger plugin set: {}", notes.join("; "));
        let annotations = object::metadata_mut(pod).entry("annotations").or_insert_with(|| json!({}));
        annotations[ANNOTATION] = text.into();
    }
}

pub fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let Some(object) = object else { return Ok(()) };
    let api = &request.target.served.api;
    let checked = match (&*api.gvk.group, &*api.plural, request.operation) {
        ("", "pods", Operation::Create) => request.target.subresource.is_empty(),
        ("", "pods", Operation::Update) => request.target.subresource == "resize",
        ("", "persistentvolumeclaims", Operation::Create | Operation::Update) => {
            request.target.subresource.is_empty()
        }
        _ => false,
    };
    if !checked {
        return Ok(());
    }
    let mut problems = Vec::new();
    for limit in limits(request) {
        let bounds = Bounds::of(&limit);
        match &*api.plural {
            "pods" => bounds.check_pod(object, &mut problems),
            _ => bounds.check_claim(object, &mut problems),
        }
    }
    problems.dedup();
    match &problems[..] {
        [] => Ok(()),
        [one] => Err(request.forbid(object, one)),
        many => Err(request.forbid(object, format!("[{}]", many.join(", ")))),
    }
}

struct Bounds<'a> {
    kind: &'a str,
    min: Amounts,
    max: Amounts,
    ratio: Amounts,
}

impl Bounds<'_> {
    fn of(limit: &Value) -> Bounds<'_> {
        Bounds {
            kind: text(&limit["type"]),
            min: Amounts::of(&limit["min"]),
            max: Amounts::of(&limit["max"]),
            ratio: Amounts::of(&limit["maxLimitRequestRatio"]),
        }
    }

    fn check_pod(&self, pod: &Value, out: &mut Vec<String>) {
        let spec = &pod["spec"];
        match self.kind {
            "Container" => {
                for container in LISTS.iter().flat_map(|(list, _)| items(&spec[*list])) {
                    let resources = &container["resources"];
                    self.check(&Amounts::of(&resources["requests"]), &Amounts::of(&resources["limits"]), out);
                }
            }
            "Pod" => {
                self.check(&pod_amounts(spec, PodPart::Requests), &pod_amounts(spec, PodPart::Limits), out)
            }
            _ => {}
        }
    }

    fn check_claim(&self, claim: &Value, out: &mut Vec<String>) {
        if self.kind != "PersistentVolumeClaim" {
            return;
        }
        let requests = Amounts::of(&claim["spec"]["resources"]["requests"]);
        for (name, least) in self.min.iter() {
            out.extend(self.too_little(name, least, &requests, &Amounts::default()));
        }
        for (name, most) in self.max.iter() {
            let head = format!("maximum {name} usage per {} is {most}", self.kind);
            match requests.get(name) {
                None => out.push(format!("{head}.  No request is specified")),
                Some(request) if request > most => out.push(format!("{head}, but request is {request}")),
                _ => {}
            }
        }
    }

    fn check(&self, requests: &Amounts, limits: &Amounts, out: &mut Vec<String>) {
        for (name, least) in self.min.iter() {
            out.extend(self.too_little(name, least, requests, limits));
        }
        for (name, most) in self.max.iter() {
            let head = format!("maximum {name} usage per {} is {most}", self.kind);
            match (limits.get(name), requests.get(name)) {
                (None, _) => out.push(format!("{head}.  No limit is specified")),
                (Some(limit), _) if limit > most => out.push(format!("{head}, but limit is {limit}")),
                (_, Some(request)) if request > most => out.push(format!("{head}, but request is {request}")),
                _ => {}
            }
        }
        for (name, most) in self.ratio.iter() {
            out.extend(self.too_far(name, most, requests.get(name), limits.get(name)));
        }
    }

    fn too_little(
        &self,
        name: &str,
        least: Quantity,
        requests: &Amounts,
        limits: &Amounts,
    ) -> Option<String> {
        let head = format!("minimum {name} usage per {} is {least}", self.kind);
        match (requests.get(name), limits.get(name)) {
            (None, _) => Some(format!("{head}.  No request is specified")),
            (Some(request), _) if request < least => Some(format!("{head}, but request is {request}")),
            (_, Some(limit)) if limit < least => Some(format!("{head}, but limit is {limit}")),
            _ => None,
        }
    }

    fn too_far(
        &self,
        name: &str,
        most: Quantity,
        request: Option<Quantity>,
        limit: Option<Quantity>,
    ) -> Option<String> {
        let head = format!("{name} max limit to request ratio per {} is {most}", self.kind);
        let Some(request) = request.filter(|own| !own.is_zero()) else {
            return Some(format!("{head}, but no request is specified or request is 0"));
        };
        let Some(limit) = limit.filter(|own| !own.is_zero()) else {
            return Some(format!("{head}, but no limit is specified or limit is 0"));
        };
        let ratio = limit.nanos() as f64 / request.nanos() as f64;
        let allowed = most.nanos() as f64 / Quantity::whole(1).nanos() as f64;
        (ratio > allowed).then(|| format!("{head}, but provided ratio is {ratio:.6}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_get_the_defaults_that_they_lack() {
        let mut pod = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "2", "memory": "2Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}}],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}],
        }});
        let limit = json!({"type": "Container", "default": {"memory": "1Gi", "cpu": "1"}, "defaultRequest": {"cpu": "100m"}});
        fill(&mut pod, &limit);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi", "cpu": "1"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; cpu, memory limit for init container i"
        );
    }

    #[test]
    fn bounds_speak_as_stock_does() {
        let asks = |requests: Value, limits: Value| json!({"spec": {"containers": [{"name": "a", "resources": {"requests": requests, "limits": limits}}]}});
        let limit = |kind: &str, field: &str, amount: &str| json!({"type": kind, field: {"cpu": amount}});
        for (limit, pod, expected) in [
            (
                limit("Container", "min", "100m"),
                asks(json!({}), json!({})),
                "minimum cpu usage per Container is 100m.  No request is specified",
            ),
            (
                limit("Container", "min", "100m"),
                asks(json!({"cpu": "50m"}), json!({})),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (
                limit("Container", "max", "1"),
                asks(json!({"cpu": "50m"}), json!({})),
                "maximum cpu usage per Container is 1.  No limit is specified",
            ),
            (
                limit("Container", "max", "1"),
                asks(json!({}), json!({"cpu": "2"})),
                "maximum cpu usage per Container is 1, but limit is 2",
            ),
            (limit("Container", "max", "1"), asks(json!({}), json!({"cpu": "1000m"})), ""),
            (
                limit("Pod", "max", "1"),
                asks(json!({"cpu": "2"}), json!({"cpu": "1"})),
                "maximum cpu usage per Pod is 1, but request is 2",
            ),
            (
                limit("Container", "maxLimitRequestRatio", "2"),
                asks(json!({"cpu": "500m"}), json!({"cpu": "2"})),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
            ),
            (
                limit("Container", "maxLimitRequestRatio", "2"),
                asks(json!({}), json!({"cpu": "2"})),
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
            (
                limit("Container", "maxLimitRequestRatio", "1500m"),
                asks(json!({"cpu": "1"}), json!({"cpu": "1500m"})),
                "",
            ),
        ] {
            let mut found = Vec::new();
            Bounds::of(&limit).check_pod(&pod, &mut found);
            assert_eq!(found.join("|"), expected, "{limit} {pod}");
        }
        let claim = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
        let bounds =
            json!({"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}, "min": {"storage": "4Gi"}});
        let mut found = Vec::new();
        Bounds::of(&bounds).check_claim(&claim, &mut found);
        assert_eq!(
            found,
            [
                "minimum storage usage per PersistentVolumeClaim is 4Gi, but request is 3Gi",
                "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi",
            ]
        );
    }
}
