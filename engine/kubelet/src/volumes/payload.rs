//! The files that ConfigMap, Secret, downward API and projected volumes hold. Pure.
//!
//! Source:    https://kubernetes.io/docs/concepts/storage/projected-volumes/

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use crate::env::{self, Facts, Sources};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    pub mode: u32,
    /// Root if absent.
    pub owner: Option<u32>,
}

/// Files by their path in the volume.
pub type Payload = BTreeMap<String, File>;

pub struct Inputs<'a> {
    pub pod: &'a Pod,
    pub facts: &'a Facts,
    pub sources: &'a dyn Sources,
}

const DEFAULT_MODE: i32 = 0o644;

fn mode(own: Option<i32>, default: u32) -> u32 {
    own.and_then(|m| u32::try_from(m).ok()).unwrap_or(default)
}

/// All keys, or those that `items` names.
fn select(
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&Vec<KeyToPath>>,
    default_mode: u32,
    optional: bool,
    missing: &str,
) -> Result<Payload, String> {
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        return Ok(data
            .into_iter()
            .map(|(key, data)| (key, File { data, mode: default_mode, owner: None }))
            .collect());
    };
    let mut files = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => {
                files.insert(
                    item.path.clone(),
                    File { data: data.clone(), mode: mode(item.mode, default_mode), owner: None },
                );
            }
            None if optional => {}
            None => return Err(format!("{missing} key: {}", item.key)),
        }
    }
    Ok(files)
}

impl Inputs<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn config_map(
        &self,
        name: &str,
        items: Option<&Vec<KeyToPath>>,
        default_mode: u32,
        optional: bool,
    ) -> Result<Payload, String> {
        let Some(map) = self.sources.config_map(self.namespace(), name) else {
            return if optional {
                Ok(Payload::new())
            } else {
                Err(format!("configmap \"{name}\" not found"))
            };
        };
        let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
        select(
            text.chain(binary).collect(),
            items,
            default_mode,
            optional,
            "configmap references non-existent config",
        )
    }

    fn secret(
        &self,
        name: &str,
        items: Option<&Vec<KeyToPath>>,
        default_mode: u32,
        optional: bool,
    ) -> Result<Payload, String> {
        let Some(secret) = self.sources.secret(self.namespace(), name) else {
            return if optional { Ok(Payload::new()) } else { Err(format!("secret \"{name}\" not found")) };
        };
        let data = secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect();
        select(data, items, default_mode, optional, "references non-existent secret")
    }

    fn downward(
        &self,
        items: Option<&Vec<DownwardAPIVolumeFile>>,
        default_mode: u32,
    ) -> Result<Payload, String> {
        let mut files = Payload::new();
        for item in items.into_iter().flatten() {
            let text = if let Some(field) = &item.field_ref {
                env::field(self.pod, &field.field_path, self.facts).map_err(|e| e.to_string())?
            } else if let Some(selector) = &item.resource_field_ref {
                let spec = self.pod.spec.as_ref();
                let wanted = selector.container_name.as_deref().unwrap_or_default();
                let container = spec
                    .and_then(|s| {
                        s.containers
                            .iter()
                            .chain(s.init_containers.iter().flatten())
                            .find(|c| c.name == wanted)
                    })
                    .ok_or_else(|| format!("container {wanted} not found"))?;
                env::resource_field(container, selector, self.facts).map_err(|e| e.to_string())?
            } else {
                continue;
            };
            files.insert(
                item.path.clone(),
                File { data: text.into_bytes(), mode: mode(item.mode, default_mode), owner: None },
            );
        }
        Ok(files)
    }
}

pub fn of_volume(inputs: &Inputs, volume: &Volume) -> Result<Payload, String> {
    if let Some(source) = &volume.config_map {
        let default_mode = source.default_mode.unwrap_or(DEFAULT_MODE) as u32;
        return inputs.config_map(
            &source.name,
            source.items.as_ref(),
            default_mode,
            source.optional == Some(true),
        );
    }
    if let Some(source) = &volume.secret {
        let default_mode = source.default_mode.unwrap_or(DEFAULT_MODE) as u32;
        let name = source.secret_name.as_deref().unwrap_or_default();
        return inputs.secret(name, source.items.as_ref(), default_mode, source.optional == Some(true));
    }
    if let Some(source) = &volume.downward_api {
        return inputs.downward(source.items.as_ref(), source.default_mode.unwrap_or(DEFAULT_MODE) as u32);
    }
    Ok(Payload::new())
}

