//! Which account a Secret wants a token of.
//!
//! Reads: type and annotations alone, so that the data of other Secrets are not decoded.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use serde::Deserialize;

pub const TYPE: &str = "kubernetes.io/service-account-token";
pub const NAME: &str = "kubernetes.io/service-account.name";
pub const UID: &str = "kubernetes.io/service-account.uid";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub account: Arc<str>,
    /// Empty: whichever account has the name.
    pub uid: Arc<str>,
}

#[derive(Deserialize)]
struct Brief {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    metadata: BriefMeta,
}

#[derive(Default, Deserialize)]
struct BriefMeta {
    annotations: Option<BTreeMap<String, String>>,
}

impl Claim {
    /// `None` for Secrets of other types.
    pub fn read(json: &[u8]) -> Option<Claim> {
        let brief: Brief = serde_json::from_slice(json).ok()?;
        Claim::new(&brief.kind, brief.metadata.annotations.as_ref())
    }

    pub fn of(secret: &Secret) -> Option<Claim> {
        Claim::new(secret.type_.as_deref().unwrap_or_default(), secret.metadata.annotations.as_ref())
    }

    fn new(kind: &str, annotations: Option<&BTreeMap<String, String>>) -> Option<Claim> {
        let text = |key: &str| annotations.and_then(|map| map.get(key)).map_or("", String::as_str);
        (kind == TYPE).then(|| Claim { account: text(NAME).into(), uid: text(UID).into() })
    }

    pub fn means(&self, account: &ServiceAccount) -> bool {
        self.uid.is_empty() || account.metadata.uid.as_deref() == Some(&self.uid)
    }
}
