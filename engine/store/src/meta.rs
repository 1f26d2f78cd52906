//! The fields of `metadata` that every reader needs, taken out of the JSON once.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Deserializer};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub uid: Arc<str>,
    /// Sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    pub owner_references: Box<[OwnerReference]>,
    pub finalizers: Box<[Box<str>]>,
    /// RFC 3339, as in the JSON.
    pub deletion_timestamp: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerReference {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Arc<str>,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

impl Meta {
    /// From an object's JSON. Absent and `null` fields are empty.
    pub fn from_json(json: &[u8]) -> Result<Meta, serde_json::Error> {
        serde_json::from_slice::<RawObject>(json).map(Meta::from)
    }

    /// From a decoded object.
    pub fn from_value(value: &serde_json::Value) -> Result<Meta, serde_json::Error> {
        RawObject::deserialize(value).map(Meta::from)
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.labels[at].1)
    }

    /// The owner reference with `controller: true`.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}

#[derive(Deserialize)]
struct RawObject<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    metadata: RawMeta<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawMeta<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    uid: Cow<'a, str>,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<Box<str>, Option<Box<str>>>,
    #[serde(borrow, deserialize_with = "or_default")]
    owner_references: Vec<RawOwner<'a>>,
    #[serde(deserialize_with = "or_default")]
    finalizers: Box<[Box<str>]>,
    deletion_timestamp: Option<Box<str>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawOwner<'a> {
    #[serde(deserialize_with = "or_default")]
    api_version: Box<str>,
    #[serde(deserialize_with = "or_default")]
    kind: Box<str>,
    #[serde(deserialize_with = "or_default")]
    name: Box<str>,
    #[serde(borrow, deserialize_with = "or_default")]
    uid: Cow<'a, str>,
    controller: Option<bool>,
    block_owner_deletion: Option<bool>,
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

impl From<RawObject<'_>> for Meta {
    fn from(raw: RawObject<'_>) -> Meta {
        let raw = raw.metadata;
        Meta {
            uid: raw.uid.as_ref().into(),
            labels: raw.labels.into_iter().map(|(k, v)| (k, v.unwrap_or_default())).collect(),
            owner_references: raw.owner_references.into_iter().map(OwnerReference::from).collect(),
            finalizers: raw.finalizers,
            deletion_timestamp: raw.deletion_timestamp,
        }
    }
}

impl From<RawOwner<'_>> for OwnerReference {
    fn from(raw: RawOwner<'_>) -> OwnerReference {
        OwnerReference {
            api_version: raw.api_version,
            kind: raw.kind,
            name: raw.name,
            uid: raw.uid.as_ref().into(),
            controller: raw.controller.unwrap_or(false),
            block_owner_deletion: raw.block_owner_deletion.unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = r#"{"kind":"Pod","metadata":{"name":"a\n","uid":"u-1","labels":{"b":"2","a":"1","n":null},
        "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web","uid":"u-0","controller":true}],
        "finalizers":["x/y"],"deletionTimestamp":"2026-01-01T00:00:00Z","managedFields":[{}]},"spec":{"x":[1,2]}}"#;

    #[test]
    fn meta_is_the_same_from_bytes_and_from_a_value() {
        let meta = Meta::from_json(POD.as_bytes()).unwrap();
        assert_eq!(meta, Meta::from_value(&serde_json::from_str(POD).unwrap()).unwrap());
        assert_eq!(&*meta.uid, "u-1");
        assert_eq!((meta.label("a"), meta.label("b"), meta.label("c")), (Some("1"), Some("2"), None));
        assert_eq!(meta.controller().map(|owner| &*owner.uid), Some("u-0"));
        assert_eq!((meta.finalizers.len(), meta.deletion_timestamp.is_some()), (1, true));
    }

    #[test]
    fn absent_and_null_metadata_is_empty() {
        for json in [
            "{}",
            r#"{"metadata":null}"#,
            r#"{"metadata":{"labels":null,"ownerReferences":null,"uid":null,"finalizers":null}}"#,
        ] {
            assert_eq!(Meta::from_json(json.as_bytes()).unwrap(), Meta::default(), "{json}");
        }
    }
}
