//! The syntax of a CronJob's schedule: five fields, or `@daily` and the like.
//!
//! Source: https://github.com/robfig/cron/blob/v3/parser.go

use crate::status::quote;

struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Bounds; 5] = [
    Bounds { min: 0, max: 59, names: &[] },
    Bounds { min: 0, max: 23, names: &[] },
    Bounds { min: 1, max: 31, names: &[] },
    Bounds { min: 1, max: 12, names: &MONTHS },
    Bounds { min: 0, max: 6, names: &DAYS },
];
const DESCRIPTORS: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

pub fn check(schedule: &str) -> Result<(), String> {
    // That a zone is named is for the caller to refuse.
    let zoned = ["TZ=", "CRON_TZ="].iter().any(|start| schedule.starts_with(start));
    let schedule = schedule.split_once(' ').filter(|_| zoned).map_or(schedule, |(_, rest)| rest.trim());
    if schedule.starts_with('@') {
        return match schedule.strip_prefix("@every ") {
            Some(every) => {
                duration(every).map_err(|why| format!("failed to parse duration {schedule}: time: {why}"))
            }
            None if DESCRIPTORS.contains(&schedule) => Ok(()),
            None => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let list = fields.join(" ");
        return Err(format!("expected exactly 5 fields, found {}: [{list}]", fields.len()));
    }
    for (field, bounds) in fields.iter().zip(&FIELDS) {
        field.split(',').filter(|part| !part.is_empty()).try_for_each(|part| range(part, bounds))?;
    }
    Ok(())
}

/// Go's durations: `1h30m`. Err: what its parser says.
/// Source: https://pkg.go.dev/time#ParseDuration
fn duration(text: &str) -> Result<(), String> {
    const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
    let invalid = || Err(format!("invalid duration {}", quote(text)));
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return invalid();
    }
    while !rest.is_empty() {
        let is_part = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        if number.parse::<f64>().is_err() {
            return invalid();
        }
        let (unit, after) = after.split_at(after.find(is_part).unwrap_or(after.len()));
        if unit.is_empty() {
            return Err(format!("missing unit in duration {}", quote(text)));
        }
        if !UNITS.contains(&unit) {
            return Err(format!("unknown unit {} in duration {}", quote(unit), quote(text)));
        }
        rest = after;
    }
    Ok(())
}

/// `*`, `5`, `1-5`, each with an optional `/step`.
fn range(part: &str, bounds: &Bounds) -> Result<(), String> {
    let mut halves = part.split('/');
    let (span, step) = (halves.next().unwrap_or_default(), halves.next());
    if halves.next().is_some() {
        return Err(format!("too many slashes: {part}"));
    }
    let ends: Vec<&str> = span.split('-').collect();
    let (start, end) = match ends[..] {
        ["*" | "?"] => (bounds.min, bounds.max),
        [one] => {
            let value = value(one, bounds)?;
            (value, if step.is_some() { bounds.max } else { value })
        }
        [first, last] => (value(first, bounds)?, value(last, bounds)?),
        _ => return Err(format!("too many hyphens: {part}")),
    };
    let step = step.map(number).transpose()?.unwrap_or(1);
    let (min, max) = (bounds.min, bounds.max);
    if start < min {
        return Err(format!("beginning of range ({start}) below minimum ({min}): {part}"));
    }
    if end > max {
        return Err(format!("end of range ({end}) above maximum ({max}): {part}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    Ok(())
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    match bounds.names.iter().position(|name| *name == lower) {
        Some(at) => Ok(at as u32 + bounds.min),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_five_fields_or_a_descriptor() {
        for good in
            ["* * * * *", "*/5 0-6 1,15 jan-mar MON", "0 0 ? * 6", "5/15 * * * *", "@daily", "@every 1h30m"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("@never", "unrecognized descriptor: @never"),
            ("@every", "unrecognized descriptor: @every"),
            ("@every 1x", "failed to parse duration @every 1x: time: unknown unit \"x\" in duration \"1x\""),
            ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
            ("@every 1h.s", "failed to parse duration @every 1h.s: time: invalid duration \"1h.s\""),
        ] {
            assert_eq!(check(bad), Err(why.to_owned()), "{bad}");
        }
    }
}
