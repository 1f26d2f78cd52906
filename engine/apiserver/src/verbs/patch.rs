//! Patch: JSON patch, JSON merge patch, strategic merge patch over the current object.
//!
//! Writes: one object, as update does; tried again when another write came first.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/patch.go

use coracle_schema::{DecodeError, PatchError, Schema, Syntax, go_print, json_merge_patch, json_patch};
use serde_json::Value;

use super::{
    Outcome, Target, WriteOptions,
    update::{Changed, modify},
};
use crate::{
    decode::{Decoded, strict_error},
    options::FieldValidation,
    status::{Cause, GroupResource, Status, StatusDetails},
    types::{State, UserInfo},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// Of one JSON patch, as on a stock server.
const MAX_OPERATIONS: usize = 10_000;

/// What `Content-Type` may say of a patch.
pub const ACCEPTED: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

impl PatchType {
    pub fn parse(content_type: Option<&str>) -> Result<PatchType, Status> {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match media_type {
            "application/json-patch+json" => Ok(PatchType::Json),
            "application/merge-patch+json" => Ok(PatchType::Merge),
            "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
            "application/apply-patch+yaml" => Ok(PatchType::Apply),
            _ => Err(Status::unsupported_media_type(&ACCEPTED)),
        }
    }
}

/// The body as JSON, refused with the stock text when it is none or of the wrong shape.
pub fn parse_body(kind: PatchType, bytes: &[u8]) -> Result<(Value, Syntax), Status> {
    if kind == PatchType::Apply {
        return super::apply::parse(bytes);
    }
    let (patch, syntax) = coracle_schema::parse_json(bytes)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    match (kind, &patch) {
        (PatchType::Json, Value::Array(operations)) if operations.len() > MAX_OPERATIONS => {
            let text = format!(
                "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                operations.len()
            );
            Err(Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: {text}")))
        }
        (PatchType::Json, Value::Array(_)) => {
            let syntax = syntax.of_json_patch(&patch);
            Ok((patch, syntax))
        }
        (PatchType::Merge | PatchType::Strategic, Value::Object(_)) => Ok((patch, syntax.of_patch())),
        (PatchType::Json, _) => Err(Status::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        )),
        (_, Value::Array(_)) => Err(Status::bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        )),
        _ => Err(Status::bad_request("error decoding patch: expected an object")),
    }
}

/// What is patched: an object of a kind.
#[derive(Clone, Copy)]
pub struct Patched<'a> {
    pub schema: &'a Schema,
    /// In the URL.
    pub name: &'a str,
}

impl Patched<'_> {
    /// `current` with the patch applied: an object of its kind, under its name.
    pub fn by(
        self,
        kind: PatchType,
        (patch, syntax): &(Value, Syntax),
        current: &Value,
        options: &WriteOptions,
    ) -> Result<Decoded, Status> {
        let mut value = current.clone();
        self.apply(kind, patch, &mut value)?;
        let unknown =
            self.schema.prune(&mut value).map_err(|error| self.wrong_type(kind, patch, current, &error))?;
        if options.field_validation == FieldValidation::Strict
            && let Some(error) = strict_error(syntax, &unknown, self.schema.is_custom())
        {
            return Err(self.wrong_type(kind, patch, current, &DecodeError::Type(error)));
        }
        // A stock server merges into a value of the kind's own Go type: what the patch says of its kind is lost.
        if kind == PatchType::Strategic {
            for field in ["kind", "apiVersion"] {
                value[field] = current[field].clone();
            }
        }
        if value["metadata"]["name"] != current["metadata"]["name"] {
            return Err(Status::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                value["metadata"]["name"].as_str().unwrap_or_default(),
                self.name
            )));
        }
        Ok(Decoded { value, syntax: syntax.clone(), unknown })
    }

    /// In place.
    fn apply(self, kind: PatchType, patch: &Value, object: &mut Value) -> Result<(), Status> {
        let result = match kind {
            PatchType::Json => json_patch(object, patch),
            PatchType::Merge | PatchType::Apply => {
                json_merge_patch(object, patch);
                Ok(())
            }
            PatchType::Strategic if self.schema.is_custom() => {
                return Err(Status::unsupported_media_type(&[ACCEPTED[0], ACCEPTED[1], ACCEPTED[3]]));
            }
            PatchType::Strategic => self.schema.strategic_merge(object, patch),
        };
        result.map_err(|error| match error {
            PatchError::Invalid(text) => Status::bad_request(text),
            PatchError::NoMergeKey(text) => Status::new(500, "", text),
            // Clients compare the stock text whole: the cause stands in the log.
            PatchError::NotApplicable(text) | PatchError::TestFailed(text) => {
                tracing::debug!(text, "patch does not apply");
                Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
                    .with_details(StatusDetails::default())
            }
        })
    }

    /// What the patch makes of the object is no object of its kind. Shown is what a stock server shows: the patched
    /// object, or the patch where it was merged strategically.
    fn wrong_type(self, kind: PatchType, patch: &Value, current: &Value, error: &DecodeError) -> Status {
        let (shown, why) = if kind == PatchType::Strategic {
            (go_print(patch), error.converted())
        } else {
            let mut patched = current.clone();
            let _ = self.apply(kind, patch, &mut patched);
            // Without a type of its own in Go, the fields have no order but that of their names.
            if self.schema.is_custom() {
                patched.sort_all_objects();
            }
            (patched.to_string(), error.to_string())
        };
        Status::invalid(GroupResource::new("", ""), "", vec![Cause::invalid("patch", shown, &why)])
    }
}

pub async fn patch(
    state: &State,
    user: &UserInfo,
    target: &Target,
    kind: PatchType,
    parsed: &(Value, Syntax),
    options: &WriteOptions,
) -> Result<Outcome, Status> {
    if kind == PatchType::Apply {
        let (config, syntax) = parsed;
        return super::apply::apply(state, user, target, config.clone(), syntax.lines(), options).await;
    }
    let schema = target.served.schema.as_ref().ok_or_else(Status::unknown_path)?;
    let patched = Patched { schema, name: &target.name };
    modify(state, user, target, options, |current| {
        patched.by(kind, parsed, current, options).map(Changed::Patched)
    })
    .await
}
