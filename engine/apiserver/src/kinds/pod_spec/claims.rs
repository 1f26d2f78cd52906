//! The ResourceClaims that a pod names.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::checks::{Causes, indexed, label, subdomain, text};
use crate::status::Cause;

const SOURCES: [&str; 2] = ["resourceClaimName", "resourceClaimTemplateName"];

pub fn validate(out: &mut Causes, claims: &Value, path: &str) {
    let mut names = BTreeSet::new();
    for (at, claim) in indexed(claims, path) {
        let name = text(&claim["name"]);
        if !name.is_empty() && !names.insert(name) {
            out.push(Cause::duplicate(format!("{at}.name"), name));
        } else {
            label(out, &claim["name"], &format!("{at}.name"));
        }
        let problem = match SOURCES.into_iter().filter(|source| !claim[*source].is_null()).count() {
            0 => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            1 => "",
            _ => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        };
        if !problem.is_empty() {
            // As upstream's own form of it is shown.
            let shown = json!({
                "Name": name,
                "ResourceClaimName": claim["resourceClaimName"],
                "ResourceClaimTemplateName": claim["resourceClaimTemplateName"],
            });
            out.push(Cause::invalid(at.as_str(), shown, problem));
        }
        for source in SOURCES {
            subdomain(out, &claim[source], &format!("{at}.{source}"));
        }
    }
}
