//! From a request's bytes to an object of the expected kind: parse, check kind and version, prune, default.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/create.go and rest.go (`transformDecodeError`)

use coracle_schema::{
    DecodeError, FieldIssue, GroupVersionKind, Registry, Schema, Syntax, json_type, whole_numbers,
};
use serde_json::Value;

use crate::{
    object,
    options::FieldValidation,
    protobuf,
    registry::{Served, api_version},
    status::{Cause, GroupResource, Status},
};

/// A parsed body with what was odd about its syntax.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    pub value: Value,
    pub syntax: Syntax,
    /// Fields that were removed already.
    pub unknown: Vec<FieldIssue>,
}

impl From<Value> for Decoded {
    fn from(value: Value) -> Decoded {
        Decoded { value, ..Decoded::default() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// What is accepted in bodies of objects.
pub const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// The format of a body by its Content-Type; absent is JSON.
pub fn format_of(content_type: Option<&str>) -> Result<Format, Status> {
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "" | "application/json" | "*/*" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Format::Yaml),
        protobuf::MEDIA_TYPE => Ok(Format::Protobuf),
        _ => Err(Status::unsupported_media_type(&ACCEPTED)),
    }
}

/// `expected` is the kind that the path takes.
pub fn parse(bytes: &[u8], format: Format, expected: &GroupVersionKind) -> Result<Decoded, Status> {
    read(bytes, format, expected).map_err(|error| match error {
        Unread::Body(error) => unrecognized(expected, &error, bytes),
        Unread::Message(text) => cannot_be_handled(expected, &text),
    })
}

/// Why a body is no object.
enum Unread {
    Body(DecodeError),
    /// Of a known kind, in protobuf.
    Message(String),
}

fn read(bytes: &[u8], format: Format, expected: &GroupVersionKind) -> Result<Decoded, Unread> {
    let parsed = match format {
        Format::Json => coracle_schema::parse_json(bytes),
        Format::Yaml => coracle_schema::parse_yaml(bytes),
        Format::Protobuf => match protobuf::decode(bytes, Some(expected)) {
            Ok(value) => Ok((value, Syntax::default())),
            Err(protobuf::ReadError::Envelope(text)) => Err(DecodeError::Type(text)),
            Err(protobuf::ReadError::Message(text)) => return Err(Unread::Message(text)),
        },
    };
    let (mut value, syntax) = parsed.map_err(Unread::Body)?;
    // Go's decoder leaves the new object as it is.
    if value.is_null() {
        value = Value::Object(Default::default());
    }
    if !value.is_object() {
        let error = DecodeError::Syntax(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            json_type(&value)
        ));
        return Err(Unread::Body(error));
    }
    if let Some(error) = unreadable_kind(&value) {
        return Err(Unread::Body(DecodeError::Syntax(error)));
    }
    Ok(Decoded { value, syntax, unknown: Vec::new() })
}

/// What keeps Go from reading which kind an object is of: the first of the two fields that is no string.
fn unreadable_kind(object: &Value) -> Option<String> {
    let fields = object.as_object()?.iter().filter(|(field, _)| matches!(&***field, "apiVersion" | "kind"));
    let (field, wrong) = fields.into_iter().find(|(_, value)| !value.is_string() && !value.is_null())?;
    Some(format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{field} of type string",
        json_type(wrong)
    ))
}

/// Where a stock server keeps the kinds of `meta/v1`, as it tells who asks for another.
const META_SCHEME: &str = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27";

