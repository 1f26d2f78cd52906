//! Ports that say the same twice, or that cannot be told apart.

use serde_json::Value;

use super::{
    super::checks::{indexed, text},
    Warnings, containers,
};
use crate::status::quote;

pub fn warn(warnings: &mut Warnings<'_>) {
    let root = warnings.root;
    let mut names: Vec<(&str, String)> = Vec::new();
    let mut seen: Vec<(&Value, String)> = Vec::new();
    for (at, container) in containers(warnings.spec, "spec") {
        // What runs to its end before the others start serves nobody.
        let serves = !at.starts_with("spec.initContainers") || container["restartPolicy"] == "Always";
        for (at, port) in indexed(&container["ports"], &format!("{at}.ports")) {
            let name = text(&port["name"]);
            if serves && !name.is_empty() {
                match names.iter().find(|(other, _)| *other == name) {
                    Some((_, other)) => warnings.say(
                        &at,
                        format_args!(
                            "duplicate port name {} with {root}{other}, services and probes that select ports by name will use {root}{other}",
                            quote(name)
                        ),
                    ),
                    None => names.push((name, at.clone())),
                }
            }
            if !text(&port["hostIP"]).is_empty() && host_port(port) == 0 {
                warnings.say(&at, format_args!("hostIP set without hostPort: {}", shown(port)));
            }
            for (other, place) in seen.iter().filter(|(other, _)| is_same(port, other)) {
                if let Some(how) = conflict(port, other) {
                    warnings.say(&at, format_args!("{how} port definition with {root}{place}"));
                }
            }
            seen.push((port, at));
        }
    }
}

fn host_port(port: &Value) -> i64 {
    port["hostPort"].as_i64().unwrap_or_default()
}

fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}

fn is_same(port: &Value, other: &Value) -> bool {
    port["containerPort"] == other["containerPort"] && protocol(port) == protocol(other)
}

fn conflict(port: &Value, other: &Value) -> Option<&'static str> {
    let (address, other_address) = (text(&port["hostIP"]), text(&other["hostIP"]));
    let (number, other_number) = (host_port(port), host_port(other));
    if address == other_address && number == other_number {
        Some("duplicate")
    } else if number == 0 || other_number == 0 {
        Some("overlapping")
    } else if number == other_number && address.is_empty() != other_address.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

/// As Go prints the struct.
fn shown(port: &Value) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        text(&port["name"]),
        host_port(port),
        port["containerPort"].as_i64().unwrap_or_default(),
        protocol(port),
        text(&port["hostIP"])
    )
}
