//! What becomes of an object whose owners went, or that goes itself. Pure.
//!
//! Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents

use coracle_store::Meta;

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

/// What the store says about one owner of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is there, or it cannot be told.
    Solid,
    /// It goes, once its dependents are gone.
    Waiting,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Background,
    Foreground,
    Orphan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    Nothing,
    /// Forget the owners of these uids; others are left.
    Disown {
        uids: Vec<String>,
    },
    Delete {
        policy: Policy,
    },
    /// It waits in a circle with its owners: they need not wait for it any more. It goes in a later pass.
    Unblock,
    /// It waits for its dependents: these must go, or none is left.
    Foreground,
    /// It goes, its dependents stay without it.
    Orphan,
}

/// What names an object as its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    None,
    Some,
    /// At least one waits for dependents of its own.
    Waiting,
}

/// `owners` as `meta.owner_references`.
pub fn plan(meta: &Meta, owners: &[Owner], dependents: Dependents) -> Plan {
    let has = |finalizer: &str| meta.finalizers.iter().any(|other| &**other == finalizer);
    if meta.deletion_timestamp.is_some() {
        return match (has(FOREGROUND), has(ORPHAN)) {
            (true, _) => Plan::Foreground,
            (false, true) => Plan::Orphan,
            (false, false) => Plan::Nothing,
        };
    }
    let solid = owners.contains(&Owner::Solid);
    if owners.is_empty() || owners.iter().all(|owner| *owner == Owner::Solid) {
        return Plan::Nothing;
    }
    if solid {
        let gone = meta.owner_references.iter().zip(owners).filter(|(_, owner)| **owner != Owner::Solid);
        return Plan::Disown { uids: gone.map(|(reference, _)| reference.uid.to_string()).collect() };
    }
    let waiting = owners.contains(&Owner::Waiting);
    // As on a stock server, more than circles look like one.
    let blocks = meta.owner_references.iter().any(|owner| owner.block_owner_deletion);
    if waiting && blocks && dependents == Dependents::Waiting {
        return Plan::Unblock;
    }
    let policy = match (waiting && dependents != Dependents::None, has(ORPHAN), has(FOREGROUND)) {
        (true, _, _) => Policy::Foreground,
        (_, true, _) => Policy::Orphan,
        (_, _, true) => Policy::Foreground,
        _ => Policy::Background,
    };
    Plan::Delete { policy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_store::OwnerReference;

    fn meta(owners: &[&str], finalizers: &[&str], going: bool) -> Meta {
        let reference = |uid: &&str| OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: (*uid).into(),
            uid: (*uid).into(),
            controller: false,
            block_owner_deletion: uid.starts_with('b'),
        };
        Meta {
            owner_references: owners.iter().map(reference).collect(),
            finalizers: finalizers.iter().map(|name| (*name).into()).collect(),
            deletion_timestamp: going.then(|| "2026-01-01T00:00:00Z".into()),
            ..Meta::default()
        }
    }

    #[test]
    fn an_object_follows_its_last_owner() {
        use Owner::{Absent, Solid, Waiting};
        let delete = |policy| Plan::Delete { policy };
        let (none, some, waiting) = (Dependents::None, Dependents::Some, Dependents::Waiting);
        let cases: Vec<(Meta, &[Owner], Dependents, Plan)> = vec![
            (meta(&[], &[], false), &[], some, Plan::Nothing),
            (meta(&["a"], &[], false), &[Solid], none, Plan::Nothing),
            (meta(&["a"], &[], false), &[Absent], none, delete(Policy::Background)),
            (meta(&["a", "b"], &[], false), &[Absent, Solid], none, Plan::Disown { uids: vec!["a".into()] }),
            (meta(&["a", "b"], &[], false), &[Waiting, Solid], some, Plan::Disown { uids: vec!["a".into()] }),
            (meta(&["a"], &[], false), &[Waiting], some, delete(Policy::Foreground)),
            (meta(&["a"], &[], false), &[Waiting], none, delete(Policy::Background)),
            (meta(&["b"], &[], false), &[Waiting], some, delete(Policy::Foreground)),
            (meta(&["b"], &[], false), &[Waiting], waiting, Plan::Unblock),
            (meta(&["a"], &[], false), &[Waiting], waiting, delete(Policy::Foreground)),
            (meta(&["b"], &[], false), &[Absent], waiting, delete(Policy::Background)),
            (meta(&["a"], &[ORPHAN], false), &[Absent], none, delete(Policy::Orphan)),
            (meta(&[], &[FOREGROUND], true), &[], some, Plan::Foreground),
            (meta(&[], &[ORPHAN], true), &[], some, Plan::Orphan),
            (meta(&["a"], &["example.com/hold"], true), &[Absent], none, Plan::Nothing),
        ];
        for (meta, owners, dependents, expected) in cases {
            assert_eq!(plan(&meta, owners, dependents), expected, "{owners:?} {:?}", meta.finalizers);
        }
    }
}
