//! What is left in a namespace that is going, and how its conditions say so. Pure.
//!
//! Source: https://kubernetes.io/docs/tasks/administer-cluster/namespaces/ and KEP-5080 (pods go first)

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{NamespaceCondition, NamespaceStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

/// What is left, by resource and by finalizer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    pub resources: BTreeMap<String, usize>,
    pub finalizers: BTreeMap<String, usize>,
}

impl Remaining {
    /// An object of the resource with these finalizers.
    pub fn add(&mut self, resource: &str, finalizers: impl Iterator<Item = impl AsRef<str>>) {
        *self.resources.entry(resource.to_owned()).or_default() += 1;
        for finalizer in finalizers {
            *self.finalizers.entry(finalizer.as_ref().to_owned()).or_default() += 1;
        }
    }

    /// Pods go first, so that nothing they need goes before them.
    pub fn has_pods(&self) -> bool {
        self.resources.contains_key("pods")
    }

    /// The resources to delete now.
    pub fn deletable(&self) -> Vec<&str> {
        let all = self.resources.keys().map(String::as_str);
        if self.has_pods() { vec!["pods"] } else { all.collect() }
    }
}

/// What could not be found out or done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Group versions that do not say what they serve, and why: nobody knows what they still hold.
    pub undiscovered: Vec<(String, String)>,
    /// Why content could not be deleted, one text a resource.
    pub content: Vec<String>,
}

pub fn status(
    before: Option<&NamespaceStatus>,
    remaining: &Remaining,
    refused: &Refused,
    now: Timestamp,
) -> NamespaceStatus {
    let Refused { undiscovered, content } = refused;
    let list = |counts: &BTreeMap<String, usize>, item: &dyn Fn(&str, usize) -> String| {
        counts.iter().map(|(name, count)| item(name, *count)).collect::<Vec<_>>().join(", ")
    };
    let resources = list(&remaining.resources, &|resource, count| {
        let dotted = if resource.contains('.') { resource.to_owned() } else { format!("{resource}.") };
        format!("{dotted} has {count} resource instances")
    });
    let finalizers =
        list(&remaining.finalizers, &|name, count| format!("{name} in {count} resource instances"));
    let wanted = [
        if undiscovered.is_empty() {
            let message = "All resources successfully discovered".to_owned();
            ("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", message)
        } else {
            let of = |(name, why): &(String, String)| format!("{name}: {why}");
            let message = format!(
                "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
                undiscovered.len(),
                undiscovered.iter().map(of).collect::<Vec<_>>().join(", ")
            );
            ("NamespaceDeletionDiscoveryFailure", true, "DiscoveryFailed", message)
        },
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        if content.is_empty() {
            let message = "All content successfully deleted, may be waiting on finalization".to_owned();
            ("NamespaceDeletionContentFailure", false, "ContentDeleted", message)
        } else {
            let mut texts = content.clone();
            texts.sort();
            let (count, texts) = (texts.len(), texts.join(", "));
            let message = format!("Failed to delete all resource types, {count} remaining: {texts}");
            ("NamespaceDeletionContentFailure", true, "ContentDeletionFailed", message)
        },
        if resources.is_empty() {
            let message = "All content successfully removed".to_owned();
            ("NamespaceContentRemaining", false, "ContentRemoved", message)
        } else {
            let message = format!("Some resources are remaining: {resources}");
            ("NamespaceContentRemaining", true, "SomeResourcesRemain", message)
        },
        if finalizers.is_empty() {
            let message = "All content-preserving finalizers finished".to_owned();
            ("NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers", message)
        } else {
            let message = format!("Some content in the namespace has finalizers remaining: {finalizers}");
            ("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", message)
        },
    ];
    let mut status = before.cloned().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    for (kind, holds, reason, message) in wanted {
        set(conditions, kind, if holds { "True" } else { "False" }, reason, message, now);
    }
    status
}

fn set(
    conditions: &mut Vec<NamespaceCondition>,
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let index = conditions.iter().position(|condition| condition.type_ == kind).unwrap_or_else(|| {
        conditions.push(NamespaceCondition { type_: kind.to_owned(), ..Default::default() });
        conditions.len() - 1
    });
    let condition = &mut conditions[index];
    if condition.status != status {
        condition.status = status.to_owned();
        condition.last_transition_time = Some(Time(now));
    }
    condition.reason = Some(reason.to_owned());
    condition.message = Some(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining(resources: &[(&str, usize)], finalizers: &[(&str, usize)]) -> Remaining {
        let map = |pairs: &[(&str, usize)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Remaining { resources: map(resources), finalizers: map(finalizers) }
    }

    #[test]
    fn pods_go_before_everything_else() {
        assert_eq!(remaining(&[("pods", 1), ("secrets", 2)], &[]).deletable(), ["pods"]);
        assert_eq!(
            remaining(&[("deployments.apps", 1), ("secrets", 2)], &[]).deletable(),
            ["deployments.apps", "secrets"]
        );
    }

    #[test]
    fn conditions_name_what_is_left() {
        let now = Timestamp::from_second(9).unwrap();
        let left = remaining(&[("pods", 2), ("ingresses.networking.k8s.io", 1)], &[("example.com/hold", 1)]);
        let shown = |refused: &Refused| -> Vec<String> {
            let conditions = status(None, &left, refused, now).conditions.unwrap_or_default();
            let text = |it: &NamespaceCondition| it.message.clone().unwrap_or_default();
            conditions.iter().map(|it| format!("{}={} {}", it.type_, it.status, text(it))).collect()
        };
        let refused = Refused {
            undiscovered: vec![("x.io/v1".into(), "it is away".into())],
            content: vec!["b fails".into(), "a fails".into()],
        };
        let failed = shown(&refused);
        assert_eq!(
            [&failed[0], &failed[2]],
            [
                "NamespaceDeletionDiscoveryFailure=True Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: x.io/v1: it is away",
                "NamespaceDeletionContentFailure=True Failed to delete all resource types, 2 remaining: a fails, b fails",
            ]
        );
        assert_eq!(
            shown(&Refused::default()),
            [
                "NamespaceDeletionDiscoveryFailure=False All resources successfully discovered",
                "NamespaceDeletionGroupVersionParsingFailure=False All legacy kube types successfully parsed",
                "NamespaceDeletionContentFailure=False All content successfully deleted, may be waiting on finalization",
                "NamespaceContentRemaining=True Some resources are remaining: ingresses.networking.k8s.io has 1 resource instances, pods. has 2 resource instances",
                "NamespaceFinalizersRemaining=True Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            ]
        );
    }
}
