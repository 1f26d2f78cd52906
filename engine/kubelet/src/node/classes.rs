//! How much of the processors the pods of a QoS class get where they compete.
//!
//! Writes:    the cgroups `burstable` and `besteffort`. Guaranteed pods stand beside them, each with its own share.
//! Kept true: a class weighs what its pods ask for, so that a request means the same to pods of any class; those that
//!            ask for nothing get what the others leave.
//! Source:    https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/cm/qos_container_manager_linux.go

use coracle_runtime::Resources;

use crate::resources::{QosClass, cpu_shares};
use crate::shared::Shared;

/// For every pod that comes or goes. What is there already is not written again.
pub async fn weigh(shared: &Shared) {
    let mut written = shared.class_shares.lock().await;
    for class in [QosClass::Burstable, QosClass::BestEffort] {
        let group = class.group();
        let shares = cpu_shares(shared.bookings.lock().milli_cpu(class));
        if written.get(group) == Some(&shares) {
            continue;
        }
        let all = Resources { cpu_shares: Some(shares), ..Resources::default() };
        match shared.runtime.limit_group(group, &all).await {
            Ok(()) => drop(written.insert(group, shares)),
            Err(error) => {
                tracing::warn!(error = crate::chain(&error), "pods of class {group} have no weight")
            }
        }
    }
}
