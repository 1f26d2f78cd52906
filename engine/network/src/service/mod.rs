//! Services: what the API says about them, which rules that means, and the table that holds these rules.

mod conntrack;
mod endpoints;
mod plan;
mod ranges;
mod rules;
mod table;
#[cfg(test)]
mod tests;
mod watch;

pub use endpoints::{Endpoint, Endpoints, endpoints_of, service_of_slice};
pub use plan::{Environment, Plan, plan_pod, plan_service};
pub use rules::{Owner, Rules};
pub use watch::{Proxy, SERVICES, SLICES};

/// The one table that Coracle owns.
pub const TABLE: &str = "coracle";
