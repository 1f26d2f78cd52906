//! The functions of the language and of the extensions that stock servers enable.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries

pub(crate) mod convert;
mod format;
mod lists;
mod optional;
mod strings;

use crate::signature::Function;
pub(crate) use format::plain;
pub(crate) use strings::compile as compile_regex;

pub(crate) fn tables() -> impl Iterator<Item = &'static [(&'static str, Function)]> {
    [
        crate::operators::ORDER,
        crate::operators::ARITHMETIC,
        crate::time::TABLE,
        convert::TABLE,
        lists::TABLE,
        optional::TABLE,
        strings::TABLE,
    ]
    .into_iter()
}
