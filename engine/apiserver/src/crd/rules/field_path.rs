//! `fieldPath` of a rule: `.spec.ports['http'].name`, as errors print it.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/schema/cel/validation.go
//! (`ValidFieldPath`)

use serde_json::Value;

/// The path below the rule's place; Err: why it is none.
pub fn normalize(path: &str, schema: &Value) -> Result<String, String> {
    let (mut out, mut schema, mut rest) = (String::new(), schema, path.trim());
    if rest.is_empty() {
        return Err("unexpected end of JSON path".into());
    }
    while !rest.is_empty() {
        let (name, after) = step(rest)?;
        rest = after;
        let properties = schema["properties"].as_object();
        let named = properties.map(|properties| properties.get(&name));
        match named {
            Some(Some(inner)) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(&name);
                schema = inner;
            }
            None if schema["additionalProperties"].is_object() => {
                out.push_str(&format!("[{name}]"));
                schema = &schema["additionalProperties"];
            }
            _ => return Err("does not refer to a valid field".into()),
        }
    }
    Ok(out)
}

/// The first name, and what follows.
fn step(path: &str) -> Result<(String, &str), String> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return Ok((rest[..end].to_owned(), &rest[end..]));
    }
    let Some(rest) = path.strip_prefix('[') else {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        return Err(format!("expected [ or . but got: {}", &path[..end]));
    };
    let Some(rest) = rest.strip_prefix('\'') else {
        return Err(format!("expected single quoted string but got {}", rest.trim_end_matches(']')));
    };
    let (mut name, mut chars) = (String::new(), rest.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, 'n')) => name.push('\n'),
                Some((_, 't')) => name.push('\t'),
                Some((_, 'r')) => name.push('\r'),
                Some((_, c @ ('\'' | '\\'))) => name.push(c),
                other => {
                    let other = other.map(|(_, c)| c).unwrap_or_default();
                    return Err(format!("invalid string literal: invalid escape char \\{other}"));
                }
            },
            '\'' => {
                let rest = &rest[at + 1..];
                let after = rest.strip_prefix(']').ok_or("unexpected end of JSON path")?;
                return Ok((name, after));
            }
            c => name.push(c),
        }
    }
    Err("unexpected end of JSON path".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_followed_through_the_schema() {
        let schema = json!({"properties": {
            "spec": {"properties": {"a.b": {}}}, "map": {"additionalProperties": {"properties": {"x": {}}}}
        }});
        for (path, expected) in [
            (".spec", Ok("spec")),
            (".spec['a.b']", Ok("spec.a.b")),
            (".map.key.x", Ok("map[key].x")),
            (".other", Err("does not refer to a valid field")),
            ("spec", Err("expected [ or . but got: spec")),
            (".spec[0]", Err("expected single quoted string but got 0")),
        ] {
            let result = normalize(path, &schema);
            assert_eq!(result.as_deref().map_err(String::as_str), expected, "{path}");
        }
    }
}
