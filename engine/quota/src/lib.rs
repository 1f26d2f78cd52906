//! What the objects of a namespace use, and what its ResourceQuotas allow. The API server asks before it writes, the
//! controller writes it down; both count here.
//!
//! Invariant: pure but for the clock that the caller passes; nothing is written.
//! Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/ and
//! https://github.com/kubernetes/kubernetes/tree/master/pkg/quota/v1/evaluator/core

mod amounts;
mod charge;
mod pod;
mod quota;
mod scope;
#[cfg(test)]
mod tests;
mod usage;

pub use amounts::Amounts;
pub use charge::{Charge, is_uniform};
pub use pod::{PodPart, pod_amounts};
pub use quota::{Quota, resource_of};
pub use usage::{Pending, Usage};
