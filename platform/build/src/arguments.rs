//! What `--build-arg` says. Pure.

/// Names and values of `NAME=VALUE`. A bare `NAME` takes its value from the environment, and is passed over where that
/// has none, as docker does. The last one of a name counts.
pub fn build_args(given: &[String], environment: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for text in given {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (text.as_str(), environment(text)),
        };
        found.retain(|(known, _)| known != name);
        found.extend(value.map(|value| (name.to_string(), value)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts_and_the_environment_knows_bare_ones() {
        let environment = |name: &str| (name == "HOME").then(|| "/root".to_string());
        for (given, expected) in [
            ("A=1 A=2", "A=2"),
            ("A=1 B=x=y A=", "B=x=y A="),
            ("HOME NOPE", "HOME=/root"),
            ("HOME=1 HOME", "HOME=/root"),
            ("NOPE=1 NOPE", ""),
        ] {
            let given: Vec<String> = given.split(' ').map(str::to_string).collect();
            let found = build_args(&given, &environment);
            let found: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(found.join(" "), expected, "{given:?}");
        }
    }
}
