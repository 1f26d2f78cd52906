//! `HEALTHCHECK`: part of an image's configuration. Kubernetes heeds it not, other engines do.
//!
//! Source: https://docs.docker.com/reference/dockerfile/#healthcheck,
//!         https://github.com/moby/moby/blob/master/api/types/container/health.go (`HealthConfig`)

use serde_json::{Value, json};

use super::instruction::json_array;

const MILLISECOND: i64 = 1_000_000;

/// Fields of the health check, and their values.
type Options = Vec<(&'static str, i64)>;

/// The value of `Healthcheck` in the image's configuration. `NONE` disables the base image's.
pub fn parse(rest: &str) -> Result<Value, String> {
    let (flags, rest) = flags(rest)?;
    let (kind, arguments) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let arguments = arguments.trim();
    let mut check = match kind.to_ascii_uppercase().as_str() {
        "NONE" if !arguments.is_empty() || !flags.is_empty() => {
            return Err("HEALTHCHECK NONE takes no arguments".into());
        }
        "NONE" => json!({ "Test": ["NONE"] }),
        "CMD" if arguments.is_empty() => return Err("Missing command after HEALTHCHECK CMD".into()),
        "CMD" => match json_array(arguments) {
            Some(words) => {
                let test: Vec<_> = ["CMD".to_owned()].into_iter().chain(words).collect();
                json!({ "Test": test })
            }
            None => json!({ "Test": ["CMD-SHELL", arguments] }),
        },
        _ => return Err(format!("Unknown type \"{kind}\" in HEALTHCHECK (try CMD)")),
    };
    for (name, value) in flags {
        check[name] = value.into();
    }
    Ok(check)
}

/// The flags that say something, and what follows them.
fn flags(mut rest: &str) -> Result<(Options, &str), String> {
    let mut found = Options::new();
    while rest.starts_with("--") {
        let (flag, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        rest = after.trim_start();
        let (key, text) = flag.split_once('=').unwrap_or((flag, ""));
        let (name, value) = match key {
            "--interval" => ("Interval", interval(key, text)?),
            "--timeout" => ("Timeout", interval(key, text)?),
            "--start-period" => ("StartPeriod", interval(key, text)?),
            "--start-interval" => ("StartInterval", interval(key, text)?),
            "--retries" => ("Retries", retries(text)?),
            _ => return Err(super::instruction::unknown_flag(key)),
        };
        found.extend((value != 0).then_some((name, value)));
    }
    Ok((found, rest))
}

fn retries(text: &str) -> Result<i64, String> {
    let retries: i32 = text.parse().map_err(|_| format!("--retries is `{text}`, expected a number"))?;
    if retries < 0 {
        return Err(format!("--retries must be at least 0 (not {retries})"));
    }
    Ok(retries.into())
}

/// In nanoseconds.
fn interval(flag: &str, text: &str) -> Result<i64, String> {
    let expected = || format!("{flag} is `{text}`, expected a duration such as 1m30s");
    let nanoseconds = duration(text).ok_or_else(expected)?;
    match nanoseconds {
        1..MILLISECOND => {
            Err(format!("Interval \"{}\" cannot be less than 1ms", flag.trim_start_matches('-')))
        }
        nanoseconds => Ok(nanoseconds),
    }
}

/// As Go writes it: `1h2m3.5s`.
fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    (!text.is_empty()).then_some(sum as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_is_kept_as_other_engines_write_it() {
        for (rest, expected) in [
            ("NONE", json!({ "Test": ["NONE"] })),
            ("CMD curl -f http://localhost/", json!({ "Test": ["CMD-SHELL", "curl -f http://localhost/"] })),
            (
                "--interval=1m30s --timeout=3s --start-period=1.5s --retries=2 CMD [\"/app\", \"ping\"]",
                json!({
                    "Test": ["CMD", "/app", "ping"], "Interval": 90_000_000_000_i64, "Timeout": 3_000_000_000_i64,
                    "StartPeriod": 1_500_000_000, "Retries": 2,
                }),
            ),
            ("--interval=0 --retries=0 cmd x", json!({ "Test": ["CMD-SHELL", "x"] })),
        ] {
            assert_eq!(parse(rest).unwrap(), expected, "{rest}");
        }
        for (rest, expected) in [
            ("NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("--retries=3 NONE", "HEALTHCHECK NONE takes no arguments"),
            ("CMD", "Missing command after HEALTHCHECK CMD"),
            ("RUN x", "Unknown type \"RUN\" in HEALTHCHECK (try CMD)"),
            ("--every=3s CMD x", "unknown flag: --every"),
            ("--interval=3 CMD x", "--interval is `3`, expected a duration such as 1m30s"),
            ("--timeout=1us CMD x", "Interval \"timeout\" cannot be less than 1ms"),
            ("--retries=-1 CMD x", "--retries must be at least 0 (not -1)"),
        ] {
            assert_eq!(parse(rest).unwrap_err(), expected, "{rest}");
        }
    }
}
