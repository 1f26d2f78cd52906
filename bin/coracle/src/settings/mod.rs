//! The values `coracle` runs with. A flag wins over its environment variable, that over the configuration file,
//! that over the default. Unknown configuration keys are errors that name the nearest known one.

mod options;
mod table;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command};

pub use options::{DataOptions, UpOptions, registries};
use table::environment_name;
pub use table::{SETTINGS, Scope};

/// Adds the flags of `scope` and `--config` to a command.
pub fn flags(command: Command, scope: Scope) -> Command {
    let wanted = SETTINGS.iter().filter(|setting| scope.takes(setting.scope));
    let command = command.arg(
        Arg::new("config")
            .long("config")
            .env("CORACLE_CONFIG")
            .value_name("FILE")
            .help("Configuration file (YAML): the flags' names as keys"),
    );
    wanted.fold(command, |command, setting| {
        let help = match setting.default {
            Some(default) if !default.is_empty() => format!("{} [default: {default}]", setting.help),
            _ => setting.help.to_string(),
        };
        command.arg(
            Arg::new(setting.key)
                .long(setting.key)
                .env(environment_name(setting.key))
                .value_name(setting.value)
                .help(help),
        )
    })
}

/// The raw values by key; a key without value is absent.
pub struct Values(BTreeMap<&'static str, String>);

impl Values {
    pub fn resolve(matches: &ArgMatches) -> Result<Values> {
        let file = match matches.get_one::<String>("config") {
            Some(path) => read_file(Path::new(path))?,
            None => BTreeMap::new(),
        };
        let values = SETTINGS.iter().filter_map(|setting| {
            let flag = matches.try_get_one::<String>(setting.key).ok().flatten().cloned();
            let value =
                flag.or_else(|| file.get(setting.key).cloned()).or(setting.default.map(str::to_string))?;
            Some((setting.key, value))
        });
        Ok(Values(values.collect()))
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Values separated by commas.
    pub fn list(&self, key: &str) -> Vec<String> {
        let text = self.text(key).unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_string).collect()
    }

    pub fn parse<T>(&self, key: &str) -> Result<Option<T>>
    where
        T: std::str::FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let parsed = self
            .text(key)
            .map(|text| text.parse::<T>().with_context(|| format!("read setting `{key}` from `{text}`")));
        parsed.transpose()
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("read configuration `{}`", path.display()))?;
    parse_file(&text).with_context(|| format!("read configuration `{}`", path.display()))
}

fn parse_file(text: &str) -> Result<BTreeMap<String, String>> {
    let parsed: Option<BTreeMap<String, serde_json::Value>> = serde_saphyr::from_str(text)?;
    parsed.unwrap_or_default().into_iter().map(|(key, value)| Ok((known(key)?, plain(value)?))).collect()
}

fn known(key: String) -> Result<String> {
    if SETTINGS.iter().any(|setting| setting.key == key) {
        return Ok(key);
    }
    let nearest = SETTINGS
        .iter()
        .map(|setting| setting.key)
        .max_by(|a, b| strsim::jaro_winkler(a, &key).total_cmp(&strsim::jaro_winkler(b, &key)));
    bail!("unknown key `{key}`, did you mean `{}`?", nearest.unwrap_or_default())
}

/// Lists become comma-separated text, as the flags take them.
fn plain(value: serde_json::Value) -> Result<String> {
    Ok(match value {
        serde_json::Value::String(text) => text,
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::Bool(flag) => flag.to_string(),
        serde_json::Value::Null => String::new(),
        serde_json::Value::Array(items) => {
            items.into_iter().map(plain).collect::<Result<Vec<_>>>()?.join(",")
        }
        serde_json::Value::Object(_) => bail!("a setting is text, a number or a list of them, not a mapping"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_the_nearest_one() {
        let error = parse_file("datadir: /x").unwrap_err().to_string();
        assert_eq!(error, "unknown key `datadir`, did you mean `data-dir`?");
    }

    #[test]
    fn lists_may_be_written_as_lists() {
        let values = parse_file("upstream-dns: [1.1.1.1, 9.9.9.9]\napi-port: 7443\n").unwrap();
        assert_eq!(values["upstream-dns"], "1.1.1.1,9.9.9.9");
        assert_eq!(values["api-port"], "7443");
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("coracle.yaml");
        std::fs::write(&file, "api-port: 7443\nhttp-port: 8080\n").unwrap();
        let command = flags(Command::new("up"), Scope::Up);
        let matches =
            command.get_matches_from(["up", "--config", file.to_str().unwrap(), "--api-port", "9443"]);
        let values = Values::resolve(&matches).unwrap();
        assert_eq!(values.text("api-port"), Some("9443"));
        assert_eq!(values.text("http-port"), Some("8080"));
        assert_eq!(values.text("https-port"), Some("443"));
    }
}
