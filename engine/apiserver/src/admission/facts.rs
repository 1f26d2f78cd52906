//! What expressions of webhooks and policies know about a request: `object`, `oldObject`, `request`,
//! `namespaceObject`, `params`, `authorizer` and `authorizer.requestResource`.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#validation-expression

use std::{borrow::Cow, sync::LazyLock};

use coracle_expressions::{
    Activation, Authority, Decision, Environment, MATCH_CONDITIONS_BUDGET, Program, Question, Type,
    Value as Cel,
};
use coracle_store::{Key, Resource};
use serde_json::Value;

use super::{Operation, Request, attributes, rules, scaled::seen};
use crate::{
    authz::Attributes,
    conversion,
    registry::Served,
    status::{GroupResource, Status},
    types::{State, UserInfo},
};

/// Which of the variables expressions may name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    pub params: bool,
    pub namespace: bool,
    pub authorizer: bool,
}

static REQUEST: LazyLock<Type> = LazyLock::new(request_type);
static NAMESPACE: LazyLock<Type> = LazyLock::new(namespace_type);

/// The names in the order of [`Facts::activation`]'s values; what is not known has a name that nobody can write.
pub fn environment(known: Known) -> Environment {
    let named = |known: bool, name: &str| if known { name.to_owned() } else { format!(" {name}") };
    let variables = vec![
        ("object".to_owned(), Type::Dyn),
        ("oldObject".to_owned(), Type::Dyn),
        ("request".to_owned(), REQUEST.clone()),
        (named(known.namespace, "namespaceObject"), NAMESPACE.clone()),
        (named(known.params, "params"), Type::Dyn),
        (named(known.authorizer, "authorizer"), Type::Opaque("kubernetes.authorization.Authorizer")),
        (
            named(known.authorizer, "authorizer.requestResource"),
            Type::Opaque("kubernetes.authorization.ResourceCheck"),
        ),
    ];
    Environment { variables, ..Environment::default() }
}

fn request_type() -> Type {
    let text = || Type::String;
    let kind = || {
        Type::object(
            "kubernetes.GroupVersionKind",
            [("group", text()), ("version", text()), ("kind", text())],
        )
    };
    let resource = || {
        Type::object(
            "kubernetes.GroupVersionResource",
            [("group", text()), ("version", text()), ("resource", text())],
        )
    };
    let user = Type::object(
        "kubernetes.UserInfo",
        [
            ("username", text()),
            ("uid", text()),
            ("groups", Type::list(text())),
            ("extra", Type::map(text(), Type::list(text()))),
        ],
    );
    Type::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", text()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

fn namespace_type() -> Type {
    let labels = || Type::map(Type::String, Type::String);
    let metadata = Type::object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", labels()),
            ("annotations", labels()),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", Type::list(Type::String)),
        ],
    );
    let spec = Type::object("kubernetes.NamespaceSpec", [("finalizers", Type::list(Type::String))]);
    let status = Type::object("kubernetes.NamespaceStatus", [("phase", Type::String)]);
    Type::object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
}

/// Of one request, in the version that a rule names. The object may be changed between two looks at it.
pub struct Facts<'a> {
    object: Option<Cow<'a, Value>>,
    old: Option<Cow<'a, Value>>,
    request: Value,
    namespace: Option<Value>,
    authority: Asker<'a>,
    question: Question,
}

impl<'a> Facts<'a> {
    /// `object` is in the version of the request; absent for deletions. Where another version is named, whoever converts
    /// the resource is asked.
    pub async fn new(
        request: &Request<'a>,
        matched: &Served,
        object: Option<&'a Value>,
    ) -> Result<Facts<'a>, Status> {
        let target = request.target;
        let own = &target.served;
        let convert = async |object: Option<&'a Value>| match object.map(|object| seen(request, object)) {
            Some(object) if own.api.gvk != matched.api.gvk => {
                conversion::between(own, matched, &object).await.map(|object| Some(Cow::Owned(object)))
            }
            object => Ok(object),
        };
        let verb = match request.operation {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Connect => "connect",
        };
        let question = Question {
            verb: verb.into(),
            group: own.api.gvk.group.to_string(),
            resource: own.api.plural.to_string(),
            subresource: target.subresource.clone(),
            namespace: target.namespace.clone(),
            name: rules::name(request, object).to_owned(),
            path: None,
        };
        Ok(Facts {
            object: convert(object).await?,
            old: convert(request.old).await?,
            request: Value::Object(attributes::describe(request, matched, object)),
            namespace: namespace(request)?,
            authority: Asker { state: request.state, user: request.user },
            question,
        })
    }

    pub fn object(&self) -> Option<&Value> {
        self.object.as_deref()
    }

    pub fn change(&mut self, object: Value) {
        self.object = Some(Cow::Owned(object));
    }

    /// For expressions of [`environment`].
    pub fn activation<'f>(
        &'f self,
        params: Option<&'f Value>,
        composed: &'f [Program],
        budget: u64,
    ) -> Activation<'f> {
        self.with_namespace(self.namespace.as_ref(), params, composed, budget)
    }

    /// For `matchConditions`, which may name the namespace but find none.
    pub fn matching<'f>(&'f self, params: Option<&'f Value>) -> Activation<'f> {
        self.with_namespace(None, params, &[], MATCH_CONDITIONS_BUDGET)
    }

    fn with_namespace<'f>(
        &'f self,
        namespace: Option<&'f Value>,
        params: Option<&'f Value>,
        composed: &'f [Program],
        budget: u64,
    ) -> Activation<'f> {
        let json = |value: Option<&'f Value>| value.map_or(Cel::Null, Cel::json);
        let values = vec![
            json(self.object.as_deref()),
            json(self.old.as_deref()),
            Cel::typed(&self.request, &REQUEST),
            namespace.map_or(Cel::Null, |namespace| Cel::typed(namespace, &NAMESPACE)),
            json(params),
            Cel::authorizer(&self.authority),
            Cel::resource_check(&self.authority, self.question.clone()),
        ];
        Activation::new(values, composed, budget)
    }
}

/// The namespace of a request; a Namespace is in none.
fn namespace(request: &Request<'_>) -> Result<Option<Value>, Status> {
    let name = request.target.namespace.as_str();
    if name.is_empty() {
        return Ok(None);
    }
    let key = Key { resource: Resource("namespaces".into()), namespace: "".into(), name: name.into() };
    match request.state.reader.get(&key) {
        Some(object) => crate::verbs::decode(&object).map(Some),
        None => Err(Status::not_found(GroupResource::new("", "namespaces"), name)),
    }
}

/// Asks the server's authorizer for the user of the request, or for a service account.
struct Asker<'a> {
    state: &'a State,
    user: &'a UserInfo,
}

impl Authority for Asker<'_> {
    fn decide(&self, service_account: Option<&(String, String)>, question: &Question) -> Decision {
        let account = service_account.map(|(namespace, name)| UserInfo {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
            ..UserInfo::default()
        });
        let question = question.clone();
        let attributes = Attributes {
            verb: question.verb,
            group: question.group,
            version: "*".into(),
            resource: question.resource,
            subresource: question.subresource,
            namespace: question.namespace,
            name: question.name,
            path: question.path,
            ..Attributes::default()
        };
        let decision = self.state.authorizer.authorize(account.as_ref().unwrap_or(self.user), &attributes);
        Decision { allowed: decision.allowed, reason: decision.reason, error: None }
    }
}
