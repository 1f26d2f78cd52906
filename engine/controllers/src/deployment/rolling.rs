//! The arithmetic of a rolling update: how many pods each ReplicaSet may have next. Pure.
//!
//! Invariant: no step brings the available pods below `replicas - maxUnavailable`, or all pods above
//!            `replicas + maxSurge`.
//! Source:    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::sets::Set;

/// How far the number of pods may leave `replicas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub replicas: i32,
    pub max_surge: i32,
    pub max_unavailable: i32,
}

pub fn is_rolling(spec: &DeploymentSpec) -> bool {
    let kind = spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    kind.unwrap_or("RollingUpdate") == "RollingUpdate"
}

impl Limits {
    /// Percentages of `replicas`: a surge is rounded up, unavailability down; both zero would never get anywhere.
    pub fn of(deployment: &Deployment) -> Limits {
        let spec = deployment.spec.clone().unwrap_or_default();
        let replicas = spec.replicas.unwrap_or(1);
        if !is_rolling(&spec) {
            return Limits { replicas, max_surge: 0, max_unavailable: 0 };
        }
        let rolling = spec.strategy.and_then(|strategy| strategy.rolling_update).unwrap_or_default();
        let quarter = IntOrString::String("25%".to_owned());
        let max_surge = resolve(rolling.max_surge.as_ref().unwrap_or(&quarter), replicas, true);
        let mut max_unavailable =
            resolve(rolling.max_unavailable.as_ref().unwrap_or(&quarter), replicas, false);
        if max_surge == 0 && max_unavailable == 0 {
            max_unavailable = 1;
        }
        Limits { replicas, max_surge, max_unavailable: max_unavailable.min(replicas) }
    }

    pub fn max_total(self) -> i32 {
        self.replicas.saturating_add(self.max_surge)
    }

    pub fn min_available(self) -> i32 {
        self.replicas - self.max_unavailable
    }
}

fn resolve(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let hundredths = percent * i64::from(total);
            (if round_up { (hundredths + 99) / 100 } else { hundredths / 100 }) as i32
        }
    }
}

pub fn total(sets: &[Set]) -> i32 {
    sets.iter().map(|set| set.replicas).sum()
}

/// Pods that the sets may have at this moment: a set that was just made smaller has its pods until its status says less,
/// and perhaps more than a status from before tells, so that nothing is free until its controller has seen its size.
/// The stock controller does not wait for that, and exceeds the surge for a moment.
pub fn occupied<'a>(limits: Limits, sets: impl Iterator<Item = &'a Set> + Clone) -> i32 {
    if !sets.clone().all(Set::is_observed) {
        return limits.max_total();
    }
    sets.map(|set| set.replicas.max(set.existing)).sum()
}

/// The size of the new ReplicaSet in a rolling update; `current` is its size now, `all` the size of all together.
pub fn new_size(limits: Limits, current: i32, all: i32) -> i32 {
    if current >= limits.replicas {
        return limits.replicas;
    }
    let room = limits.max_total() - all;
    if room <= 0 { current } else { current + room.min(limits.replicas - current) }
}

/// Smaller sizes for old ReplicaSets, as (index in `old`, size). First away with what does not work anyway, then as much
/// as availability allows, the oldest set first.
pub fn shrink_old(limits: Limits, new: &Set, old: &[Set]) -> Vec<(usize, i32)> {
    let mut sizes: Vec<i32> = old.iter().map(|set| set.replicas).collect();
    let removable =
        total(old) + new.replicas - limits.min_available() - (new.replicas - new.safely_available());
    if total(old) == 0 || removable <= 0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..old.len()).collect();
    order.sort_by(|&a, &b| old[a].by_creation(&old[b]));

    let mut cleaned = 0;
    for &index in &order {
        let broken = old[index].replicas - old[index].safely_available();
        let count = broken.min(removable - cleaned).max(0);
        sizes[index] -= count;
        cleaned += count;
    }
    let available: i32 = old.iter().map(Set::safely_available).sum::<i32>() + new.safely_available();
    let mut spare = available - limits.min_available();
    for &index in &order {
        let count = sizes[index].min(spare).max(0);
        sizes[index] -= count;
        spare -= count;
    }
    let changed = |&(index, size): &(usize, i32)| size != old[index].replicas;
    sizes.into_iter().enumerate().filter(changed).collect()
}

/// Spreads a change of `replicas` over the active ReplicaSets of a rollout in proportion to their sizes, as
/// (index in `sets`, size). `before` is the total that the rollout was allowed when it was last scaled.
pub fn proportional(limits: Limits, sets: &[Set], status_replicas: i32) -> Vec<(usize, i32)> {
    let active: Vec<usize> = (0..sets.len()).filter(|&index| sets[index].replicas > 0).collect();
    let allowed = if limits.replicas > 0 { limits.max_total() } else { 0 };
    let to_add = allowed - active.iter().map(|&index| sets[index].replicas).sum::<i32>();
    let mut order = active;
    order.sort_by(|&a, &b| {
        let newer_first =
            if to_add > 0 { sets[b].by_creation(&sets[a]) } else { sets[a].by_creation(&sets[b]) };
        sets[b].replicas.cmp(&sets[a].replicas).then(newer_first)
    });
    let mut added = 0;
    let mut sizes: Vec<(usize, i32)> = Vec::with_capacity(order.len());
    for index in order {
        let share = fraction(limits, &sets[index], status_replicas);
        let left = to_add - added;
        let share = if to_add > 0 { share.min(left) } else { share.max(left) };
        let share = if left == 0 { 0 } else { share };
        added += share;
        sizes.push((index, sets[index].replicas + share));
    }
    // What rounding left over goes to the largest set.
    if let Some((_, size)) = sizes.first_mut() {
        *size = (*size + to_add - added).max(0);
    }
    sizes
}

fn fraction(limits: Limits, set: &Set, status_replicas: i32) -> i32 {
    if limits.replicas == 0 {
        return -set.replicas;
    }
    let before = set.max_replicas().unwrap_or(status_replicas);
    if before == 0 {
        return 0;
    }
    let size = f64::from(set.replicas) * f64::from(limits.max_total()) / f64::from(before);
    size.round() as i32 - set.replicas
}
