//! Roles' bindings, and what extends the API server: webhooks and admission policies.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AGE, Column, NAME, Printer, age,
    cells::{UNSET, integer, items, shown, text},
    name,
};

const BINDING_COLUMNS: &[Column] = &[
    NAME,
    text(
        "Role",
        "RoleRef can only reference a ClusterRole in the global namespace, or a Role in the current one.",
    ),
    AGE,
    text("Users", "Users in the roleBinding").wide(),
    text("Groups", "Groups in the roleBinding").wide(),
    text("ServiceAccounts", "ServiceAccounts in the roleBinding").wide(),
];

/// RoleBindings and ClusterRoleBindings.
pub const BINDINGS: Printer = Printer { columns: BINDING_COLUMNS, cells: binding };

fn binding(binding: &Value, now: Timestamp) -> Vec<Value> {
    let role = &binding["roleRef"];
    let subjects = |kind: &str| -> Value {
        let own = items(&binding["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let names = own.map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", shown(&subject["namespace"]), shown(&subject["name"])),
            _ => shown(&subject["name"]).to_owned(),
        });
        names.collect::<Vec<_>>().join(", ").into()
    };
    vec![
        name(binding),
        format!("{}/{}", shown(&role["kind"]), shown(&role["name"])).into(),
        age::of(binding, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

/// Mutating and validating ones.
pub const WEBHOOKS: Printer = Printer {
    columns: &[
        NAME,
        integer("Webhooks", "Webhooks indicates the number of webhooks registered in this configuration"),
        AGE,
    ],
    cells: |object, now| vec![name(object), json!(items(&object["webhooks"]).len()), age::of(object, now)],
};

const PARAM_KIND: Column =
    text("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy");

fn param_kind(policy: &Value) -> Value {
    let kind = &policy["spec"]["paramKind"];
    match shown(&kind["kind"]) {
        "" => UNSET.into(),
        own => format!("{}/{own}", shown(&kind["apiVersion"])).into(),
    }
}

pub const VALIDATING_POLICIES: Printer = Printer {
    columns: &[
        NAME,
        integer(
            "Validations",
            "Validations indicates the number of validation rules defined in this configuration",
        ),
        PARAM_KIND,
        AGE,
    ],
    cells: |policy, now| {
        let rules = items(&policy["spec"]["validations"]).len();
        vec![name(policy), json!(rules), param_kind(policy), age::of(policy, now)]
    },
};

pub const MUTATING_POLICIES: Printer = Printer {
    columns: &[
        NAME,
        integer(
            "Mutations",
            "Mutation indicates the number of mutations rules defined in this configuration",
        ),
        PARAM_KIND,
        AGE,
    ],
    cells: |policy, now| {
        let rules = items(&policy["spec"]["mutations"]).len();
        vec![name(policy), json!(rules), param_kind(policy), age::of(policy, now)]
    },
};

pub const POLICY_BINDINGS: Printer = Printer {
    columns: &[
        NAME,
        text("PolicyName", "PolicyName indicates the policy definition which the policy binding binded to"),
        text("ParamRef", "ParamRef indicates the param resource which sets the configration param"),
        AGE,
    ],
    cells: |binding, now| {
        let spec = &binding["spec"];
        let params = &spec["paramRef"];
        let param_name = match (shown(&params["namespace"]), shown(&params["name"])) {
            _ if params.is_null() => UNSET.into(),
            ("", own) => own.to_owned(),
            (namespace, own) => format!("{namespace}/{own}"),
        };
        vec![name(binding), shown(&spec["policyName"]).into(), param_name.into(), age::of(binding, now)]
    },
};
