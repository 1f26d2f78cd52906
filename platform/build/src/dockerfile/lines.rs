//! Logical lines: comments go, a line that ends in the escape character continues.

/// One instruction's text and the number of its first line, from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub number: usize,
    pub text: String,
}

pub fn lines(text: &str) -> Vec<Line> {
    let escape = escape_character(text);
    let mut lines: Vec<Line> = Vec::new();
    let mut open: Option<Line> = None;
    for (index, raw) in text.lines().enumerate() {
        let trimmed = raw.trim();
        if trimmed.starts_with('#') || trimmed.is_empty() {
            continue;
        }
        let (part, continues) = match raw.trim_end().strip_suffix(escape) {
            Some(part) => (part, true),
            None => (raw.trim_end(), false),
        };
        let mut line = open.take().unwrap_or(Line { number: index + 1, text: String::new() });
        line.text.push_str(part);
        if continues {
            open = Some(line);
        } else {
            lines.push(line);
        }
    }
    lines.extend(open);
    for line in &mut lines {
        line.text = line.text.trim().to_string();
    }
    lines
}

/// `# escape=` before the first instruction.
fn escape_character(text: &str) -> char {
    let directives = text.lines().take_while(|line| line.trim_start().starts_with('#'));
    let mut escapes = directives.filter_map(|line| {
        let (key, value) = line.trim_start().trim_start_matches('#').split_once('=')?;
        (key.trim().eq_ignore_ascii_case("escape")).then(|| value.trim().chars().next())?
    });
    escapes.next().unwrap_or('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_continue_over_comments() {
        let read = lines("# a comment\nFROM a\nENV A=1 \\\n  # inside\n  B=2\n");
        let texts: Vec<_> = read.iter().map(|line| (line.number, line.text.as_str())).collect();
        assert_eq!(texts, [(2, "FROM a"), (3, "ENV A=1   B=2")]);
    }

    #[test]
    fn the_escape_character_can_be_chosen() {
        assert_eq!(lines("# escape=`\nFROM a `\n AS b\n")[0].text, "FROM a  AS b");
    }
}
