//! Which objects a list or a watch shows: label and field selectors over stored objects.
//!
//! Reads: `Object.meta.labels`, and of the JSON only the fields that are asked for. Invariant: an empty selector costs nothing.

pub mod extract;
pub mod fields;
pub mod labels;

use coracle_store::Object;

pub use fields::FieldSelector;
pub use labels::LabelSelector;

#[derive(Clone, Debug, Default)]
pub struct Selector {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Selector {
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Object) -> bool {
        self.labels.matches(&object.meta.labels) && self.fields.matches(&object.key, &object.json)
    }
}
