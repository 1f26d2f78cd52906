//! `.dockerignore`: which paths of the context do not exist for a build. The last pattern that matches decides.
//! Source: <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::view;

pub struct Ignore(Vec<Pattern>);

struct Pattern {
    path: GlobMatcher,
    /// Everything below what the pattern names.
    below: GlobMatcher,
    /// `!pattern` takes paths back in.
    include: bool,
}

impl Ignore {
    /// `Dockerfile.dockerignore` beside the Dockerfile wins over `.dockerignore` in the context.
    pub fn load(context: &Path, dockerfile: &Path) -> std::io::Result<Ignore> {
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        let candidates = [PathBuf::from(own), context.join(".dockerignore")];
        let Some(file) = candidates.iter().find(|path| path.is_file()) else { return Ok(Ignore(Vec::new())) };
        Ignore::parse(&std::fs::read_to_string(file)?)
    }

    pub fn parse(text: &str) -> std::io::Result<Ignore> {
        let text = text.trim_start_matches('\u{feff}'); // of editors that mark UTF-8
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let patterns = lines.filter_map(pattern).collect::<Result<_, _>>();
        patterns.map(Ignore).map_err(std::io::Error::other)
    }

    /// `path` is relative to the context, which itself stays.
    fn excludes(&self, path: &Path) -> bool {
        let mut patterns = self.0.iter().rev();
        let last = patterns.find(|pattern| pattern.path.is_match(path) || pattern.below.is_match(path));
        !path.as_os_str().is_empty() && last.is_some_and(|pattern| !pattern.include)
    }

    /// Whether the build sees what lies at `place`: an excluded directory only for what is taken back in below it.
    pub fn keeps(&self, path: &Path, place: &Path) -> bool {
        if !self.excludes(path) {
            return true;
        }
        let is_directory = place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if !is_directory || !self.0.iter().any(|pattern| pattern.include) {
            return false;
        }
        let mut below = std::fs::read_dir(place).into_iter().flatten().flatten();
        below.any(|entry| self.keeps(&path.join(entry.file_name()), &entry.path()))
    }
}

/// `None`: a line that names the context itself, or what lies outside of it.
fn pattern(line: &str) -> Option<Result<Pattern, globset::Error>> {
    let (include, text) = match line.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    let path = view::normal(Path::new(text));
    let is_outside = !text.starts_with('/') && climbs(text);
    let parts = path.strip_prefix("/").unwrap_or(&path).iter().map(|part| any_depth(&part.to_string_lossy()));
    let text = parts.collect::<Vec<_>>().join("/");
    let read = || Ok(Pattern { path: glob(&text)?, below: glob(&format!("{text}/**"))?, include });
    (!text.is_empty() && !is_outside).then(read)
}

/// Whether a relative path leads above where it begins.
fn climbs(path: &str) -> bool {
    let mut depth = 0;
    path.split('/').any(|part| {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        depth < 0
    })
}

/// `**name` is `**/name` in these files.
fn any_depth(part: &str) -> String {
    match part.strip_prefix("**") {
        Some(name) if !name.is_empty() => format!("**/{name}"),
        _ => part.to_string(),
    }
}

/// A pattern as Go's `filepath.Match` reads it, with `**`.
pub fn glob(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let built = GlobBuilder::new(&with_plain_braces(pattern)).literal_separator(true).build()?;
    Ok(built.compile_matcher())
}

/// Braces stand for themselves in Go, for alternatives here. In `[]` and after `\` they do in both.
fn with_plain_braces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let (mut escaped, mut in_class) = (false, false);
    for one in pattern.chars() {
        if matches!(one, '{' | '}') && !escaped && !in_class {
            out.push('\\');
        }
        out.push(one);
        in_class = !escaped && one == '[' || in_class && (escaped || one != ']');
        escaped = one == '\\' && !escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_matching_pattern_decides() {
        let ignore =
            Ignore::parse("\u{feff}*.log\n# comment\n*.md\n!README.md\n/target\n**/*.tmp\ndocs/*\n").unwrap();
        let cases = [
            ("a.log", true),
            ("a.md", true),
            ("sub/a.md", false),
            ("README.md", false),
            ("target", true),
            ("target/release/app", true),
            ("a/b/c.tmp", true),
            ("x.tmp", true),
            ("docs/a", true),
            ("src/main.rs", false),
        ];
        for (path, expected) in cases {
            assert_eq!(ignore.excludes(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn patterns_are_cleaned_and_begin_at_any_depth() {
        let cases = [
            ("**.env", "a/.env", true),
            ("**.env", ".env", true),
            ("**.env", "y.env", false),
            ("***", "a/b", true),
            ("app//main.py", "app/main.py", true),
            ("app/../tests", "tests/one", true),
            ("./app/.", "app", true),
            (".", "a", false),
            ("/../a", "a", true),
            ("../a", "a", false),
            ("b/../../a", "a", false),
            ("**", "", false),
            ("/**", "", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(
                Ignore::parse(pattern).unwrap().excludes(Path::new(path)),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn braces_stand_for_themselves() {
        for (pattern, path, expected) in [
            ("{a,b}", "{a,b}", true),
            ("{a,b}", "a", false),
            ("a{", "a{", true),
            ("\\{a}", "{a}", true),
            ("[{}]*", "}a", true),
            ("[a]{b}", "a{b}", true),
        ] {
            assert_eq!(glob(pattern).unwrap().is_match(path), expected, "{pattern} {path}");
        }
    }
}