/// One source of a projected volume; tokens are the caller's.
pub fn of_projection(
    inputs: &Inputs,
    source: &VolumeProjection,
    default_mode: u32,
) -> Result<Payload, String> {
    if let Some(source) = &source.config_map {
        return inputs.config_map(
            &source.name,
            source.items.as_ref(),
            default_mode,
            source.optional == Some(true),
        );
    }
    if let Some(source) = &source.secret {
        return inputs.secret(
            &source.name,
            source.items.as_ref(),
            default_mode,
            source.optional == Some(true),
        );
    }
    if let Some(source) = &source.downward_api {
        return inputs.downward(source.items.as_ref(), default_mode);
    }
    // The API leaves nothing of a source whose feature is off.
    if *source == VolumeProjection::default() {
        return Ok(Payload::new());
    }
    Err("this kind of projected source is not supported by this version yet".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
    use serde_json::json;
    use std::sync::Arc;

    struct Fixed;
    impl Sources for Fixed {
        fn config_map(&self, _: &str, name: &str) -> Option<Arc<ConfigMap>> {
            let map = json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}});
            (name == "cm").then(|| Arc::new(serde_json::from_value(map).unwrap()))
        }
        fn secret(&self, _: &str, _: &str) -> Option<Arc<Secret>> {
            None
        }
        fn services(&self, _: &str) -> Vec<Arc<Service>> {
            Vec::new()
        }
    }

    fn files(volume: serde_json::Value) -> Result<Vec<(String, Vec<u8>, u32)>, String> {
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "labels": {"x": "1", "a": "q\"uote"}}, "spec": {"containers": []}}),
        )
        .unwrap();
        let inputs = Inputs { pod: &pod, facts: &Facts::default(), sources: &Fixed };
        Ok(of_volume(&inputs, &volume)?.into_iter().map(|(p, f)| (p, f.data, f.mode)).collect())
    }

    #[test]
    fn items_select_rename_and_set_modes() {
        let volume = json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 0o600,
            "items": [{"key": "a", "path": "d/x", "mode": 0o444}, {"key": "c", "path": "y"}]}});
        assert_eq!(
            files(volume).unwrap(),
            [("d/x".to_owned(), b"1".to_vec(), 0o444), ("y".to_owned(), vec![0, 1], 0o600)]
        );
    }

    #[test]
    fn a_projected_source_without_anything_has_no_files() {
        let inputs = Inputs { pod: &Pod::default(), facts: &Facts::default(), sources: &Fixed };
        let files = of_projection(&inputs, &VolumeProjection::default(), 0o644);
        assert!(files.is_ok_and(|files| files.is_empty()));
        let bundle =
            VolumeProjection { cluster_trust_bundle: Some(Default::default()), ..Default::default() };
        assert!(of_projection(&inputs, &bundle, 0o644).is_err());
    }

    #[test]
    fn what_is_missing_is_an_error_unless_optional() {
        let error = |v| files(v).unwrap_err();
        assert_eq!(error(json!({"name": "v", "configMap": {"name": "no"}})), "configmap \"no\" not found");
        assert_eq!(error(json!({"name": "v", "secret": {"secretName": "no"}})), "secret \"no\" not found");
        assert_eq!(
            error(json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}})),
            "configmap references non-existent config key: z"
        );
        assert_eq!(files(json!({"name": "v", "secret": {"secretName": "no", "optional": true}})), Ok(vec![]));
    }

    #[test]
    fn labels_are_written_as_sorted_quoted_lines() {
        let volume = json!({"name": "v", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}});
        assert_eq!(files(volume).unwrap()[0].1, b"a=\"q\\\"uote\"\nx=\"1\"");
    }
}
