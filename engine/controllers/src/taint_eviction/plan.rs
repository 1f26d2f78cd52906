//! How long a pod stays under the taints of its node.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Taint, Toleration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    Forever,
    /// Zero: a taint is not tolerated at all.
    For(Duration),
}

/// `taints` are those with the effect `NoExecute`. The shortest time of all tolerations that are used counts.
pub fn stay(taints: &[Taint], tolerations: &[Toleration]) -> Stay {
    let used = |taint: &Taint| tolerations.iter().filter(|it| covers(it, taint)).collect::<Vec<_>>();
    let used: Vec<Vec<&Toleration>> = taints.iter().map(used).collect();
    if used.iter().any(Vec::is_empty) {
        return Stay::For(Duration::ZERO);
    }
    let seconds = used.iter().flatten().filter_map(|it| it.toleration_seconds).min();
    match seconds {
        None => Stay::Forever,
        Some(seconds) => Stay::For(Duration::from_secs(u64::try_from(seconds).unwrap_or_default())),
    }
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    let same_value = match text(&toleration.operator).as_str() {
        "Exists" => true,
        "" | "Equal" => text(&toleration.value) == text(&taint.value),
        _ => false,
    };
    (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key) && same_value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str) -> Taint {
        Taint { key: key.into(), effect: "NoExecute".into(), ..Taint::default() }
    }

    fn tolerating(key: &str, seconds: Option<i64>) -> Toleration {
        let text = |text: &str| Some(text.to_owned());
        Toleration {
            key: text(key),
            operator: text("Exists"),
            toleration_seconds: seconds,
            ..Toleration::default()
        }
    }

    #[test]
    fn a_pod_stays_as_long_as_all_taints_are_tolerated() {
        let time = |seconds| Stay::For(Duration::from_secs(seconds));
        let (a, b) = (taint("a"), taint("b"));
        for (taints, tolerations, expected) in [
            (vec![], vec![], Stay::Forever),
            (vec![a.clone()], vec![], time(0)),
            (vec![a.clone()], vec![tolerating("a", None)], Stay::Forever),
            (vec![a.clone()], vec![tolerating("", None)], Stay::Forever),
            (vec![a.clone()], vec![tolerating("a", Some(300))], time(300)),
            (vec![a.clone(), b.clone()], vec![tolerating("a", Some(300))], time(0)),
            (
                vec![a.clone(), b.clone()],
                vec![tolerating("a", Some(300)), tolerating("b", Some(30))],
                time(30),
            ),
            (vec![a.clone()], vec![tolerating("a", Some(-1)), tolerating("b", Some(30))], time(0)),
        ] {
            assert_eq!(stay(&taints, &tolerations), expected, "{taints:?} {tolerations:?}");
        }
    }
}
