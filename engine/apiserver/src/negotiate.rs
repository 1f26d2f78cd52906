//! Which form the client wants, from its `Accept` header.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources

use http::HeaderMap;

use crate::{options::Query, present::Form, status::Status, tables::IncludeObject};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub encoding: Encoding,
    pub form: Form,
}

/// What this server can answer in.
const OFFERED: [&str; 2] = ["application/json", "application/yaml"];

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

/// `transforms`: whether tables and metadata-only forms make sense for what is asked.
pub fn negotiate(headers: &HeaderMap, query: &Query, transforms: bool) -> Result<Accepted, Status> {
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok(Accepted { encoding: Encoding::Json, form: Form::Object });
    }
    for clause in &clauses {
        let encoding = match clause.media_type {
            "application/json" | "*/*" | "application/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            _ => continue,
        };
        let form = match clause.parameter("as") {
            None => Some(Form::Object),
            Some(_) if !transforms => None,
            Some(form) => transform(form, clause, query)?,
        };
        if let Some(form) = form {
            return Ok(Accepted { encoding, form });
        }
    }
    Err(Status::not_acceptable(&OFFERED))
}

fn transform(form: &str, clause: &Clause<'_>, query: &Query) -> Result<Option<Form>, Status> {
    if clause.parameter("g") != Some("meta.k8s.io") || clause.parameter("v") != Some("v1") {
        return Ok(None);
    }
    Ok(match form {
        "Table" => Some(Form::Table(include_object(query)?)),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Form::Metadata),
        _ => None,
    })
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
            ("application/vnd.kubernetes.protobuf,application/json", Some((Encoding::Json, Form::Object))),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some((Encoding::Json, table)),
            ),
            (
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
                Some((Encoding::Json, Form::Metadata)),
            ),
            ("application/yaml", Some((Encoding::Yaml, Form::Object))),
            ("text/html;q=0.9, */*;q=0.1", Some((Encoding::Json, Form::Object))),
            ("application/vnd.kubernetes.protobuf", None),
        ] {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert("accept", accept.parse().expect("header"));
            }
            let seen =
                negotiate(&headers, &Query::default(), true).ok().map(|seen| (seen.encoding, seen.form));
            assert_eq!(seen, expected, "{accept}");
        }
    }
}
