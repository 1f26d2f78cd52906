//! The opaque token that continues a list: the revision it is exact at and the key it continues after.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/storage/continue.go

use base64::{
    DecodeError, Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::json;

use crate::status::Status;

/// As Go's decoder, which passes over the last character's spare bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

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
        BASE64.encode(token.to_string())
    }

    pub fn decode(token: &str) -> Result<ContinueToken, Status> {
        let invalid = |why: &str| {
            Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = BASE64.decode(token).map_err(|error| {
            let at = match error {
                DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
                _ => token.len().saturating_sub(1),
            };
            invalid(&format!("illegal base64 data at input byte {at}"))
        })?;
        let (value, _) = coracle_schema::parse_json(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if value["v"] != "meta.k8s.io/v1" {
            let version = value["v"].as_str().unwrap_or_default();
            return Err(invalid(&format!("server does not recognize this encoded version {version}")));
        }
        let start = value["start"].as_str().unwrap_or_default().trim_end_matches('\0');
        let (namespace, name) = start
            .split_once('/')
            .ok_or_else(|| invalid("encoded start key empty (version meta.k8s.io/v1)"))?;
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
        for (token, why) in [
            ("a%%", "illegal base64 data at input byte 1"),
            ("abcde", "illegal base64 data at input byte 4"),
            ("abc", "invalid character 'i' looking for beginning of value"),
            ("e30", "server does not recognize this encoded version "),
        ] {
            let status = ContinueToken::decode(token).expect_err("is none");
            let head = "invalid continue token: continue key is not valid: ";
            assert_eq!((status.code, status.message.as_str()), (400, format!("{head}{why}").as_str()));
        }
    }
}
