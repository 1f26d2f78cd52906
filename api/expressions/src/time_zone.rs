//! Time zones by name, from the system's copy of the IANA database.
//!
//! The database is too large for the binary. Without it, only UTC is known; names are checked all the same.
//! Source: https://data.iana.org/time-zones/theory.html#naming

use std::{collections::BTreeMap, fs, path::Path, sync::Mutex};

use jiff::tz::TimeZone;

const DATABASE: &str = "/usr/share/zoneinfo";

/// Whether `name` is written as names of the database are, older ones included.
pub fn is_name(name: &str) -> bool {
    name.split('/').all(|part| {
        (1..=14).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || ".-_+".contains(c))
    })
}

/// Without a database, every well-formed name might be there.
pub fn exists(name: &str) -> bool {
    name == "UTC"
        || !Path::new(DATABASE).is_dir()
        || (is_name(name) && Path::new(DATABASE).join(name).is_file())
}

/// What was read once; no more than the database has.
static READ: Mutex<BTreeMap<String, TimeZone>> = Mutex::new(BTreeMap::new());

/// The zone of that name, or why there is none.
pub fn named(name: &str) -> Result<TimeZone, String> {
    if matches!(name, "" | "UTC" | "Etc/UTC" | "GMT") {
        return Ok(TimeZone::UTC);
    }
    if let Some(zone) = READ.lock().ok().and_then(|read| read.get(name).cloned()) {
        return Ok(zone);
    }
    let zone = read(name)?;
    if let Ok(mut read) = READ.lock() {
        read.insert(name.to_owned(), zone.clone());
    }
    Ok(zone)
}

fn read(name: &str) -> Result<TimeZone, String> {
    if !is_name(name) || !exists(name) {
        return Err(format!("unknown time zone {name}"));
    }
    let data = fs::read(Path::new(DATABASE).join(name))
        .map_err(|_| format!("time zone {name} needs the time zone database in {DATABASE}"))?;
    TimeZone::tzif(name, &data).map_err(|_| format!("malformed time zone information of {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_the_database() {
        for (name, good) in [
            ("Etc/UTC", true),
            ("America/Argentina/Buenos_Aires", true),
            ("GMT+1", true),
            ("", false),
            ("..", false),
            ("a//b", false),
            ("/etc/passwd", false),
            ("-a", false),
            ("a b", false),
            ("AFifteenLetters", false),
        ] {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(named("../../etc/passwd").is_err());
    }
}
