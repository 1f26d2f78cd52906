//! One field out of JSON bytes, without building the rest.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The scalar at `path` as a field selector compares it; an array stands for its first element. Absent and null give none.
pub fn extract(json: &[u8], path: &[&str]) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = At { path }.deserialize(&mut deserializer).ok().flatten()?;
    match value {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

struct At<'a> {
    path: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.path.is_empty() {
            return serde::Deserialize::deserialize(deserializer).map(Some);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == self.path[0] {
                found = map.next_value_seed(At { path: &self.path[1..] })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let first = seq.next_element_seed(At { path: self.path })?.flatten();
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_asked_field_is_read() {
        let json = br#"{"a":[1,{"b":2}],"spec":{"nodeName":"n1","hostNetwork":true},"status":{"podIPs":[{"ip":"1.2.3.4"}],"phase":null}}"#;
        let rows: [(&[&str], Option<&str>); 5] = [
            (&["spec", "nodeName"], Some("n1")),
            (&["spec", "hostNetwork"], Some("true")),
            (&["status", "podIPs", "ip"], Some("1.2.3.4")),
            (&["status", "phase"], None),
            (&["spec", "nodeName", "deeper"], None),
        ];
        for (path, expected) in rows {
            assert_eq!(extract(json, path).as_deref(), expected, "{path:?}");
        }
    }
}
