//! A strategy that is nothing but checks: most kinds.

use serde_json::Value;

use super::checks::Causes;
use crate::{
    status::Status,
    strategy::{Context, NameRule, Strategy},
};

pub struct Checked {
    /// What must hold always.
    pub validate: fn(&Value) -> Causes,
    /// What must hold between an object (first) and the one before it.
    pub compare: fn(&Value, &Value) -> Causes,
    /// Fills in what the server decides, before the checks. Not for subresources.
    pub prepare: fn(&mut Value, Option<&Value>, Context<'_>),
    pub name_rule: NameRule,
    pub create_on_update: bool,
}

impl Checked {
    pub const fn new(validate: fn(&Value) -> Causes) -> Checked {
        Checked {
            validate,
            compare: |_, _| Vec::new(),
            prepare: |_, _, _| {},
            name_rule: NameRule::Subdomain,
            create_on_update: false,
        }
    }

    pub const fn comparing(self, compare: fn(&Value, &Value) -> Causes) -> Checked {
        Checked { compare, ..self }
    }

    pub const fn preparing(self, prepare: fn(&mut Value, Option<&Value>, Context<'_>)) -> Checked {
        Checked { prepare, ..self }
    }

    pub const fn named(self, name_rule: NameRule) -> Checked {
        Checked { name_rule, ..self }
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

impl Strategy for Checked {
    fn prepare_create(&self, context: Context<'_>, object: &mut Value) -> Result<(), Status> {
        (self.prepare)(object, None, context);
        Ok(())
    }

    fn prepare_update(&self, context: Context<'_>, object: &mut Value, old: &Value) -> Result<(), Status> {
        if !is_apart(context) {
            (self.prepare)(object, Some(old), context);
        }
        Ok(())
    }

    fn validate(&self, _context: Context<'_>, object: &Value) -> Causes {
        (self.validate)(object)
    }

    fn validate_update(&self, context: Context<'_>, object: &Value, old: &Value) -> Causes {
        if is_apart(context) {
            return Vec::new();
        }
        let mut causes = (self.compare)(object, old);
        causes.extend((self.validate)(object));
        causes
    }

    fn name_rule(&self) -> NameRule {
        self.name_rule
    }

    fn create_on_update(&self) -> bool {
        self.create_on_update
    }
}
