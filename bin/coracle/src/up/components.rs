//! What `kubectl get componentstatuses` tells of: whether the loops of a role turn.

use std::{sync::Arc, time::Duration};

use coracle_apiserver::ComponentCheck;
use coracle_lifecycle::Pulse;
use futures::FutureExt;

/// https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/componentstatus/validator.go (`probeTimeOut`)
const WITHIN: Duration = Duration::from_secs(20);

pub fn turns(pulse: &Pulse) -> ComponentCheck {
    let pulse = pulse.clone();
    Arc::new(move || {
        let pulse = pulse.clone();
        async move { pulse.check(WITHIN).await.map_err(|error| error.to_string()) }.boxed()
    })
}
