//! The values `coracle` runs with. A flag wins over its environment variable, that over the configuration file,
//! that over the default; an empty variable is none. Unknown configuration keys are errors that name the nearest known one.

mod expected;
mod networks;
mod options;
mod ports;
mod registries;
mod table;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};

use expected::Expected;
pub use options::{DataOptions, UpOptions, is_label, required};
pub use registries::registries;
pub use table::{SETTINGS, Scope};
use table::{Setting, Shape, environment_name};

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
        let arg = Arg::new(setting.key)
            .long(setting.key)
            .short(setting.short)
            .env(environment_name(setting.key))
            .value_name(setting.value)
            .help(help);
        command.arg(match setting.shape {
            Shape::One | Shape::List => arg,
            Shape::Repeated => arg.action(ArgAction::Append),
            Shape::Switch => arg.action(ArgAction::SetTrue).value_parser(switch),
        })
    })
}

/// The raw values by key; a key without value is absent.
pub struct Values(BTreeMap<&'static str, Vec<String>>);

impl Values {
    pub fn resolve(matches: &ArgMatches) -> Result<Values> {
        let mut file = match matches.get_one::<String>("config").map(String::as_str) {
            Some("") if matches.value_source("config") == Some(ValueSource::EnvVariable) => BTreeMap::new(),
            Some(path) => read_file(Path::new(path))?,
            None => BTreeMap::new(),
        };
        let values = SETTINGS.iter().filter_map(|setting| {
            let given = given(matches, setting).or_else(|| file.remove(setting.key));
            Some((setting.key, given.or(setting.default.map(|text| vec![text.to_string()]))?))
        });
        Ok(Values(values.collect()))
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.first().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Values separated by commas.
    pub fn list(&self, key: &str) -> Vec<String> {
        let items = self.repeated(key).iter().flat_map(|text| text.split(','));
        items.map(str::trim).filter(|item| !item.is_empty()).map(str::to_string).collect()
    }

    pub fn repeated(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn switch(&self, key: &str) -> Result<bool> {
        Ok(self.parse(key)?.unwrap_or(false))
    }

    pub fn parse<T: Expected>(&self, key: &str) -> Result<Option<T>> {
        self.text(key).map(|text| expected::parse(key, text)).transpose()
    }

    /// The first of some settings that differs from what it is when nobody sets it.
    pub fn first_set(&self, mut wanted: impl FnMut(&str) -> bool) -> Option<&'static str> {
        let is_set =
            |setting: &&Setting| self.text(setting.key).is_some_and(|value| Some(value) != setting.default);
        let wanted = SETTINGS.iter().filter(|setting| wanted(setting.key));
        wanted.filter(is_set).map(|setting| setting.key).next()
    }
}

/// Of a flag it is `true`; people write a variable in many ways.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// By flag or variable; a command that does not take the setting has neither.
fn given(matches: &ArgMatches, setting: &Setting) -> Option<Vec<String>> {
    // Parsed by `switch`: what was written is asked for, as an empty variable is none.
    let written = matches.try_get_raw(setting.key).ok()??;
    let written: Vec<String> = written.map(|value| value.to_string_lossy().into_owned()).collect();
    if setting.shape == Shape::Switch {
        let value = matches.try_get_one::<bool>(setting.key).ok()??;
        return match matches.value_source(setting.key)? {
            ValueSource::EnvVariable => of_variable(written, setting.shape).map(|_| vec![value.to_string()]),
            ValueSource::CommandLine => Some(vec![value.to_string()]),
            _ => None,
        };
    }
    match matches.value_source(setting.key) {
        Some(ValueSource::EnvVariable) => of_variable(written, setting.shape),
        _ => Some(written),
    }
}

/// An empty variable is none.
fn of_variable(written: Vec<String>, shape: Shape) -> Option<Vec<String>> {
    if written.iter().all(String::is_empty) {
        return None;
    }
    match shape {
        Shape::Repeated => Some(written.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()),
        _ => Some(written),
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<&'static str, Vec<String>>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("read configuration `{}`", path.display()))?;
    parse_file(&text).with_context(|| format!("read configuration `{}`", path.display()))
}

fn parse_file(text: &str) -> Result<BTreeMap<&'static str, Vec<String>>> {
    let pairs = match serde_saphyr::from_str(text).map_err(|error| malformed(&error))? {
        serde_json::Value::Null => serde_json::Map::new(),
        serde_json::Value::Object(pairs) => pairs,
        other => bail!("expected keys with values, not `{other}`"),
    }
    .into_iter();
    pairs
        .map(|(key, value)| {
            let setting = known(&key)?;
            Ok((setting.key, plain(setting, value)?))
        })
        .collect()
}

/// In words for who wrote the file: some of the reader's are for who calls it.
fn malformed(error: &serde_saphyr::Error) -> anyhow::Error {
    use serde_saphyr::Error;
    match error.without_snippet() {
        Error::DuplicateMappingKey { key, location } => {
            let key = key.as_deref().unwrap_or_default();
            anyhow!("line {}: key `{key}` stands there twice", location.line())
        }
        Error::MultipleDocuments { location, .. } => {
            anyhow!("line {}: this is of a second document, expected one", location.line())
        }
        other => anyhow!("{other}"),
    }
}

fn known(key: &str) -> Result<&'static Setting> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
        return Ok(setting);
    }
    let spelled = key.to_ascii_lowercase().replace('_', "-");
    let likeness = |known: &str| strsim::jaro_winkler(known, &spelled);
    let keys = SETTINGS.iter().map(|setting| setting.key).filter(|known| likeness(known) > 0.7);
    match keys.max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(nearest) => bail!("unknown key `{key}`, did you mean `{nearest}`?"),
        None => bail!("unknown key `{key}`: the keys are the names of the flags, see `coracle up --help`"),
    }
}

