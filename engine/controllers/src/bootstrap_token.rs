//! When bootstrap tokens end: Secrets of `kube-system` with a type of their own.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#bootstrap-token-secret-format

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

pub const NAMESPACE: &str = "kube-system";
pub const TYPE: &str = "bootstrap.kubernetes.io/token";

/// When a token ends; one whose time cannot be read has ended. `None`: never, or it is no token.
pub fn end(secret: &Secret) -> Option<Timestamp> {
    if secret.type_.as_deref() != Some(TYPE) {
        return None;
    }
    let text = std::str::from_utf8(&secret.data.as_ref()?.get("expiration")?.0).unwrap_or("unreadable");
    let time = |(seconds, _)| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    (!text.is_empty()).then(|| coracle_schema::parse_time(text).map_or(Timestamp::MIN, time))
}

/// Seconds until then; `None` once it is past.
pub fn left(end: Timestamp, now: Timestamp) -> Option<u64> {
    u64::try_from(end.as_second().saturating_sub(now.as_second())).ok().filter(|left| *left > 0)
}

#[cfg(test)]
mod tests {
    use coracle_kinds::Kind;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_tokens_with_a_time_end() {
        let secret = |kind: &str, expiration: &str| {
            let data = json!({"expiration": k8s_openapi::ByteString(expiration.as_bytes().to_vec())});
            Secret::from_value(&json!({"metadata": {}, "type": kind, "data": data})).unwrap()
        };
        assert_eq!(end(&secret(TYPE, "1970-01-01T00:00:01Z")), Timestamp::from_second(1).ok());
        assert_eq!(end(&secret(TYPE, "soon")), Some(Timestamp::MIN));
        assert_eq!(end(&secret(TYPE, "9999-12-31T23:59:59Z")), Some(Timestamp::MAX));
        assert_eq!(end(&secret(TYPE, "")), None);
        assert_eq!(end(&secret("Opaque", "1970-01-01T00:00:01Z")), None);
    }
}
