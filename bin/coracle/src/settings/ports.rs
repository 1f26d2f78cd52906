//! The node's ports: those that Coracle takes, and those that it leaves to Services.

use std::{num::NonZeroU16, ops::RangeInclusive};

use anyhow::{Result, bail};

use super::{Values, options::required};

const OWN: [&str; 3] = ["api-port", "http-port", "https-port"];

pub struct Ports {
    pub api: u16,
    pub http: u16,
    pub https: u16,
    pub node_ports: RangeInclusive<u16>,
}

/// A Service at one of Coracle's own ports would shut everybody out.
pub fn ports(values: &Values) -> Result<Ports> {
    let mut own = Vec::with_capacity(OWN.len());
    for key in OWN {
        own.push((key, required::<NonZeroU16>(values, key)?.get()));
    }
    for (at, (key, port)) in own.iter().enumerate() {
        if let Some((other, _)) = own[..at].iter().find(|(_, taken)| taken == port) {
            bail!("settings `{other}` and `{key}` are both {port}, expected different ports");
        }
    }
    let text = values.text("node-ports").unwrap_or_default();
    let node_ports = range(text)?;
    if let Some((key, port)) = own.iter().find(|(_, port)| node_ports.contains(port)) {
        bail!("setting `node-ports` is `{text}`, which holds `{key}` ({port})");
    }
    let [(_, api), (_, http), (_, https)] = own[..] else { unreachable!("one for each of OWN") };
    Ok(Ports { api, http, https, node_ports })
}

fn range(text: &str) -> Result<RangeInclusive<u16>> {
    let range = text.split_once('-').and_then(|(low, high)| Some(low.parse().ok()?..=high.parse().ok()?));
    match range {
        Some(range) if !range.is_empty() && *range.start() != 0 => Ok(range),
        _ => bail!("setting `node-ports` is `{text}`, expected LOW-HIGH such as 30000-32767"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flags: &[&str]) -> Result<Ports> {
        ports(&Values::of_flags(flags))
    }

    #[test]
    fn no_port_is_for_two() {
        assert_eq!(of(&["--node-ports", "6444-7000"]).unwrap().node_ports, 6444..=7000);
        for (flags, says) in [
            (
                &["--node-ports", "6000-7000"][..],
                "`node-ports` is `6000-7000`, which holds `api-port` (6443)",
            ),
            (&["--node-ports", "1-100"], "which holds `http-port` (80)"),
            (&["--node-ports=8000-9000", "--https-port=8443"], "which holds `https-port` (8443)"),
            (&["--api-port=443"], "settings `api-port` and `https-port` are both 443"),
            (&["--http-port=443"], "settings `http-port` and `https-port` are both 443"),
        ] {
            let said = of(flags).err().unwrap().to_string();
            assert!(said.contains(says), "{flags:?}: {said}");
        }
    }

    #[test]
    fn port_ranges_are_checked() {
        assert_eq!(range("30000-32767").unwrap(), 30000..=32767);
        for wrong in ["", "30000", "5-4", "a-b", "1-70000", "0-100", "0-0"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