fn plain(setting: &Setting, value: serde_json::Value) -> Result<Vec<String>> {
    let several = matches!(setting.shape, Shape::List | Shape::Repeated);
    let expected = if several { "text, a number or a list of them" } else { "one text or number" };
    let one = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        serde_json::Value::Bool(flag) if setting.shape == Shape::Switch => Ok(flag.to_string()),
        // `1.10` and `off` would not be what was written.
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => {
            bail!("YAML takes the value of key `{}` for `{value}`: put it in quotes", setting.key)
        }
        other => bail!("key `{}` is `{other}`, expected {expected}", setting.key),
    };
    match value {
        serde_json::Value::Null => Ok(vec![String::new()]),
        serde_json::Value::Array(items) if several => items.into_iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

#[cfg(test)]
impl Values {
    /// What `coracle up` would run with.
    fn of_flags(flags_given: &[&str]) -> Values {
        let command = flags(Command::new("up"), Scope::Up);
        Values::resolve(&command.get_matches_from([&["up"], flags_given].concat())).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_the_nearest_one() {
        for (key, nearest) in [("datadir", "data-dir"), ("API-PORT", "api-port"), ("Node_Ip", "node-ip")] {
            let error = parse_file(&format!("{key}: /x")).unwrap_err().to_string();
            assert_eq!(error, format!("unknown key `{key}`, did you mean `{nearest}`?"));
        }
        let error = parse_file("zzz: /x").unwrap_err().to_string();
        assert_eq!(error, "unknown key `zzz`: the keys are the names of the flags, see `coracle up --help`");
    }

    #[test]
    fn what_is_wrong_with_the_file_is_told_to_who_wrote_it() {
        for (text, says) in [
            ("api-port: 1\napi-port: 2\n", "line 2: key `api-port` stands there twice"),
            ("api-port: 1\n---\nhttp-port: 2\n", "line 3: this is of a second document, expected one"),
        ] {
            assert_eq!(parse_file(text).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn lists_may_be_written_as_lists() {
        let values = parse_file("upstream-dns: [1.1.1.1, 9.9.9.9]\napi-port: 7443\n").unwrap();
        assert_eq!(values["upstream-dns"], ["1.1.1.1", "9.9.9.9"]);
        assert_eq!(values["api-port"], ["7443"]);
    }

    #[test]
    fn what_yaml_would_rewrite_is_to_be_quoted() {
        for (line, taken) in
            [("audit-log-path: off", "false"), ("node-name: 1.10", "1.1"), ("node-name: yes", "true")]
        {
            let key = line.split(':').next().unwrap();
            let expected = format!("YAML takes the value of key `{key}` for `{taken}`: put it in quotes");
            assert_eq!(parse_file(line).unwrap_err().to_string(), expected);
        }
        assert_eq!(parse_file("audit-log-path: 'off'").unwrap()["audit-log-path"], ["off"]);
    }

    #[test]
    fn a_list_for_one_value_is_refused() {
        let error = parse_file("data-dir: [a, b]").unwrap_err().to_string();
        assert_eq!(error, "key `data-dir` is `[\"a\",\"b\"]`, expected one text or number");
    }

    #[test]
    fn values_that_repeat_may_hold_commas() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("coracle.yaml");
        std::fs::write(&file, "build-arg: ['A=1,2', B=3]\nreplace: true\n").unwrap();
        let resolve = |arguments: &[&str]| {
            let command = flags(Command::new("build"), Scope::Build);
            Values::resolve(&command.get_matches_from(arguments)).unwrap()
        };
        let values = resolve(&["build", "--config", file.to_str().unwrap()]);
        assert_eq!(values.repeated("build-arg"), ["A=1,2", "B=3"]);
        assert!(values.switch("replace").unwrap());
        let values = resolve(&["build", "-t", "a", "--tag=b", "--build-arg", "C=4,5"]);
        assert_eq!(
            (values.repeated("tag"), values.repeated("build-arg")),
            (&["a", "b"].map(String::from)[..], &["C=4,5".to_string()][..])
        );
        assert!(!values.switch("replace").unwrap());
    }

    #[test]
    fn an_empty_variable_is_none() {
        let of = |text: &str, shape| of_variable(vec![text.to_owned()], shape);
        let given = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        for (text, shape, expected) in [
            ("", Shape::One, None),
            ("", Shape::Switch, None),
            ("", Shape::Repeated, None),
            ("a,b", Shape::List, given(&["a,b"])),
            ("a=1\nb=2", Shape::Repeated, given(&["a=1", "b=2"])),
        ] {
            assert_eq!(of(text, shape), expected, "{text:?}");
        }
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
