//! `status.typeChecking` of a ValidatingAdmissionPolicy: what its expressions get wrong about the kinds it names.
//!
//! Kept true: warnings refuse nothing; rules with wildcards are not checked, and no more than ten kinds.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go

use std::{collections::HashMap, sync::Arc};

use coracle_expressions::{Environment, Field, ObjectType, Type};
use coracle_schema::{Node, Scalar, Shape};
use serde_json::{Map, Value, json};

use crate::{
    admission::facts::{Known, environment},
    crd::rules::{declare, escape},
    kinds::checks::{indexed, is_set, items, same, text},
    object::strings,
    registry::Served,
    strategy::Context,
};

const KINDS_MAX: usize = 10;

/// The status that comes with a spec.
pub fn prepare(policy: &mut Value, old: Option<&Value>, context: Context<'_>) {
    let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap_or_default();
    let number = match old {
        Some(old) if same(&old["spec"], &policy["spec"]) => return,
        Some(old) => generation(old) + 1,
        None => generation(policy),
    };
    let warnings = warnings(policy, context);
    let mut checking = Map::new();
    if !warnings.is_empty() {
        checking.insert("expressionWarnings".into(), warnings.into());
    }
    policy["status"]["observedGeneration"] = number.into();
    policy["status"]["typeChecking"] = checking.into();
}

fn warnings(policy: &Value, context: Context<'_>) -> Vec<Value> {
    let spec = &policy["spec"];
    let kinds = kinds(&spec["matchConstraints"]["resourceRules"], context);
    let param = &spec["paramKind"];
    let params = param.is_object().then(|| {
        let served = context.state.resources.find_kind(text(&param["apiVersion"]), text(&param["kind"]));
        served.and_then(|served| of_kind(&served)).unwrap_or(Type::Dyn)
    });
    let environments: Vec<(String, [Environment; 2])> = kinds
        .iter()
        .filter_map(|served| {
            let ty = of_kind(served)?;
            let gvk = &served.api.gvk;
            let shown = gvk.printed();
            Some((shown, [true, false].map(|authorizer| known(spec, &ty, params.as_ref(), authorizer))))
        })
        .collect();
    let mut out = Vec::new();
    for (at, validation) in indexed(&spec["validations"], "spec.validations") {
        for (own, field) in ["expression", "messageExpression"].into_iter().enumerate() {
            let source = text(&validation[field]);
            if !is_set(&validation[field]) {
                continue;
            }
            let wrong = environments.iter().filter_map(|(kind, environments)| {
                let error = environments[own].compile(source).err()?;
                Some(format!("{kind}: {error}"))
            });
            let wrong: Vec<String> = wrong.collect();
            if !wrong.is_empty() {
                out.push(json!({"fieldRef": format!("{at}.{field}"), "warning": wrong.join("\n")}));
            }
        }
    }
    out
}

/// What expressions about one kind know. Messages may not ask the authorizer.
fn known(spec: &Value, ty: &Type, params: Option<&Type>, authorizer: bool) -> Environment {
    let mut out = environment(Known { params: params.is_some(), namespace: true, authorizer });
    for (name, own) in &mut out.variables {
        match (name.as_str(), params) {
            ("object" | "oldObject", _) => *own = ty.clone(),
            ("params", Some(params)) => *own = params.clone(),
            _ => {}
        }
    }
    for variable in items(&spec["variables"]) {
        let result = out.compile(text(&variable["expression"]));
        let ty = result.map_or(Type::Dyn, |program| program.result().clone());
        out.composed.push((text(&variable["name"]).to_owned(), ty));
    }
    out
}

fn kinds(rules: &Value, context: Context<'_>) -> Vec<Arc<Served>> {
    let mut out: Vec<Arc<Served>> = Vec::new();
    for rule in items(rules) {
        let [groups, versions, resources] =
            ["apiGroups", "apiVersions", "resources"].map(|field| strings(&rule[field]));
        if [&groups, &versions, &resources].iter().any(|list| list.iter().any(|own| own.contains('*'))) {
            continue;
        }
        for group in &groups {
            for version in &versions {
                let named = resources.iter().filter(|own| !own.contains('/'));
                let found = named.filter_map(|own| context.state.resources.get(group, version, own));
                out.extend(found);
            }
        }
    }
    out.sort_by(|a, b| {
        let key = |own: &Arc<Served>| {
            (own.api.gvk.group.clone(), own.api.gvk.version.clone(), own.api.gvk.kind.clone())
        };
        key(a).cmp(&key(b))
    });
    out.dedup_by(|a, b| a.api.gvk == b.api.gvk);
    out.truncate(KINDS_MAX);
    out
}

fn of_kind(served: &Served) -> Option<Type> {
    let schema = served.schema.as_ref()?;
    match schema.as_custom() {
        Some(custom) => declare(custom.root(), true),
        None => Some(of_node(schema.node(), &mut Vec::new())),
    }
}

/// A built-in type; one that holds itself is not followed further. `above` are the types around it.
fn of_node(node: Node<'_>, above: &mut Vec<String>) -> Type {
    match node.shape() {
        Shape::Scalar(scalar) => of_scalar(scalar),
        Shape::List(item) => Type::list(of_node(item, above)),
        Shape::Map(value) => Type::map(Type::String, of_node(value, above)),
        Shape::Struct(own) => {
            let name = own.definition();
            if above.contains(&name) {
                return Type::Dyn;
            }
            above.push(name);
            let mut fields = HashMap::new();
            for field in own.fields() {
                let ty = of_node(field.node(), above);
                if let Some(escaped) = escape(field.name()) {
                    fields.insert(escaped, Field { json: field.name().to_owned(), ty });
                }
            }
            above.pop();
            Type::Object(Arc::new(ObjectType { name: "object".into(), fields }))
        }
    }
}

fn of_scalar(scalar: Scalar) -> Type {
    match scalar {
        Scalar::String | Scalar::Quantity => Type::String,
        Scalar::Bool => Type::Bool,
        Scalar::Int32 | Scalar::Int64 => Type::Int,
        Scalar::Double => Type::Double,
        Scalar::Bytes => Type::Bytes,
        Scalar::Time | Scalar::MicroTime => Type::Timestamp,
        Scalar::Strings => Type::list(Type::String),
        _ => Type::Dyn,
    }
}
