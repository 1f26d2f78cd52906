//! Reads type shapes from the source of `k8s-openapi`: one type a file, all written by one generator.

use super::model::{OpenField, OpenType, Ty, package_name};
use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::path::Path;

pub fn read(root: &Path, packages: &[String]) -> Result<Vec<OpenType>> {
    let mut types = Vec::new();
    for package in packages {
        let folder = root.join(package);
        let entries = std::fs::read_dir(&folder).with_context(|| format!("list `{}`", folder.display()))?;
        let mut paths: Vec<_> = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        paths.sort();
        for path in paths.into_iter().filter(|path| path.file_name().is_some_and(|name| name != "mod.rs")) {
            let text = std::fs::read_to_string(&path)?;
            types.extend(read_type(package, &text).with_context(|| format!("parse `{}`", path.display()))?);
        }
    }
    Ok(types)
}

/// Enums and tuple structs are scalars to the table and give nothing.
fn read_type(package: &str, text: &str) -> Result<Option<OpenType>> {
    let declaration = &text[..text.find("\nimpl").unwrap_or(text.len())];
    let items = syn::parse_file(declaration)?.items;
    let Some(syn::Item::Struct(item)) = items.into_iter().find(|item| matches!(item, syn::Item::Struct(_)))
    else {
        return Ok(None);
    };
    if !matches!(item.fields, syn::Fields::Named(_)) || !item.generics.params.is_empty() {
        return Ok(None);
    }
    let names = json_names(text);
    let schema = json_schema(text)?;
    let mut fields = Vec::new();
    for field in &item.fields {
        let ident = field.ident.as_ref().context("named field")?.to_string();
        let json = names.get(ident.as_str()).with_context(|| format!("JSON name of `{ident}`"))?.to_string();
        fields.push(OpenField {
            ty: read_ty(&field.ty).with_context(|| format!("type of `{ident}`"))?,
            required: schema.required.contains(&json),
            description: schema.descriptions.get(&json).cloned().unwrap_or_default(),
            json,
        });
    }
    let constant = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("const {name}: ")))?;
        Some(line.split('"').nth(1)?.to_string())
    };
    let group_version_kind = constant("KIND").zip(constant("GROUP")).zip(constant("VERSION"));
    Ok(Some(OpenType {
        package: package_name(package),
        name: item.ident.to_string(),
        description: schema.description,
        fields,
        group_version_kind: group_version_kind.map(|((kind, group), version)| (group, version, kind)),
        list_kind: constant("LIST_KIND"),
    }))
}

/// From the arms `"minReadySeconds" => Field::Key_min_ready_seconds,` of the field visitor.
fn json_names(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .filter_map(|line| {
            let (json, ident) = line.trim().split_once(" => Field::Key_")?;
            Some((ident.trim_end_matches(','), json.trim_matches('"')))
        })
        .collect()
}

#[derive(Default)]
struct JsonSchema {
    description: String,
    descriptions: HashMap<String, String>,
    required: HashSet<String>,
}

/// The body of the `JsonSchema` impl is text with one property a block, at a fixed indentation.
fn json_schema(text: &str) -> Result<JsonSchema> {
    let mut schema = JsonSchema::default();
    let Some(start) = text.find("JsonSchema for") else { return Ok(schema) };
    let mut property: Option<String> = None;
    let mut in_required = false;
    for line in text[start..].lines() {
        let indentation = line.len() - line.trim_start().len();
        let line = line.trim_start();
        if indentation == 12 {
            in_required = line.starts_with("\"required\"");
            property = None;
        } else if indentation == 16 && in_required {
            schema.required.insert(line.trim_matches(['"', ',']).to_string());
        } else if indentation == 16
            && let Some((name, _)) = line.strip_prefix('"').and_then(|rest| rest.split_once("\": "))
        {
            property = Some(name.to_string());
        }
        if (indentation == 12 || property.is_some())
            && let Some(description) = description(line)?
        {
            match &property {
                // A nested schema may have a description of its own; the first is the field's.
                Some(name) => drop(schema.descriptions.entry(name.clone()).or_insert(description)),
                None => schema.description = description,
            }
        }
    }
    Ok(schema)
}

fn description(line: &str) -> Result<Option<String>> {
    let literal = if let Some(rest) = line.strip_prefix("\"description\": ") {
        rest.trim_end_matches(',')
    } else if let Some((_, rest)) = line.split_once("insert(\"description\".into(), ") {
        rest.trim_end_matches(".into());")
    } else {
        return Ok(None);
    };
    // A property may itself be called `description`.
    if !literal.starts_with('"') {
        return Ok(None);
    }
    Ok(Some(syn::parse_str::<syn::LitStr>(literal).context("parse description")?.value()))
}

fn read_ty(ty: &syn::Type) -> Result<Ty> {
    let syn::Type::Path(path) = ty else { anyhow::bail!("not a path") };
    let segments: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let last = path.path.segments.last().context("empty path")?;
    let argument = |index: usize| -> Result<Ty> {
        let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
            anyhow::bail!("no arguments")
        };
        match arguments.args.iter().nth(index) {
            Some(syn::GenericArgument::Type(ty)) => read_ty(ty),
            _ => anyhow::bail!("no type argument"),
        }
    };
    Ok(match last.ident.to_string().as_str() {
        "Option" | "Box" => argument(0)?,
        "Vec" => Ty::List(argument(0)?.into()),
        "BTreeMap" => Ty::Map(argument(1)?.into()),
        "String" => Ty::Scalar('s'),
        "bool" => Ty::Scalar('b'),
        "i32" => Ty::Scalar('i'),
        "i64" => Ty::Scalar('l'),
        "f64" => Ty::Scalar('d'),
        "ByteString" => Ty::Scalar('B'),
        name => Ty::named(package_name(&segments[1..segments.len() - 1].join("/")), name.to_string()),
    })
}
