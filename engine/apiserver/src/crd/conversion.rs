//! Conversion webhooks: another version of custom resources, as their owner makes it.
//!
//! Kept true: of the metadata only labels and annotations may change; kind, name, namespace and uid stay.
//! Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#webhook-conversion and
//! https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/conversion/webhook_converter.go

use std::{sync::Arc, time::Duration};

use coracle_schema::{go_type, whole_numbers};
use serde_json::{Map, Value, json};

use crate::{
    metadata::{validate_annotations, validate_labels},
    outbound::{Hook, Outbound, review_version},
    status::{Status, quote},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const KIND: &str = "ConversionReview";

/// Who converts the objects of a definition.
pub struct Conversion {
    hook: Hook,
    /// The first of `conversionReviewVersions` that this server knows.
    version: Option<&'static str>,
    outbound: Arc<Outbound>,
}

impl Conversion {
    /// None with `strategy: None`.
    pub fn of(definition: &Value, outbound: &Arc<Outbound>) -> Option<Arc<Conversion>> {
        let conversion = &definition["spec"]["conversion"];
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let webhook = &conversion["webhook"];
        Some(Arc::new(Conversion {
            hook: Hook::of(&webhook["clientConfig"]),
            version: review_version(&webhook["conversionReviewVersions"]),
            outbound: outbound.clone(),
        }))
    }

    /// Every object in the wanted version, in the same order. Those that are in it already are not sent.
    pub async fn convert(&self, objects: Vec<Value>, wanted: &str) -> Result<Vec<Value>, Status> {
        let others: Vec<&Value> = objects.iter().filter(|object| object["apiVersion"] != wanted).collect();
        let Some(first) = others.first() else { return Ok(objects) };
        let who = format!(
            "conversion webhook for {}, Kind={}",
            first["apiVersion"].as_str().unwrap_or_default(),
            first["kind"].as_str().unwrap_or_default()
        );
        let failed = |why: String| Status::new(500, "", format!("{who} {why}"));
        let version = self.version;
        let version =
            version.ok_or_else(|| Status::new(500, "", "no supported conversion review versions"))?;
        let converted =
            self.ask(version, &others, wanted).await.map_err(|why| failed(format!("failed: {why}")))?;
        if converted.len() != others.len() {
            let (got, expected) = (converted.len(), others.len());
            return Err(failed(format!("returned {got} objects, expected {expected}")));
        }
        let mut converted = converted.into_iter();
        let mut out = Vec::with_capacity(objects.len());
        for object in objects {
            let next = if object["apiVersion"] == wanted { None } else { converted.next() };
            out.push(match next {
                None => object,
                Some(next) => accept(&object, next, wanted).map_err(&failed)?,
            });
        }
        Ok(out)
    }

    async fn ask(&self, version: &str, objects: &[&Value], wanted: &str) -> Result<Vec<Value>, String> {
        let review_version = format!("apiextensions.k8s.io/{version}");
        let uid = uuid::Uuid::new_v4().to_string();
        let question = json!({
            "kind": KIND,
            "apiVersion": review_version,
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
        });
        let mut review = self.outbound.post(&self.hook, TIMEOUT, &question).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // The older version never looked at who answers what.
        let is_strict = version == "v1";
        if is_strict && (review["apiVersion"] != review_version || review["kind"] != KIND) {
            let (version, kind) = (text(&review["apiVersion"]), text(&review["kind"]));
            return Err(format!(
                "expected webhook response of {review_version}, Kind={KIND}, got {version}, Kind={kind}"
            ));
        }
        let response = &mut review["response"];
        if !response.is_object() {
            return Err("no response provided".into());
        }
        let own = text(&response["uid"]);
        if is_strict && own != uid {
            return Err(format!("expected response.uid={}, got {}", quote(&uid), quote(&own)));
        }
        let status = text(&response["result"]["status"]);
        if status != "Success" {
            let message = text(&response["result"]["message"]);
            if message.is_empty() {
                return Err(format!("response.result.status was '{status}', not 'Success'"));
            }
            return Err(message);
        }
        match response["convertedObjects"].take() {
            Value::Array(objects) => Ok(objects),
            _ => Ok(Vec::new()),
        }
    }
}

/// The converted object with the metadata of the original one, or what is wrong with it.
fn accept(original: &Value, mut converted: Value, wanted: &str) -> Result<Value, String> {
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let kind = text(original, "kind");
    for (what, expected, received) in [
        ("groupVersion", wanted, text(&converted, "apiVersion")),
        ("kind", kind.as_str(), text(&converted, "kind")),
    ] {
        if expected != received {
            return Err(format!(
                "returned invalid object at index 0: invalid {what} (expected {expected}, received {received})"
            ));
        }
    }
    let same = |what: &str, own: String, other: String| {
        if own == other {
            Ok(())
        } else {
            Err(format!("returned invalid object: must have the same {what}: {own} != {other}"))
        }
    };
    for (what, field) in [("name", "name"), ("namespace", "namespace"), ("UID", "uid")] {
        same(what, text(&original["metadata"], field), text(&converted["metadata"], field))?;
    }
    let metadata = metadata(&original["metadata"], &converted["metadata"])
        .map_err(|why| format!("returned invalid metadata: {why}"))?;
    converted["metadata"] = metadata.into();
    whole_numbers(&mut converted);
    Ok(converted)
}

fn metadata(original: &Value, converted: &Value) -> Result<Map<String, Value>, String> {
    let given = match converted {
        Value::Object(given) => given,
        Value::Null => return Err("missing metadata in converted object".into()),
        other => return Err(format!("invalid metadata of type {} in converted object", go_type(other))),
    };
    let mut out = original.as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        let entries = match given.get(field) {
            None | Some(Value::Null) => {
                out.shift_remove(field);
                continue;
            }
            Some(Value::Object(entries)) => entries,
            Some(other) => {
                return Err(format!(
                    "invalid metadata.{field} of type {} in converted object",
                    go_type(other)
                ));
            }
        };
        if let Some((key, value)) = entries.iter().find(|(_, value)| !value.is_string()) {
            let kind = go_type(value);
            return Err(format!(
                "metadata.{field}[{key}] must be a string, but is {kind} in converted object"
            ));
        }
        // What the webhook left as it was is not judged.
        let causes = match (out.get(field) == Some(&given[field]), field) {
            (true, _) => Vec::new(),
            (false, "labels") => validate_labels(&given[field], "metadata.labels"),
            (false, _) => validate_annotations(&given[field], "metadata.annotation"),
        };
        match &causes[..] {
            [] => {}
            [one] => return Err(one.to_string()),
            all => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                return Err(format!("[{}]", all.join(", ")));
            }
        }
        out.insert(field.into(), given[field].clone());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_and_annotations_of_the_metadata_may_change() {
        let original = json!({"kind": "A", "apiVersion": "x/v1", "metadata": {
            "name": "n", "uid": "u", "labels": {"a": "b"}, "finalizers": ["f"]}});
        let with =
            |metadata: Value| json!({"kind": "A", "apiVersion": "x/v2", "metadata": metadata, "spec": 1});
        let good = with(json!({"name": "n", "uid": "u", "annotations": {"k": "v"}, "finalizers": []}));
        assert_eq!(
            accept(&original, good, "x/v2").expect("accepted"),
            with(json!({"name": "n", "uid": "u", "finalizers": ["f"], "annotations": {"k": "v"}}))
        );
        for (object, why) in [
            (
                with(json!({"name": "m", "uid": "u"})),
                "returned invalid object: must have the same name: n != m",
            ),
            (
                json!({"kind": "A", "apiVersion": "x/v3", "metadata": {}}),
                "returned invalid object at index 0: invalid groupVersion (expected x/v2, received x/v3)",
            ),
            (
                with(json!({"name": "n", "uid": "u", "labels": {"a": 1}})),
                "returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object",
            ),
        ] {
            assert_eq!(accept(&original, object, "x/v2").expect_err("refused"), why);
        }
    }
}