/// The options of a deletion. Every group version has them; unknown fields are passed over.
/// Source: https://github.com/kubernetes/kubernetes/pull/133358 (400 since 1.35) and
/// https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/delete.go
pub fn delete_options(bytes: &[u8], format: Format) -> Result<Value, Status> {
    let expected = GroupVersionKind::new("meta.k8s.io", "v1", "DeleteOptions");
    let decoded = read(bytes, format, &expected).map_err(|error| match error {
        Unread::Body(error) => Status::bad_request(body_text(&error)),
        Unread::Message(text) => Status::bad_request(text),
    })?;
    let mut value = decoded.value;
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version.matches('/').count() > 1 {
        return Err(Status::bad_request(format!("unexpected GroupVersion string: {version}")));
    }
    if !matches!(&*kind, "" | "DeleteOptions") {
        let version =
            if version.is_empty() { api_version(&expected.group, &expected.version) } else { version };
        let (group, short) = version.rsplit_once('/').unwrap_or(("", &version));
        let is_meta = matches!(group, "" | "meta.k8s.io")
            && Registry::builtin().schema(&GroupVersionKind::new("meta.k8s.io", short, &kind)).is_some();
        return Err(Status::bad_request(match is_meta {
            true => format!("converting (v1.{kind}) to (v1.DeleteOptions): unknown conversion"),
            false => format!(
                "no kind {} is registered for version {} in scheme {}",
                crate::status::quote(&kind),
                crate::status::quote(&version),
                crate::status::quote(META_SCHEME)
            ),
        }));
    }
    if let Some(schema) = Registry::builtin().schema(&expected) {
        schema.prune(&mut value).map_err(|error| Status::bad_request(error.to_string()))?;
    }
    Ok(value)
}

/// An object that is posted to be answered or carried out, not stored: with the warnings about it.
pub fn posted(
    mut decoded: Decoded,
    expected: &GroupVersionKind,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let schema = Registry::builtin().schema(expected).ok_or_else(Status::unknown_path)?;
    let warnings = shape(&schema, expected, &mut decoded, validation)?;
    Ok((decoded.value, warnings))
}

/// Of a resource that is served: custom ones have no Go type that would fill in what is absent.
pub fn parse_for(served: &Served, bytes: &[u8], format: Format) -> Result<Decoded, Status> {
    let (expected, mut decoded) = (&served.api.gvk, parse(bytes, format, &served.api.gvk)?);
    if served.custom.is_none() {
        check_kind(expected, &mut decoded.value)?;
        return Ok(decoded);
    }
    let text = |field: &str| decoded.value[field].as_str().unwrap_or_default();
    if text("kind").is_empty() {
        let why = format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(bytes));
        return Err(unrecognized(expected, &DecodeError::Type(why), bytes));
    }
    match (text("apiVersion"), served.api_version()) {
        (version, wanted) if version == wanted => Ok(decoded),
        (version, wanted) => Err(wrong_version(version, &wanted)),
    }
}

fn wrong_version(version: &str, wanted: &str) -> Status {
    Status::bad_request(format!(
        "the API version in the data ({version}) does not match the expected API version ({wanted})"
    ))
}

/// What a stock server validates of a custom resource: no type says what kind it is of.
/// Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/registry/customresource/validator.go (`ValidateTypeMeta`)
fn check_custom_kind(expected: &GroupVersionKind, object: &Value) -> Result<(), Status> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    let wanted = api_version(&expected.group, &expected.version);
    let rows = [("kind", kind, &*expected.kind), ("apiVersion", version, &wanted)];
    let wrong = rows.into_iter().filter(|(_, own, wanted)| own != wanted);
    let causes: Vec<Cause> =
        wrong.map(|(field, own, wanted)| Cause::invalid(field, own, &format!("must be {wanted}"))).collect();
    if causes.is_empty() {
        return Ok(());
    }
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    Err(Status::invalid(GroupResource::new(group, kind), object::name(object), causes))
}

fn unrecognized(expected: &GroupVersionKind, error: &DecodeError, bytes: &[u8]) -> Status {
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {} ({})",
        expected.kind,
        body_text(error),
        summary(bytes)
    ))
}

fn body_text(error: &DecodeError) -> String {
    let text = error.to_string();
    match error {
        DecodeError::Syntax(_) if !text.starts_with("couldn't get") => {
            format!("couldn't get version/kind; json parse error: {text}")
        }
        _ => text,
    }
}

