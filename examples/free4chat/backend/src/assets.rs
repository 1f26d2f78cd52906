//! The page, read once at start: a handful of small files.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use bytes::Bytes;

#[derive(Clone, Debug)]
pub struct Asset {
    pub content_type: &'static str,
    pub body: Bytes,
}

/// Files by name.
#[derive(Debug, Default)]
pub struct Assets(BTreeMap<String, Asset>);

impl Assets {
    /// Every file of a known type directly in `dir`. A missing folder is an empty one: the API works without a page.
    pub fn load(dir: &Path) -> Result<Assets> {
        if !dir.exists() {
            return Ok(Assets::default());
        }
        let mut assets = BTreeMap::new();
        for entry in std::fs::read_dir(dir).with_context(|| format!("list `{}`", dir.display()))? {
            let path = entry?.path();
            let Some(content_type) = content_type(&path) else { continue };
            let body = std::fs::read(&path).with_context(|| format!("read `{}`", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            assets.insert(name, Asset { content_type, body: body.into() });
        }
        Ok(Assets(assets))
    }

    pub fn get(&self, name: &str) -> Option<&Asset> {
        self.0.get(name)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn content_type(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_str()? {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_complete() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../frontend");
        let assets = Assets::load(Path::new(dir)).unwrap();
        let index = assets.get("index.html").expect("index.html");
        let html = std::str::from_utf8(&index.body).unwrap();
        let named = html.split("/assets/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in named {
            assert!(assets.get(name).is_some(), "index.html names `{name}`");
        }
    }

    #[test]
    fn a_missing_folder_is_no_page() {
        assert_eq!(Assets::load(Path::new("/nonexistent")).unwrap().len(), 0);
    }
}
