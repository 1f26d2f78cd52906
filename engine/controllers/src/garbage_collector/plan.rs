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
    /// It waits for its dependents: these must go, or none is left.
    Foreground,
    /// It goes, its dependents stay without it.
    Orphan,
}

/// `owners` as `meta.owner_references`; `has_dependents` whether anything names the object as its owner.
pub fn plan(meta: &Meta, owners: &[Owner], has_dependents: bool) -> Plan {
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
    let policy = match (waiting && has_dependents, has(ORPHAN), has(FOREGROUND)) {
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
            block_owner_deletion: false,
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
        let cases: Vec<(Meta, &[Owner], bool, Plan)> = vec![
            (meta(&[], &[], false), &[], true, Plan::Nothing),
            (meta(&["a"], &[], false), &[Solid], false, Plan::Nothing),
            (meta(&["a"], &[], false), &[Absent], false, delete(Policy::Background)),
            (meta(&["a", "b"], &[], false), &[Absent, Solid], false, Plan::Disown { uids: vec!["a".into()] }),
            (meta(&["a", "b"], &[], false), &[Waiting, Solid], true, Plan::Disown { uids: vec!["a".into()] }),
            (meta(&["a"], &[], false), &[Waiting], true, delete(Policy::Foreground)),
            (meta(&["a"], &[], false), &[Waiting], false, delete(Policy::Background)),
            (meta(&["a"], &[ORPHAN], false), &[Absent], false, delete(Policy::Orphan)),
            (meta(&[], &[FOREGROUND], true), &[], true, Plan::Foreground),
            (meta(&[], &[ORPHAN], true), &[], true, Plan::Orphan),
            (meta(&["a"], &["example.com/hold"], true), &[Absent], false, Plan::Nothing),
        ];
        for (meta, owners, has_dependents, expected) in cases {
            assert_eq!(plan(&meta, owners, has_dependents), expected, "{owners:?} {:?}", meta.finalizers);
        }
    }
}
