//! ServiceAccounts.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/serviceaccount/strategy.go

use super::{checked::Checked, warnings};

pub static SERVICE_ACCOUNT: Checked = Checked::new(|_| Vec::new()).always_warning(warnings::service_account);
