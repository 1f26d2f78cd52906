//! Admission webhooks: others that are asked about a write before it is stored.
//!
//! Kept true: without a configuration in the store a request pays one look-up; mutating webhooks are asked one after the
//!            other in the order of their names, validating ones all at once; what a webhook made of an object is shaped
//!            (pruned, defaulted) before the next one sees it.
//! Reads:     MutatingWebhookConfigurations, ValidatingWebhookConfigurations; Namespaces' labels.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/ and
//! https://github.com/kubernetes/apiserver/tree/master/pkg/admission/plugin/webhook

mod call;
mod configuration;
mod mutating;
mod review;
mod validating;

pub use mutating::{Round, mutate};
pub use validating::validate;
