//! The OCI image configuration, as instructions change it.
//! Source: <https://github.com/opencontainers/image-spec/blob/main/config.md>

use serde_json::{Map, Value, json};

use crate::{Base, Layer};

/// What images without a base have as theirs, as BuildKit gives it; runtimes default to the same.
/// Source: <https://github.com/moby/buildkit/blob/master/util/system/path.go>
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Wraps the JSON, so that fields of a base image that nobody here knows survive.
#[derive(Clone)]
pub struct ImageConfig(Value);

impl ImageConfig {
    /// `FROM scratch`
    pub fn scratch() -> ImageConfig {
        let config = json!({"Env": [format!("PATH={DEFAULT_PATH}")], "WorkingDir": "/"});
        ImageConfig(
            json!({"architecture": architecture(), "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}),
        )
    }

    pub fn from_base(base: &Base) -> ImageConfig {
        let mut config = base.config.clone();
        for (key, empty) in [
            ("config", json!({})),
            ("history", json!([])),
            ("rootfs", json!({"type": "layers", "diff_ids": []})),
        ] {
            if config.get(key).is_none_or(Value::is_null) {
                config[key] = empty;
            }
        }
        ImageConfig(config)
    }

    pub fn json(&self) -> &Value {
        &self.0
    }

    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0["config"][key] = value.into();
    }

    pub fn set_author(&mut self, name: &str) {
        self.0["author"] = name.into();
    }

    pub fn text(&self, key: &str) -> &str {
        self.0["config"][key].as_str().unwrap_or_default()
    }

    pub fn list(&self, key: &str) -> Vec<String> {
        let items = self.0["config"][key].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_string).collect()
    }

    /// Adds a name to one of the sets that OCI writes as maps to empty objects: ExposedPorts, Volumes.
    pub fn insert(&mut self, key: &str, name: &str) {
        self.map(key).insert(name.into(), json!({}));
    }

    pub fn label(&mut self, name: &str, value: &str) {
        self.map("Labels").insert(name.into(), value.into());
    }

    fn map(&mut self, key: &str) -> &mut Map<String, Value> {
        let value = &mut self.0["config"][key];
        if !value.is_object() {
            *value = json!({});
        }
        value.as_object_mut().expect("just made one")
    }

    pub fn env(&self, name: &str) -> Option<String> {
        self.list("Env")
            .into_iter()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_string))
    }

    pub fn set_env(&mut self, name: &str, value: &str) {
        let mut env = self.list("Env");
        let pair = format!("{name}={value}");
        match env.iter_mut().find(|known| known.split('=').next() == Some(name)) {
            Some(known) => *known = pair,
            None => env.push(pair),
        }
        self.set("Env", env);
    }

    /// One history entry for each instruction; a layer where it made one. The date of the base is not this image's.
    pub fn record(&mut self, instruction: &str, layer: Option<&Layer>) {
        if let Some(config) = self.0.as_object_mut() {
            config.remove("created");
        }
        let mut entry = json!({"created_by": instruction, "comment": "coracle build"});
        match layer {
            Some(layer) => push(&mut self.0["rootfs"]["diff_ids"], layer.diff_id.clone().into()),
            None => entry["empty_layer"] = true.into(),
        }
        push(&mut self.0["history"], entry);
    }
}

fn push(list: &mut Value, item: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut().expect("just made one").push(item);
}

/// Go's name of this machine's architecture.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
