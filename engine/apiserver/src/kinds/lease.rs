//! Leases.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/coordination/validation/validation.go

use serde_json::Value;

use super::{
    checked::{Checked, drop_unused},
    checks::{Causes, non_negative},
};
use crate::status::Cause;

pub static LEASE: Checked = Checked::new(lease)
    // Coordinated leader election is off.
    .preparing(|lease, old, _| drop_unused(lease, old, "spec", &["strategy", "preferredHolder"]))
    .created_by_update();

fn lease(lease: &Value) -> Causes {
    let (spec, mut out) = (&lease["spec"], Vec::new());
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        out.push(Cause::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    non_negative(&mut out, spec, "spec", &["leaseTransitions"]);
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
                    json!({"spec": {"leaseTransitions": -1}}),
                    &["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"],
                ),
            ],
        );
    }
}
