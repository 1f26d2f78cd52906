//! Answers what testing/reference/machinery.go answers, with this crate: one JSON line for each line it reads.

use std::io::{BufRead, Write};

use coracle_schema::{FieldIssue, GroupVersionKind, Registry, Schema, Syntax, parse_json};
use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let question: Value = serde_json::from_str(&line?)?;
        let answer = ask(&question).unwrap_or_else(|error| json!({ "error": error }));
        writeln!(out, "{answer}")?;
    }
    out.flush()
}

fn ask(question: &Value) -> Result<Value, String> {
    let text = |field: &str| question[field].as_str().unwrap_or_default();
    let kind = GroupVersionKind::new(text("group"), text("version"), text("kind"));
    let schema = Registry::builtin().schema(&kind).ok_or("unknown kind")?;
    match text("do") {
        "merge" => merge(&schema, text("text"), text("patch")),
        _ => decode(&schema, text("text"), question["strict"] == true),
    }
}

fn decode(schema: &Schema, text: &str, strict: bool) -> Result<Value, String> {
    let (mut object, syntax) = parse_json(text.as_bytes()).map_err(|error| error.to_string())?;
    let unknown = schema.prune(&mut object).map_err(|error| error.to_string())?;
    let error = if strict { strict_error(&syntax, unknown) } else { None };
    Ok(json!({ "object": object, "error": error }))
}

fn strict_error(syntax: &Syntax, unknown: Vec<FieldIssue>) -> Option<String> {
    let issues: Vec<String> = syntax.issues(unknown, false).iter().map(FieldIssue::to_string).collect();
    (!issues.is_empty()).then(|| format!("strict decoding error: {}", issues.join(", ")))
}

fn merge(schema: &Schema, text: &str, patch: &str) -> Result<Value, String> {
    let (mut object, _) = parse_json(text.as_bytes()).map_err(|error| error.to_string())?;
    schema.prune(&mut object).map_err(|error| format!("object: {error}"))?;
    let (patch, _) =
        parse_json(patch.as_bytes()).map_err(|error| format!("error decoding patch: {error}"))?;
    schema.strategic_merge(&mut object, &patch).map_err(|error| error.to_string())?;
    schema.prune(&mut object).map_err(|error| error.converted())?;
    Ok(json!({ "object": object }))
}
