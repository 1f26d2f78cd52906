//! PEM files: read whole, written beside and renamed, mode 0600.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use rcgen::KeyPair;

use super::PkiError;

pub fn ensure_directory(dir: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| PkiError::CreateDirectory { path: dir.display().to_string(), source })
}

pub fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::Read { path: path.display().to_string(), source })
}

pub fn write(path: &Path, content: &str) -> Result<(), PkiError> {
    let temporary = path.with_extension("new");
    let attempt = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    };
    attempt().map_err(|source| PkiError::Write { path: path.display().to_string(), source })
}

/// The key in the file; a new ECDSA P-256 key, saved there, when there is no file.
pub fn key(path: &Path) -> Result<KeyPair, PkiError> {
    if path.exists() {
        return load_key(path);
    }
    let key = generate()?;
    write(path, &key.serialize_pem())?;
    Ok(key)
}

pub fn load_key(path: &Path) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(&read(path)?).map_err(|_| PkiError::Malformed { path: path.display().to_string() })
}

pub fn generate() -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|source| PkiError::Certificate { subject: "new key".into(), source })
}
