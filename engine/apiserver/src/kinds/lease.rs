//! Leases.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/coordination/validation/validation.go

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, is_set, non_negative, text},
};
use crate::{metadata::qualified_name_problems, status::Cause};

/// As upstream has it.
const LEASE_STRATEGY: &str = "spec.strategy.strategy";

pub static LEASE: Checked = Checked::new(lease).created_by_update();
fn lease(lease: &Value) -> Causes {
    let (spec, mut out) = (&lease["spec"], Vec::new());
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        out.push(Cause::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    non_negative(&mut out, spec, "spec", &["leaseTransitions"]);
    let strategy = text(&spec["strategy"]);
    if strategy.contains('/') {
        add(&mut out, LEASE_STRATEGY, strategy, qualified_name_problems(strategy));
    } else if spec["strategy"].is_string() && strategy != "OldestEmulationVersion" {
        out.push(Cause::not_supported(LEASE_STRATEGY, strategy, &["OldestEmulationVersion"]));
    }
    if is_set(&spec["preferredHolder"]) && strategy.is_empty() {
        out.push(Cause::forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn a_lease_gets_the_stock_causes() {
        assert_cases(
            json!({"spec": {"leaseDurationSeconds": 1}}),
            lease,
            &[
                (
                    json!({"spec": {"leaseDurationSeconds": 0}}),
                    &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
                ),
                (
                    json!({"spec": {"preferredHolder": "a"}}),
                    &["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"],
                ),
                (
                    json!({"spec": {"strategy": "Newest"}}),
                    &[
                        "spec.strategy.strategy: Unsupported value: \"Newest\": supported values: \"OldestEmulationVersion\"",
                    ],
                ),
            ],
        );
    }
}
