//! The opaque token that continues a list: the revision it is exact at and the key it continues after.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/storage/continue.go

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::status::Status;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContinueToken {
    /// None: whatever is current (the list is no longer exact at one revision).
    pub revision: Option<u64>,
    /// The last object that was listed.
    pub namespace: String,
    pub name: String,
    /// How many objects of that revision come after it, where that is known.
    pub remaining: Option<usize>,
}

impl ContinueToken {
    pub fn encode(&self) -> String {
        let revision = self.revision.map_or(-1, |revision| revision as i64);
        let start = format!("{}/{}\u{0}", self.namespace, self.name);
        let mut token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start});
        if let Some(remaining) = self.remaining {
            token["left"] = remaining.into();
        }
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    pub fn decode(token: &str) -> Result<ContinueToken, Status> {
        let invalid = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|error| invalid(&error.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if value["v"] != "meta.k8s.io/v1" {
            return Err(invalid("server does not recognize this encoded version"));
        }
        let start = value["start"].as_str().unwrap_or_default().trim_end_matches('\0');
        let (namespace, name) = start.split_once('/').ok_or_else(|| invalid("encoded start key is empty"))?;
        let revision = match value["rv"].as_i64() {
            Some(0) | None => {
                return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
            }
            Some(-1) => None,
            Some(revision) => Some(revision as u64),
        };
        let remaining = value["left"].as_u64().and_then(|left| usize::try_from(left).ok());
        Ok(ContinueToken { revision, namespace: namespace.into(), name: name.into(), remaining })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_their_encoding() {
        for (revision, namespace, name, remaining) in [(Some(7), "ns", "a", Some(3)), (None, "", "b", None)] {
            let token = ContinueToken { revision, namespace: namespace.into(), name: name.into(), remaining };
            assert_eq!(ContinueToken::decode(&token.encode()).expect("decodes"), token);
        }
        assert!(ContinueToken::decode("%%%").is_err());
    }
}
