//! A strategy that is nothing but checks: most kinds.

use serde_json::Value;

use super::checks::Causes;
use crate::{
    status::Status,
    strategy::{Context, Dependents, NameRule, Strategy},
};

pub struct Checked {
    /// What must hold always.
    pub validate: fn(&Value) -> Causes,
    /// What must hold between an object (first) and the one before it.
    pub compare: fn(&Value, &Value) -> Causes,
    /// What must hold of a status (first) that follows another.
    pub status: fn(&Value, &Value) -> Causes,
    /// Fills in what the server decides, before the checks. Not for subresources.
    pub prepare: fn(&mut Value, Option<&Value>, Context<'_>),
    /// The same for a status (first) that follows another.
    pub prepare_status: fn(&mut Value, &Value),
    /// What the cluster must allow: at creation, and of a status that follows another.
    pub allowed: fn(&Value, Option<&Value>, Context<'_>) -> Causes,
    /// What is said of an object that is new (`true`) or whose generation changed.
    pub warn: fn(&Value, bool) -> Vec<String>,
    /// What is said at every write, of an object and the one before it.
    pub always_warn: fn(&Value, Option<&Value>) -> Vec<String>,
    pub name_rule: NameRule,
    pub create_on_update: bool,
    pub dependents: Dependents,
    /// `validate` is for creation alone; `compare` says all about updates.
    pub at_creation: bool,
}

impl Checked {
    pub const fn new(validate: fn(&Value) -> Causes) -> Checked {
        Checked {
            validate,
            compare: |_, _| Vec::new(),
            status: |_, _| Vec::new(),
            prepare: |_, _, _| {},
            prepare_status: |_, _| {},
            allowed: |_, _, _| Vec::new(),
            warn: |_, _| Vec::new(),
            always_warn: |_, _| Vec::new(),
            name_rule: NameRule::Subdomain,
            create_on_update: false,
            dependents: Dependents::Deleted,
            at_creation: false,
        }
    }

    pub const fn comparing(self, compare: fn(&Value, &Value) -> Causes) -> Checked {
        Checked { compare, ..self }
    }

    pub const fn checking_status(self, status: fn(&Value, &Value) -> Causes) -> Checked {
        Checked { status, ..self }
    }

    pub const fn preparing(self, prepare: fn(&mut Value, Option<&Value>, Context<'_>)) -> Checked {
        Checked { prepare, ..self }
    }

    pub const fn preparing_status(self, prepare_status: fn(&mut Value, &Value)) -> Checked {
        Checked { prepare_status, ..self }
    }

    pub const fn allowing(self, allowed: fn(&Value, Option<&Value>, Context<'_>) -> Causes) -> Checked {
        Checked { allowed, ..self }
    }

    pub const fn warning(self, warn: fn(&Value, bool) -> Vec<String>) -> Checked {
        Checked { warn, ..self }
    }

    pub const fn always_warning(self, always_warn: fn(&Value, Option<&Value>) -> Vec<String>) -> Checked {
        Checked { always_warn, ..self }
    }

    pub const fn named(self, name_rule: NameRule) -> Checked {
        Checked { name_rule, ..self }
    }

    pub const fn once(self) -> Checked {
        Checked { at_creation: true, ..self }
    }

    pub const fn with_dependents(self, dependents: Dependents) -> Checked {
        Checked { dependents, ..self }
    }

    /// PUT creates what is absent.
    pub const fn created_by_update(self) -> Checked {
        Checked { create_on_update: true, ..self }
    }
}

/// Updates of these change no part that is checked here.
fn is_apart(context: Context<'_>) -> bool {
    !matches!(context.subresource, "" | "scale")
}

/// Removes what only a feature that is off would use, unless it was there before.
pub fn drop_unused(object: &mut Value, old: Option<&Value>, part: &str, fields: &[&str]) {
    let Some(part_of_it) = object.get_mut(part) else { return };
    for field in fields.iter().filter(|field| old.is_none_or(|old| old[part][**field].is_null())) {
        crate::object::remove(part_of_it, field);
    }
}

/// What was accepted once, by an older server, does not stop later changes of other fields.
pub fn news(mut causes: Causes, before: impl FnOnce() -> Causes) -> Causes {
    if !causes.is_empty() {
        let before = before();
        causes.retain(|cause| !before.contains(cause));
    }
    causes
}

impl Strategy for Checked {
    fn prepare_create(&self, context: Context<'_>, object: &mut Value) -> Result<(), Status> {
        (self.prepare)(object, None, context);
        Ok(())
    }

    fn prepare_update(&self, context: Context<'_>, object: &mut Value, old: &Value) -> Result<(), Status> {
        if context.subresource == "status" {
            (self.prepare_status)(object, old);
        } else if !is_apart(context) {
            (self.prepare)(object, Some(old), context);
        }
        Ok(())
    }

    fn validate(&self, context: Context<'_>, object: &Value) -> Causes {
        let mut causes = (self.allowed)(object, None, context);
        causes.extend((self.validate)(object));
        causes
    }

    fn validate_update(&self, context: Context<'_>, object: &Value, old: &Value) -> Causes {
        if context.subresource == "status" {
            let mut causes = (self.allowed)(object, Some(old), context);
            causes.extend((self.status)(object, old));
            return causes;
        }
        if is_apart(context) {
            return Vec::new();
        }
        let mut causes = (self.compare)(object, old);
        if self.at_creation {
            return causes;
        }
        causes.extend(news((self.validate)(object), || (self.validate)(old)));
        causes
    }

    fn warnings(&self, context: Context<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        let generation = |object: &Value| object["metadata"]["generation"].as_i64();
        // Kinds that count no generations are warned of at every write.
        let is_news =
            old.is_none_or(|old| generation(object).is_none() || generation(old) != generation(object));
        if is_apart(context) {
            return Vec::new();
        }
        let mut out = if is_news { (self.warn)(object, old.is_none()) } else { Vec::new() };
        out.extend((self.always_warn)(object, old));
        out
    }

    fn name_rule(&self) -> NameRule {
        self.name_rule
    }

    fn create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn dependents(&self) -> Dependents {
        self.dependents
    }
}
