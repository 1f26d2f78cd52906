//! What a token Secret lacks, and what an account lists. Pure.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/serviceaccount/tokens_controller.go
//!         (`generateTokenIfNeeded`, `removeSecretReference`)

use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
};

use super::claim::{NAME, UID};

const CA: &str = "ca.crt";
const NAMESPACE: &str = "namespace";
const TOKEN: &str = "token";

#[derive(Debug, PartialEq)]
pub enum Plan {
    Keep,
    Fill { secret: Box<Secret>, needs_token: bool },
}

/// A token or namespace that is there stays, whatever it is; the certificate is always the cluster's.
pub fn plan(secret: &Secret, account: &ServiceAccount, ca_pem: &str) -> Plan {
    let held = |key: &str| {
        secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |value| value.0.as_slice())
    };
    let needs_ca = held(CA) != ca_pem.as_bytes();
    let needs_namespace = held(NAMESPACE).is_empty();
    let needs_token = held(TOKEN).is_empty();
    if !needs_ca && !needs_namespace && !needs_token {
        return Plan::Keep;
    }
    let mut next = secret.clone();
    let data = next.data.get_or_insert_default();
    let mut put = |key: &str, value: &str| data.insert(key.into(), ByteString(value.as_bytes().to_vec()));
    if needs_ca {
        put(CA, ca_pem);
    }
    if needs_namespace {
        put(NAMESPACE, secret.metadata.namespace.as_deref().unwrap_or_default());
    }
    let annotations = next.metadata.annotations.get_or_insert_default();
    annotations.insert(NAME.into(), account.metadata.name.clone().unwrap_or_default());
    annotations.insert(UID.into(), account.metadata.uid.clone().unwrap_or_default());
    Plan::Fill { secret: Box::new(next), needs_token }
}

/// The account without the Secret in its list; `None` when it is not there.
pub fn without(account: &ServiceAccount, secret: &str) -> Option<ServiceAccount> {
    let listed = account.secrets.as_ref()?;
    let left: Vec<_> =
        listed.iter().filter(|reference| reference.name.as_deref() != Some(secret)).cloned().collect();
    let changed = left.len() < listed.len();
    changed.then(|| ServiceAccount { secrets: (!left.is_empty()).then_some(left), ..account.clone() })
}

#[cfg(test)]
mod tests {
    use coracle_kinds::Kind;
    use serde_json::{Value, json};

    use super::*;

    fn account(secrets: Value) -> ServiceAccount {
        let value = json!({"metadata": {"name": "app", "uid": "u1"}, "secrets": secrets});
        ServiceAccount::from_value(&value).unwrap()
    }

    #[test]
    fn what_is_missing_is_added_and_a_token_that_is_there_stays() {
        let encoded = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
        let all = json!({"ca.crt": encoded("CA"), "namespace": encoded("dev"), "token": encoded("t")});
        for (data, fills, needs_token) in [
            (json!(null), true, true),
            (all.clone(), false, false),
            (json!({"token": encoded("t")}), true, false),
            (
                json!({"ca.crt": encoded("old"), "namespace": encoded("x"), "token": encoded("t")}),
                true,
                false,
            ),
            (json!({"ca.crt": encoded("CA"), "namespace": encoded("dev"), "token": ""}), true, true),
        ] {
            let metadata =
                json!({"name": "s", "namespace": "dev", "annotations": {NAME: "app", "other": "kept"}});
            let secret = Secret::from_value(&json!({"metadata": metadata, "data": data})).unwrap();
            let Plan::Fill { secret, needs_token: needs } = plan(&secret, &account(json!(null)), "CA") else {
                assert!(!fills, "{data}");
                continue;
            };
            assert!(fills, "{data}");
            assert_eq!(needs, needs_token, "{data}");
            let held = secret.data.unwrap();
            assert_eq!(held["ca.crt"].0, b"CA");
            assert!(!held["namespace"].0.is_empty());
            let annotations = secret.metadata.annotations.unwrap();
            assert_eq!((&*annotations[UID], &*annotations["other"]), ("u1", "kept"));
        }
    }

    #[test]
    fn an_account_forgets_the_secret_that_is_gone_alone() {
        let both = account(json!([{"name": "s"}, {"name": "other"}]));
        assert_eq!(without(&both, "s"), Some(account(json!([{"name": "other"}]))));
        assert_eq!(without(&account(json!([{"name": "s"}])), "s"), Some(account(json!(null))));
        assert_eq!(without(&both, "x"), None);
        assert_eq!(without(&account(json!(null)), "s"), None);
    }
}
