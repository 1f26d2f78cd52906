//! ConfigMap: keys that can be file names, at most 1 MiB, immutable when it says so.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateConfigMap`)

use serde_json::Value;

use super::secret::{validate_immutable, validate_keys};
use crate::{
    status::Cause,
    strategy::{Context, Strategy},
};

const MAX_BYTES: usize = 1024 * 1024;

pub struct ConfigMap;

impl Strategy for ConfigMap {
    fn validate(&self, _context: Context<'_>, map: &Value) -> Vec<Cause> {
        let mut causes = validate_keys(map, "data");
        causes.extend(validate_keys(map, "binaryData"));
        let in_both = map["binaryData"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| map["data"].get(*key).is_some());
        for (key, _) in in_both {
            causes.push(Cause::invalid(
                format!("data[{key}]"),
                key.as_str(),
                "duplicate of key present in binaryData",
            ));
        }
        let size = |field: &str| -> usize {
            let values = map[field].as_object().into_iter().flatten();
            values.map(|(_, value)| value.as_str().map_or(0, str::len)).sum()
        };
        if size("data") + size("binaryData") / 4 * 3 > MAX_BYTES {
            causes.push(Cause::too_long("", MAX_BYTES));
        }
        causes
    }

    fn validate_update(&self, context: Context<'_>, map: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = validate_immutable(map, old, &["data", "binaryData"]);
        causes.extend(self.validate(context, map));
        causes
    }
}
