//! Answers what testing/reference/machinery.go answers, with this crate: one JSON line for each line it reads.

use std::{
    io::{BufRead, Write},
    pin::pin,
    task::{Context, Poll, Waker},
};

use coracle_schema::{
    Author, Converted, FieldIssue, GroupVersionKind, Managers, Operation, Registry, Schema, Syntax, Versions,
    parse_json,
};
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
        "step" => step(&schema, &api_version(text("group"), text("version")), question),
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

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// One step of a story, from where the stock machinery stood before it.
fn step(schema: &Schema, api_version: &str, question: &Value) -> Result<Value, String> {
    let managers = Managers::read(&question["managed"]).ok_or("managed fields that make no sense")?;
    let (live, managers) = take(schema, api_version, &question["step"], &question["live"], managers)?;
    Ok(json!({ "object": live, "managed": managers.to_value() }))
}

fn take(
    schema: &Schema,
    api_version: &str,
    step: &Value,
    live: &Value,
    managers: Managers,
) -> Result<(Value, Managers), String> {
    let text = |field: &str| step[field].as_str().unwrap_or_default();
    let (mut sent, _) = parse_json(text("text").as_bytes()).map_err(|error| error.to_string())?;
    let write = |operation| coracle_schema::Write {
        author: Author { manager: text("manager"), operation, api_version, subresource: "" },
        now: "2026-01-02T03:04:05Z",
        versions: &OneVersion,
    };
    if text("do") == "update" {
        let old = live.get("metadata").is_some().then_some(live);
        let after = done(schema.managed_update(old, &sent, managers, write(Operation::Update)))?;
        return Ok((sent, after));
    }
    if let Some(problem) = schema.type_problem(&sent) {
        return Err(problem);
    }
    let issues = schema.prune_config(&mut sent).map_err(|error| error.to_string())?;
    if let Some(FieldIssue::Unknown { path }) = issues.first() {
        return Err(format!(".{path}: field not declared in schema"));
    }
    done(schema.apply(live, &sent, managers, write(Operation::Apply), step["force"] == true))
        .map_err(|error| error.to_string())
}

struct OneVersion;

impl Versions for OneVersion {
    fn schema(&self, _: &str) -> Option<Schema> {
        None
    }

    fn convert<'a>(&'a self, _: &'a Value, api_version: &'a str) -> Converted<'a> {
        Box::pin(async move { Err(format!("there is no {api_version}")) })
    }
}

/// Nothing here waits for anyone.
fn done<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("one version is never converted"),
    }
}
