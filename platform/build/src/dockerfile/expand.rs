//! Variables and quotes in arguments: `$A`, `${A}`, `${A:-default}`, `${A:+instead}`, and the forms without colon.

/// Looks a variable up.
pub type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Replaces variables and removes quotes and escapes.
pub fn expand(text: &str, variables: &Variables<'_>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut quote: Option<char> = None;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (Some('\''), _) => expanded.push(character),
            (_, '\\') => {
                let escaped = after.chars().next();
                // Inside double quotes only these lose their backslash.
                if quote.is_some() && !matches!(escaped, Some('"' | '$' | '\\')) {
                    expanded.push('\\');
                }
                expanded.extend(escaped);
                rest = &after[escaped.map_or(0, char::len_utf8)..];
                continue;
            }
            (_, '$') => {
                rest = variable(after, variables, &mut expanded)?;
                continue;
            }
            _ => expanded.push(character),
        }
        rest = after;
    }
    Ok(expanded)
}

/// Handles what follows a `$`; returns what follows the variable.
fn variable<'t>(text: &'t str, variables: &Variables<'_>, expanded: &mut String) -> Result<&'t str, String> {
    if let Some(inside) = text.strip_prefix('{') {
        let end = closing_brace(inside).ok_or_else(|| format!("`${text}` has no closing brace"))?;
        expanded.push_str(&braced(&inside[..end], variables)?);
        return Ok(&inside[end + 1..]);
    }
    let end = name_length(text);
    if end == 0 {
        expanded.push('$');
        return Ok(text);
    }
    expanded.push_str(&variables(&text[..end]).unwrap_or_default());
    Ok(&text[end..])
}

fn braced(text: &str, variables: &Variables<'_>) -> Result<String, String> {
    let end = name_length(text);
    let (name, modifier) = text.split_at(end);
    let value = variables(name);
    let colon = modifier.starts_with(':');
    let is_set = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
    let modifier = modifier.strip_prefix(':').unwrap_or(modifier);
    match modifier.chars().next() {
        None if !name.is_empty() && !colon => Ok(value.unwrap_or_default()),
        Some('-') if is_set => Ok(value.unwrap_or_default()),
        Some('-') => expand(&modifier[1..], variables),
        Some('+') if is_set => expand(&modifier[1..], variables),
        Some('+') => Ok(String::new()),
        Some('?') if is_set => Ok(value.unwrap_or_default()),
        Some('?') => Err(format!("{name}: {}", &modifier[1..])),
        _ => Err(format!("unsupported modifier in `${{{text}}}`")),
    }
}

fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (index, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_as_in_a_dockerfile() {
        let variables = |name: &str| match name {
            "A" => Some("one".to_string()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let cases = [
            ("$A", "one"),
            ("${A}x", "onex"),
            ("x$Ax", "x"),
            ("${NONE:-two}", "two"),
            ("${EMPTY:-two}", "two"),
            ("${EMPTY-two}", ""),
            ("${A:+yes}", "yes"),
            ("${NONE:-${A}}", "one"),
            ("\\$A", "$A"),
            ("'$A'", "$A"),
            ("\"$A b\"", "one b"),
            ("\"a\\nb\"", "a\\nb"),
            ("100$", "100$"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &variables).unwrap(), expected, "{text}");
        }
        assert!(expand("${A", &variables).is_err());
        assert!(expand("${NONE:?is needed}", &variables).unwrap_err().contains("is needed"));
    }
}
