//! Service: cluster addresses, node ports, address families, the fields that depend on the type.
//!
//! Invariant: an address or port belongs to at most one Service; what a failed write took goes back.
//! Writes: [`Allocations`] of the state, in memory; they are rebuilt from the stored Services at start.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/service/storage/alloc.go

mod allocations;
mod claims;
mod families;
mod fields;
mod ranges;
mod update;
mod validation;

use serde_json::Value;

pub use allocations::Allocations;

use crate::{
    kinds::{checked::news, warnings},
    status::{Cause, GroupResource, Status},
    strategy::{Context, NameRule, Strategy},
    types::State,
};
use claims::Claims;

pub struct Service;

impl Strategy for Service {
    fn reserves(&self) -> bool {
        true
    }

    fn prepare_create(&self, context: Context<'_>, service: &mut Value) -> Result<(), Status> {
        fields::normalize(service);
        service["status"] = serde_json::json!({"loadBalancer": {}});
        check_families(service)?;
        fields::families(service);
        allocate(context.state, service, None)
    }

    fn prepare_update(&self, context: Context<'_>, service: &mut Value, old: &Value) -> Result<(), Status> {
        if !context.subresource.is_empty() {
            return Ok(());
        }
        fields::carry_over(service, old);
        fields::normalize(service);
        fields::drop_unneeded(service, old);
        check_families(service)?;
        fields::families(service);
        allocate(context.state, service, Some(old))
    }

    fn validate(&self, _context: Context<'_>, service: &Value) -> Vec<Cause> {
        validation::validate(service)
    }

    fn validate_update(&self, context: Context<'_>, service: &Value, old: &Value) -> Vec<Cause> {
        if context.subresource == "status" {
            return validation::validate_status(service);
        }
        if !context.subresource.is_empty() {
            return Vec::new();
        }
        let mut causes = update::validate(service, old);
        causes.extend(news(validation::validate(service), || validation::validate(old)));
        causes
    }

    fn warnings(&self, context: Context<'_>, service: &Value, _old: Option<&Value>) -> Vec<String> {
        if context.subresource.is_empty() { warnings::service(service) } else { Vec::new() }
    }

    fn release(&self, context: Context<'_>, service: &Value, old: Option<&Value>) {
        let kept = old.map(Claims::of).unwrap_or_default();
        context.state.services.free(&Claims::of(service).without(&kept));
    }

    fn after_update(&self, context: Context<'_>, service: &Value, old: &Value) {
        context.state.services.free(&Claims::of(old).without(&Claims::of(service)));
    }

    fn after_delete(&self, state: &State, service: &Value) {
        state.services.free(&Claims::of(service));
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }
}

/// What no address can be found for is refused before one is looked for.
fn check_families(service: &Value) -> Result<(), Status> {
    let mut causes = families::validate(service);
    if causes.is_empty() {
        causes = families::available(service);
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(GroupResource::new("", "Service"), crate::object::name(service), causes))
}

/// Takes what the Service asks for and does not hold yet, and chooses what it leaves open.
fn allocate(state: &State, service: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    let held = old.map(Claims::of).unwrap_or_default();
    let allocated = state.services.allocate(service, &held, &ranges::ready(&state.reader));
    allocated.map_err(|cause| not_allocated(service, cause))
}

/// That nothing is left is not the client's fault.
fn not_allocated(service: &Value, cause: Cause) -> Status {
    match &*cause.reason {
        "InternalError" => Status::internal(cause.message),
        _ => Status::invalid(GroupResource::new("", "Service"), crate::object::name(service), vec![cause]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_range_is_an_internal_error() {
        let all = Allocations::new("10.43.0.0/30".parse().expect("cidr"), 30000..=30000, std::iter::empty());
        let ports = serde_json::json!([{"port": 1}, {"port": 2}]);
        let mut service = serde_json::json!({"spec": {"type": "NodePort", "ports": ports}});
        let cause = all.allocate(&mut service, &Claims::default(), &[]).expect_err("full");
        let status = not_allocated(&service, cause);
        let message = "Internal error occurred: failed to allocate a nodePort: range is full";
        assert_eq!((status.code, &*status.message), (500, message));
    }
}
