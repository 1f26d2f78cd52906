//! Marks which fields are required and which are pointers in Go's structs, from the rules and exceptions of
//! `api/schema/data/go_fields.txt`.
//!
//! Kept true: a line of the file that names no field, or changes nothing, is an error.

use super::model::{Field, Ty, Type};
use anyhow::{Context, Result, bail};

pub fn mark(types: &mut [Type], lines: &str) -> Result<()> {
    for field in types.iter_mut().flat_map(|ty| &mut ty.fields) {
        // The crate's structs always have both, and its schemas say so.
        field.required &= field.json != "metadata" && field.default.is_none();
        field.pointer = !field.required && is_usually_a_pointer(field);
    }
    for line in lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        mark_line(types, line).with_context(|| format!("`{line}` of `go_fields.txt`"))?;
    }
    Ok(())
}

fn is_usually_a_pointer(field: &Field) -> bool {
    match &field.ty {
        Ty::Ref { .. } => !matches!(field.json.as_str(), "metadata" | "spec" | "status"),
        Ty::Scalar(letter) => matches!(letter, 'q' | 'x' | 'f' | 'j' | 'a' | 'o' | 'e'),
        Ty::List(_) | Ty::Map(_) => false,
    }
}

fn mark_line(types: &mut [Type], line: &str) -> Result<()> {
    let mut words = line.split(' ');
    let (word, name) = (words.next().context("empty")?, words.next().context("no type")?);
    let (package, name) = name.split_once(':').unwrap_or(("", name));
    for json in words {
        let found = types
            .iter_mut()
            .filter(|ty| ty.name == name && ty.package.ends_with(package))
            .flat_map(|ty| &mut ty.fields)
            .filter(|field| field.json == json);
        let mut changed = false;
        for field in found {
            let slot = match word {
                "pointer" | "plain" => &mut field.pointer,
                "printed" => &mut field.printed,
                "required" => &mut field.required,
                other => bail!("unknown word `{other}`"),
            };
            let wanted = word != "plain";
            changed |= *slot != wanted;
            *slot = wanted;
        }
        if !changed {
            bail!("`{json}` is not there, or is so without the line");
        }
    }
    Ok(())
}
