//! The opaque token that continues a list: the revision it is exact at and the key it continues after.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/storage/continue.go

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};
use serde_json::json;

use crate::status::Status;

const VERSION: &str = "meta.k8s.io/v1";
/// As Go reads it: what the last character says beyond the last byte does not count.
const LENIENT: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

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
        let mut token = json!({"v": VERSION, "rv": revision, "start": start});
        if let Some(remaining) = self.remaining {
            token["left"] = remaining.into();
        }
        LENIENT.encode(token.to_string())
    }

    pub fn decode(token: &str) -> Result<ContinueToken, Status> {
        let invalid = |why: &str| {
            Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let Ok(bytes) = LENIENT.decode(token) else {
            let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let at = token.bytes().position(|byte| !is_digit(byte)).unwrap_or(token.len() - 1);
            return Err(invalid(&format!("illegal base64 data at input byte {at}")));
        };
        let (value, _) = coracle_schema::parse_json(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if value["v"] != VERSION {
            let given = value["v"].as_str().unwrap_or_default();
            return Err(invalid(&format!("server does not recognize this encoded version {given}")));
        }
        let revision = match value["rv"].as_i64() {
            Some(0) | None => {
                return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
            }
            Some(-1) => None,
            Some(revision) => Some(revision as u64),
        };
        let given = value["start"].as_str().unwrap_or_default();
        if given.is_empty() {
            return Err(invalid("encoded start key empty (version meta.k8s.io/v1)"));
        }
        let Some((namespace, name)) = given.trim_end_matches('\0').split_once('/') else {
            return Err(invalid(given));
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
    }

    #[test]
    fn what_is_no_token_is_refused_with_the_stock_text() {
        let encoded = |token: serde_json::Value| LENIENT.encode(token.to_string());
        for (token, why) in [
            ("%%%".into(), "illegal base64 data at input byte 0"),
            ("abcde".into(), "illegal base64 data at input byte 4"),
            ("abc".into(), "invalid character 'i' looking for beginning of value"),
            ("xx".into(), "invalid character '\u{c7}' looking for beginning of value"),
            (encoded(json!({"v": "v9"})), "server does not recognize this encoded version v9"),
            (
                encoded(json!({"v": VERSION, "start": "a/b"})),
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (encoded(json!({"v": VERSION, "rv": 1})), "encoded start key empty (version meta.k8s.io/v1)"),
        ] {
            let error = ContinueToken::decode(&token).expect_err(&token);
            assert_eq!(error.message, format!("invalid continue token: continue key is not valid: {why}"));
        }
    }
}
