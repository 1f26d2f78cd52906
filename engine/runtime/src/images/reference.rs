//! Image references: `[host[:port]/]path[:tag][@digest]`, in the canonical form that stock nodes show.
//! Source: <https://pkg.go.dev/github.com/distribution/reference>

use std::fmt;

use super::ImageError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `docker.io` where none is written.
    pub host: String,
    /// `library/nginx` for `nginx`.
    pub path: String,
    /// `latest` where neither tag nor digest is written.
    pub tag: Option<String>,
    pub digest: Option<String>,
}

impl Reference {
    /// # Errors
    /// [`ImageError::InvalidName`] with the words a stock node uses.
    pub fn parse(text: &str) -> Result<Reference, ImageError> {
        let invalid = |reason: &str| ImageError::InvalidName { name: text.into(), reason: reason.into() };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(invalid("invalid reference format"));
        }
        let (host, rest) = match name.split_once('/') {
            Some((host, rest)) if is_host(host) => (host, rest),
            _ => ("docker.io", name),
        };
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let prefix = if host == "docker.io" && !path.contains('/') { "library/" } else { "" };
            return Err(invalid(&format!(
                "invalid reference format: repository name ({prefix}{path}) must be lowercase"
            )));
        }
        if !path.split('/').all(is_component) || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("invalid reference format"));
        }
        let path =
            if host == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path.into() };
        let tag = tag.map(str::to_string).or_else(|| digest.is_none().then(|| "latest".into()));
        Ok(Reference { host: host.into(), path, tag, digest: digest.map(str::to_string) })
    }

    /// `docker.io/library/nginx`
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// What a registry is asked for: the digest wins over the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

/// What stands before the first slash; repositories have no upper case, hosts may.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// `sha256:` and 64 hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_sha256)
}

pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Lower case letters and digits, separated by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges =
        bytes.first().copied().is_some_and(alphanumeric) && bytes.last().copied().is_some_and(alphanumeric);
    let inside = bytes.iter().all(|byte| alphanumeric(*byte) || matches!(byte, b'.' | b'_' | b'-'));
    edges && inside && !text.contains("..") && !text.contains("___")
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts_well = text.bytes().next().is_some_and(word);
    starts_well && text.len() <= 128 && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_stock_nodes_do() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let with_digest = format!("nginx@{digest}");
        let cases = [
            ("nginx", "docker.io/library/nginx:latest".to_string()),
            ("nginx:1.25", "docker.io/library/nginx:1.25".into()),
            ("madeindjs/free4chat", "docker.io/madeindjs/free4chat:latest".into()),
            ("ghcr.io/a/b:v1", "ghcr.io/a/b:v1".into()),
            ("Registry/a", "Registry/a:latest".into()),
            ("localhost:5000/a", "localhost:5000/a:latest".into()),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest".into()),
            (with_digest.as_str(), format!("docker.io/library/nginx@{digest}")),
        ];
        for (text, expected) in cases {
            assert_eq!(Reference::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn upper_case_is_told_in_the_words_of_stock_nodes() {
        for (text, path) in
            [("Nginx", "library/Nginx"), ("a.lan/Team/app:v1", "Team/app"), ("team/App", "team/App")]
        {
            let said = Reference::parse(text).unwrap_err().to_string();
            let reason = format!("invalid reference format: repository name ({path}) must be lowercase");
            assert_eq!(said, format!("couldn't parse image name \"{text}\": {reason}"));
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for text in
            ["", "Nginx", "a b", "nginx:", "nginx:-x", "nginx@sha256:12", "a//b", "-a", "a/", "nginx:v1 "]
        {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }
}
