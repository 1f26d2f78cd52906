//! Conversion webhooks: another version of custom resources, as their owner makes it.
//!
//! Kept true: of the metadata only labels and annotations may change; kind, name, namespace and uid stay.
//! Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#webhook-conversion and
//! https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/conversion/webhook_converter.go

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    metadata::validate_labels,
    object::strings,
    outbound::{Hook, Outbound},
    status::{Status, quote},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const REVIEW: (&str, &str) = ("apiextensions.k8s.io/v1", "ConversionReview");

/// Who converts the objects of a definition.
pub struct Conversion {
    hook: Hook,
    speaks_v1: bool,
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
            speaks_v1: strings(&webhook["conversionReviewVersions"]).contains(&"v1"),
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
        let converted = self.ask(&others, wanted).await.map_err(|why| failed(format!("failed: {why}")))?;
        if converted.len() != others.len() {
            let (got, expected) = (converted.len(), others.len());
            return Err(failed(format!("returned {got} objects, expected {expected}")));
        }
        let mut converted = converted.into_iter().enumerate();
        let mut out = Vec::with_capacity(objects.len());
        for object in objects {
            let next = if object["apiVersion"] == wanted { None } else { converted.next() };
            out.push(match next {
                None => object,
                Some((at, next)) => accept(&object, next, wanted, at).map_err(&failed)?,
            });
        }
        Ok(out)
    }

    async fn ask(&self, objects: &[&Value], wanted: &str) -> Result<Vec<Value>, String> {
        if !self.speaks_v1 {
            return Err("it accepts no known version of ConversionReview (v1)".into());
        }
        let uid = uuid::Uuid::new_v4().to_string();
        let question = json!({
            "kind": REVIEW.1,
            "apiVersion": REVIEW.0,
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
        });
        let mut review = self.outbound.post(&self.hook, TIMEOUT, &question).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if review["apiVersion"] != REVIEW.0 || review["kind"] != REVIEW.1 {
            let (version, kind) = (text(&review["apiVersion"]), text(&review["kind"]));
            return Err(format!(
                "expected webhook response of {}, Kind={}, got {version}, Kind={kind}",
                REVIEW.0, REVIEW.1
            ));
        }
        let response = &mut review["response"];
        if !response.is_object() {
            return Err("no response provided".into());
        }
        let own = text(&response["uid"]);
        if own != uid {
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
fn accept(original: &Value, mut converted: Value, wanted: &str, at: usize) -> Result<Value, String> {
    let invalid = |why: String| format!("returned invalid converted object at index {at}: {why}");
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let version = text(&converted, "apiVersion");
    if version != wanted {
        return Err(invalid(format!("invalid groupVersion (expected {wanted}, received {version})")));
    }
    let same = |what: &str, own: String, other: String| {
        if own == other {
            Ok(())
        } else {
            Err(invalid(format!("must have the same {what}: {own} != {other}")))
        }
    };
    same("kind", text(original, "kind"), text(&converted, "kind"))?;
    for (what, field) in [("name", "name"), ("namespace", "namespace"), ("UID", "uid")] {
        same(what, text(&original["metadata"], field), text(&converted["metadata"], field))?;
    }
    let metadata = metadata(&original["metadata"], &converted["metadata"])
        .map_err(|why| format!("returned invalid metadata in object at index {at}: {why}"))?;
    converted["metadata"] = metadata.into();
    Ok(converted)
}

fn metadata(original: &Value, converted: &Value) -> Result<Map<String, Value>, String> {
    let Some(given) = converted.as_object() else {
        return Err("missing metadata in converted object".into());
    };
    let mut out = original.as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match given.get(field) {
            None | Some(Value::Null) => drop(out.shift_remove(field)),
            Some(Value::Object(entries)) if entries.values().all(Value::is_string) => {
                let mut causes = Vec::new();
                if field == "labels" {
                    causes = validate_labels(&given[field], "metadata.labels");
                }
                if let Some(cause) = causes.first() {
                    return Err(format!("invalid metadata.{field} in converted object: {cause}"));
                }
                out.insert(field.into(), given[field].clone());
            }
            Some(_) => {
                return Err(format!("invalid metadata.{field} in converted object: not a map of strings"));
            }
        }
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
            accept(&original, good, "x/v2", 0).expect("accepted"),
            with(json!({"name": "n", "uid": "u", "finalizers": ["f"], "annotations": {"k": "v"}}))
        );
        for (object, why) in [
            (
                with(json!({"name": "m", "uid": "u"})),
                "returned invalid converted object at index 0: must have the same name: n != m",
            ),
            (
                json!({"kind": "A", "apiVersion": "x/v3", "metadata": {}}),
                "returned invalid converted object at index 0: invalid groupVersion (expected x/v2, received x/v3)",
            ),
            (
                with(json!({"name": "n", "uid": "u", "labels": {"a": 1}})),
                "returned invalid metadata in object at index 0: invalid metadata.labels in converted object: not a map of strings",
            ),
        ] {
            assert_eq!(accept(&original, object, "x/v2", 0).expect_err("refused"), why);
        }
    }
}
