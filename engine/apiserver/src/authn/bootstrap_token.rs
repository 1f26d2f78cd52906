//! Bootstrap tokens: Secrets in `kube-system` with which a new node introduces itself.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_store::Reader;
use jiff::Timestamp;
use serde_json::Value;

use super::{AUTHENTICATED, tokens::find};
use crate::types::UserInfo;

const GROUP: &str = "system:bootstrappers";

/// `ID.SECRET`, both of fixed length.
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

/// Who holds the token; `None` when there is no such token, it ran out, or it is not for authentication.
pub fn user(reader: &Reader, id: &str, secret: &str) -> Option<UserInfo> {
    let object = find(reader, "secrets", "kube-system", &format!("bootstrap-token-{id}"))?;
    if object.meta.deletion_timestamp.is_some() {
        return None;
    }
    let stored: Value = serde_json::from_slice(&object.json).ok()?;
    judge(&stored, id, secret, Timestamp::now())
}

fn judge(stored: &Value, id: &str, secret: &str, now: Timestamp) -> Option<UserInfo> {
    let field = |key: &str| -> String {
        let bytes = STANDARD.decode(stored["data"][key].as_str().unwrap_or_default()).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    };
    let expiration = field("expiration");
    let holds = expiration.is_empty()
        || coracle_schema::parse_time(&expiration).is_some_and(|(end, _)| now.as_second() < end);
    let good = stored["type"] == "bootstrap.kubernetes.io/token"
        && same(&field("token-secret"), secret)
        && field("token-id") == id
        && holds
        && field("usage-bootstrap-authentication") == "true";
    if !good {
        return None;
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in field("auth-extra-groups").split(',').filter(|group| !group.is_empty()) {
        // One wrong group spoils the token, as on a stock server.
        is_bootstrap_group(group).then_some(())?;
        groups.push(group.to_owned());
    }
    groups.push(AUTHENTICATED.into());
    Some(UserInfo { name: format!("system:bootstrap:{id}"), groups, ..UserInfo::default() })
}

/// Takes as long whatever differs.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn is_bootstrap_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    rest.len() <= 256
        && rest.bytes().all(|byte| plain(byte) || byte == b':' || byte == b'-')
        && rest.bytes().last().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_good_for_its_time_and_use() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let base = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2026-01-02T00:00:00Z"),
            ("auth-extra-groups", "system:bootstrappers:a"),
        ];
        let judged = |key: &str, value: &str| {
            let mut data: Value = base
                .iter()
                .map(|(key, value)| (key.to_string(), Value::from(STANDARD.encode(value))))
                .collect();
            data[key] = STANDARD.encode(value).into();
            let stored = json!({"type": "bootstrap.kubernetes.io/token", "data": data});
            judge(&stored, "abcdef", "0123456789abcdef", now)
        };
        let user = judged("description", "").unwrap();
        assert_eq!(user.name, "system:bootstrap:abcdef");
        assert_eq!(user.groups, ["system:bootstrappers", "system:bootstrappers:a", "system:authenticated"]);
        for (key, value) in [
            ("token-secret", "0123456789abcdeX"),
            ("token-id", "other1"),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "2025-12-31T00:00:00Z"),
            ("expiration", "soon"),
            ("auth-extra-groups", "system:masters"),
        ] {
            assert_eq!(judged(key, value), None, "{key} {value}");
        }
        assert_eq!(parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for wrong in ["abcdef0123456789abcdef", "ABCDEF.0123456789abcdef", "a.b", "abcdef.0123456789abcde"] {
            assert_eq!(parse(wrong), None);
        }
    }
}