/// The start of a body for messages: text when it looks like JSON, hex otherwise.
fn summary(bytes: &[u8]) -> String {
    const MAX: usize = 30;
    let start = &bytes[..bytes.len().min(MAX)];
    let more = if bytes.len() > MAX { " ..." } else { "" };
    match bytes.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(start)),
        Some(_) => {
            let hex: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

/// Checks kind and version (filling them in when absent), removes unknown fields, checks types and fills in defaults.
/// Returns the warnings for the response.
pub fn shape(
    schema: &Schema,
    expected: &GroupVersionKind,
    decoded: &mut Decoded,
    validation: FieldValidation,
) -> Result<Vec<String>, Status> {
    check_kind_by(schema, expected, &mut decoded.value)?;
    if schema.is_custom() {
        whole_numbers(&mut decoded.value);
    }
    let mut unknown = std::mem::take(&mut decoded.unknown);
    unknown.extend(
        schema.prune(&mut decoded.value).map_err(|error| cannot_be_handled(expected, &error.to_string()))?,
    );
    schema.default(&mut decoded.value);
    if validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    if validation == FieldValidation::Warn {
        let issues = decoded.syntax.issues(unknown, schema.is_custom());
        let lines = decoded.syntax.lines().iter().cloned();
        return Ok(lines.chain(issues.iter().map(FieldIssue::to_string)).collect());
    }
    match strict_error(&decoded.syntax, &unknown, schema.is_custom()) {
        Some(error) => Err(cannot_be_handled(expected, &error)),
        None => Ok(Vec::new()),
    }
}

/// [`shape`] for what a configuration was merged into: that was decoded already, and what is null is for validation to judge.
pub fn shape_applied(schema: &Schema, expected: &GroupVersionKind, value: &mut Value) -> Result<(), Status> {
    check_kind_by(schema, expected, value)?;
    schema.default(value);
    Ok(())
}

fn check_kind_by(schema: &Schema, expected: &GroupVersionKind, object: &mut Value) -> Result<(), Status> {
    if schema.is_custom() { check_custom_kind(expected, object) } else { check_kind(expected, object) }
}

/// All that strict decoding has against a text in one error.
pub fn strict_error(syntax: &Syntax, unknown: &[FieldIssue], is_custom: bool) -> Option<String> {
    let issues = syntax.issues(unknown.to_vec(), is_custom);
    let issues = issues.iter().map(FieldIssue::to_string);
    let errors: Vec<String> = yaml_error(syntax.lines()).into_iter().chain(issues).collect();
    (!errors.is_empty()).then(|| format!("strict decoding error: {}", errors.join(", ")))
}

/// Doubled keys as the YAML library reports them: all in one error.
pub fn yaml_error(lines: &[String]) -> Option<String> {
    (!lines.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {}", lines.join("\n  ")))
}

fn cannot_be_handled(gvk: &GroupVersionKind, why: &str) -> Status {
    Status::bad_request(format!(
        "{} in version \"{}\" cannot be handled as a {}: {why}",
        gvk.kind, gvk.version, gvk.kind
    ))
}

/// Where a stock server keeps the kinds that are built in, as it tells who asks for another.
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";

/// Kind and version of the object are the expected ones, or absent: then they are filled in.
pub fn check_kind(expected: &GroupVersionKind, object: &mut Value) -> Result<(), Status> {
    let wanted_version = api_version(&expected.group, &expected.version);
    for (field, wanted) in [("kind", &*expected.kind), ("apiVersion", &*wanted_version)] {
        match &object[field] {
            Value::Null => object[field] = wanted.into(),
            Value::String(text) if text.is_empty() => object[field] = wanted.into(),
            _ => {}
        }
    }
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if kind == &*expected.kind && version == wanted_version {
        return Ok(());
    }
    let (group, short) = version.rsplit_once('/').unwrap_or(("", version));
    let refused = |why: String| {
        let (own, quoted) = (&expected.kind, crate::status::quote(short));
        Err(Status::bad_request(format!("{kind} in version {quoted} cannot be handled as a {own}: {why}")))
    };
    if Registry::builtin().schema(&GroupVersionKind::new(group, short, kind)).is_none() {
        let [kind, version, scheme] = [kind, version, SCHEME].map(crate::status::quote);
        return refused(format!("no kind {kind} is registered for version {version} in scheme {scheme}"));
    }
    if kind == &*expected.kind {
        return Err(wrong_version(version, &wanted_version));
    }
    let group = if expected.group.is_empty() { "core" } else { &*expected.group };
    let package = group.split('.').next().unwrap_or(group);
    refused(format!("converting ({short}.{kind}) to ({package}.{}): unknown conversion", expected.kind))
}
