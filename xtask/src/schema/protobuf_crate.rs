//! Reads protobuf messages, with the marker lines of their comments, from the source of `k8s-pb`.

use super::model::{Message, MessageField, Ty, package_name};
use anyhow::{Context, Result};
use std::path::Path;

pub fn read(root: &Path, packages: &[String]) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    for package in packages.iter().filter(|package| *package != "apimachinery/pkg/version") {
        let path = root.join(package).join("mod.rs");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
        for item in syn::parse_file(&text)?.items {
            if let syn::Item::Struct(item) = item {
                messages
                    .push(read_message(package, &item).with_context(|| format!("read `{}`", item.ident))?);
            }
        }
    }
    Ok(messages)
}

fn read_message(package: &str, item: &syn::ItemStruct) -> Result<Message> {
    let mut fields = Vec::new();
    for field in &item.fields {
        let ident = field.ident.as_ref().context("named field")?.to_string();
        fields.push(MessageField {
            number: field_number(&field.attrs).with_context(|| format!("number of `{ident}`"))?,
            ty: read_ty(package, &field.ty).with_context(|| format!("type of `{ident}`"))?,
            docs: docs(&field.attrs),
            name: ident.trim_start_matches("r#").to_string(),
        });
    }
    Ok(Message {
        package: package_name(package),
        name: item.ident.to_string(),
        docs: docs(&item.attrs),
        fields,
    })
}

fn docs(attributes: &[syn::Attribute]) -> Vec<String> {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => {
                Some(text.value().trim().to_string())
            }
            _ => None,
        },
        _ => None,
    });
    lines.collect()
}

fn field_number(attributes: &[syn::Attribute]) -> Result<u32> {
    let tokens = attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("prost") => Some(list.tokens.to_string()),
        _ => None,
    });
    let tokens = tokens.context("no `prost` attribute")?;
    let (_, rest) = tokens.split_once("tag = \"").context("no tag")?;
    Ok(rest.split('"').next().unwrap_or_default().parse()?)
}

fn read_ty(package: &str, ty: &syn::Type) -> Result<Ty> {
    let syn::Type::Path(path) = ty else { anyhow::bail!("not a path") };
    let last = path.path.segments.last().context("empty path")?;
    let arguments: Vec<&syn::Type> = match &last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => {
            let types = arguments.args.iter().filter_map(|argument| match argument {
                syn::GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            types.collect()
        }
        _ => Vec::new(),
    };
    let argument = |index: usize| read_ty(package, arguments.get(index).context("no type argument")?);
    Ok(match last.ident.to_string().as_str() {
        "Option" | "Box" => argument(0)?,
        "Vec" if matches!(arguments[0], syn::Type::Path(path) if path.path.is_ident("u8")) => Ty::Scalar('B'),
        "Vec" => Ty::List(argument(0)?.into()),
        "BTreeMap" => Ty::Map(argument(1)?.into()),
        "String" => Ty::Scalar('s'),
        "bool" => Ty::Scalar('b'),
        "i32" => Ty::Scalar('i'),
        "i64" => Ty::Scalar('l'),
        "f64" => Ty::Scalar('d'),
        name => {
            let mut folder: Vec<&str> = package.split('/').collect();
            let segments: Vec<String> =
                path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            for segment in &segments[..segments.len() - 1] {
                match segment.as_str() {
                    "super" => drop(folder.pop()),
                    _ => folder.push(segment),
                }
            }
            Ty::named(package_name(&folder.join("/")), name.to_string())
        }
    })
}
