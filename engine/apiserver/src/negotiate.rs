//! Which form the client wants, from its `Accept` header.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources

use http::HeaderMap;

use crate::{
    options::Query, present::Form, protobuf, registry::Served, status::Status, tables::IncludeObject,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// What can be had of the thing that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Metadata-only forms.
    pub metadata: bool,
    pub tables: bool,
    /// Custom resources have no protobuf message, only their metadata has.
    pub protobuf: bool,
}

impl Offer {
    /// A document that is no object, or an error.
    pub const PLAIN: Offer = Offer { metadata: false, tables: false, protobuf: true };

    pub fn of(served: &Served) -> Offer {
        // What is only posted has no columns.
        Offer { metadata: true, tables: served.allows("get"), protobuf: served.custom.is_none() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub encoding: Encoding,
    pub form: Form,
    /// The apiVersion of forms that are of no kind of their own.
    pub meta: &'static str,
}

/// What this server can answer in.
const OFFERED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

const META: [&str; 2] = ["meta.k8s.io/v1", protobuf::OLD_META];

/// As the stock server says it of a custom resource.
const NO_MESSAGE: &str = "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message";

/// One clause of an Accept header.
pub struct Clause<'a> {
    pub media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn quality(&self) -> f32 {
        self.parameter("q").and_then(|q| q.parse().ok()).unwrap_or(1.0)
    }
}

/// The clauses, best first.
pub fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let values = headers.get_all(http::header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut clauses: Vec<Clause<'_>> = values
        .flat_map(|value| value.split(','))
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters = parts.filter_map(|part| part.split_once('=')).collect();
            Clause { media_type, parameters }
        })
        .filter(|clause| !clause.media_type.is_empty())
        .collect();
    clauses.sort_by(|a, b| b.quality().total_cmp(&a.quality()));
    clauses
}

/// The best form that the client accepts and that is offered.
pub fn negotiate(headers: &HeaderMap, query: &Query, offer: Offer) -> Result<Accepted, Status> {
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok(Accepted { encoding: Encoding::Json, form: Form::Object, meta: META[0] });
    }
    for clause in &clauses {
        let encoding = match clause.media_type {
            "application/json" | "*/*" | "application/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            protobuf::MEDIA_TYPE => Encoding::Protobuf,
            _ => continue,
        };
        let form = match clause.parameter("as") {
            None => Some((Form::Object, META[0])),
            Some("Table") if !offer.tables => None,
            Some(_) if !offer.metadata => None,
            Some(form) => transform(form, clause, query)?,
        };
        let Some((form, meta)) = form else { continue };
        match (form, encoding) {
            // A table has no protobuf message.
            (Form::Table(_), Encoding::Protobuf) => {}
            (Form::Object, Encoding::Protobuf) if !offer.protobuf => {}
            _ => return Ok(Accepted { encoding, form, meta }),
        }
    }
    let wants_protobuf =
        |clause: &Clause<'_>| clause.media_type == protobuf::MEDIA_TYPE && clause.parameter("as").is_none();
    if !offer.protobuf && clauses.iter().any(wants_protobuf) {
        return Err(Status::new(406, "NotAcceptable", NO_MESSAGE));
    }
    Err(Status::not_acceptable(&OFFERED))
}

/// For what has one form only.
pub fn accepted_encoding(headers: &HeaderMap) -> Result<Encoding, Status> {
    negotiate(headers, &Query::default(), Offer::PLAIN).map(|accepted| accepted.encoding)
}

/// In what an error is told: JSON for those who accept nothing that there is.
pub fn error_encoding(headers: &HeaderMap) -> Encoding {
    accepted_encoding(headers).unwrap_or(Encoding::Json)
}

/// With its apiVersion.
fn transform(form: &str, clause: &Clause<'_>, query: &Query) -> Result<Option<(Form, &'static str)>, Status> {
    let wanted = clause.parameter("g").zip(clause.parameter("v"));
    let Some(meta) = META.into_iter().find(|meta| wanted == meta.split_once('/')) else { return Ok(None) };
    let form = match form {
        "Table" => Form::Table(include_object(query)?),
        "PartialObjectMetadata" => Form::Metadata { of_list: false },
        "PartialObjectMetadataList" => Form::Metadata { of_list: true },
        _ => return Ok(None),
    };
    Ok(Some((form, meta)))
}

fn include_object(query: &Query) -> Result<IncludeObject, Status> {
    match query.text("includeObject") {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "None" => Ok(IncludeObject::None),
        "Object" => Ok(IncludeObject::Object),
        other => Err(Status::bad_request(format!(
            "unrecognized includeObject value: {}",
            crate::status::quote(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_clause_that_can_be_served_wins() {
        let table = Form::Table(IncludeObject::Metadata);
        for (accept, expected) in [
            ("", Some((Encoding::Json, Form::Object))),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Some((Encoding::Protobuf, Form::Object)),
            ),
            (
                "application/vnd.kubernetes.protobuf;q=0.5,application/json",
                Some((Encoding::Json, Form::Object)),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                Some((Encoding::Protobuf, Form::Metadata { of_list: true })),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1",
                Some((Encoding::Protobuf, Form::Metadata { of_list: false })),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1",
                Some((Encoding::Json, table)),
            ),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some((Encoding::Json, table)),
            ),
            (
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
                Some((Encoding::Json, Form::Metadata { of_list: false })),
            ),
            ("application/json;as=Table;g=meta.k8s.io;v=v2", None),
            ("application/yaml", Some((Encoding::Yaml, Form::Object))),
            ("text/html;q=0.9, */*;q=0.1", Some((Encoding::Json, Form::Object))),
            ("application/vnd.kubernetes.protobuf", Some((Encoding::Protobuf, Form::Object))),
            ("application/cbor", None),
        ] {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert("accept", accept.parse().expect("header"));
            }
            let offer = Offer { metadata: true, tables: true, protobuf: true };
            let seen =
                negotiate(&headers, &Query::default(), offer).ok().map(|seen| (seen.encoding, seen.form));
            assert_eq!(seen, expected, "{accept}");
        }
    }

    #[test]
    fn custom_resources_have_protobuf_only_for_their_metadata() {
        for (accept, expected) in [
            ("application/vnd.kubernetes.protobuf,application/json", Ok((Encoding::Json, Form::Object))),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
                Ok((Encoding::Protobuf, Form::Metadata { of_list: false })),
            ),
            ("application/vnd.kubernetes.protobuf", Err(NO_MESSAGE)),
        ] {
            let headers = HeaderMap::from_iter([(http::header::ACCEPT, accept.parse().expect("header"))]);
            let offer = Offer { metadata: true, tables: true, protobuf: false };
            let seen = negotiate(&headers, &Query::default(), offer);
            let seen = seen.map(|seen| (seen.encoding, seen.form)).map_err(|status| status.message);
            assert_eq!(seen, expected.map_err(String::from), "{accept}");
        }
    }
}
