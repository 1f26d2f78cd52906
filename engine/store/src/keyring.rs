//! Encryption at rest: AES-256-GCM with a random nonce, under keys kept in a file of mode 0600 beside the log.
//!
//! The key file has a line for each key: a number from 1 to 255, a colon, 64 hexadecimal digits. The last line is
//! the key for writing, the others are for reading what was written before it was added.
//! A sealed body is: key number 1, nonce 12, ciphertext, tag 16.

use std::path::{Path, PathBuf};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

use crate::{
    OpenError,
    disk::{self, Disk},
};

const FILE: &str = "encryption.keys";
const KEY_LEN: usize = 32;

#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the key file has no key {number}")]
    Unknown { number: u8 },
    #[error("the key file has no key to write with")]
    NoKey,
    #[error("key {number} does not fit")]
    Wrong { number: u8 },
    #[error("the system's random numbers failed")]
    Random,
    #[error("an encrypted body is too short")]
    Short,
}

pub(crate) struct Keyring {
    keys: Vec<(u8, LessSafeKey)>,
    random: SystemRandom,
}

impl Keyring {
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// The keys in the directory; none when there is no key file.
    pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Keyring, OpenError> {
        let path = Keyring::path(dir);
        let io = |source| OpenError::Io { action: "read", path: path.clone(), source };
        if !disk.list(dir).map_err(io)?.iter().any(|name| name == FILE) {
            return Ok(Keyring { keys: Vec::new(), random: SystemRandom::new() });
        }
        let text = disk.open(&path).and_then(|file| disk::read_all(&*file)).map_err(io)?;
        let keys = parse(&text).map_err(|what| OpenError::Key { path, what })?;
        Ok(Keyring { keys, random: SystemRandom::new() })
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Makes a first key when there is none, and has it on disk before anything is encrypted with it.
    pub fn ensure_key(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
        if !self.keys.is_empty() {
            return Ok(());
        }
        let path = Keyring::path(dir);
        let mut key = [0; KEY_LEN];
        self.random
            .fill(&mut key)
            .map_err(|_| OpenError::Key { path: path.clone(), what: KeyError::Random.to_string() })?;
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        disk::replace(disk, &path, format!("1:{digits}\n").as_bytes()).map_err(|source| OpenError::Io {
            action: "write",
            path,
            source,
        })?;
        self.keys.extend(cipher(&key).map(|key| (1, key)));
        Ok(())
    }

    pub fn seal(&self, bound_to: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (number, key) = self.keys.last().ok_or(KeyError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| KeyError::Random)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(*number);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(bound_to), &mut sealed[1 + NONCE_LEN..])
            .map_err(|_| KeyError::Wrong { number: *number })?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    pub fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (&number, rest) = sealed.split_first().ok_or(KeyError::Short)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(KeyError::Short)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Short)?;
        let (_, key) = self.keys.iter().find(|(n, _)| *n == number).ok_or(KeyError::Unknown { number })?;
        let mut plain = body.to_vec();
        let len = key
            .open_in_place(nonce, Aad::from(bound_to), &mut plain)
            .map_err(|_| KeyError::Wrong { number })?
            .len();
        plain.truncate(len);
        plain.shrink_to_fit();
        Ok(plain)
    }
}

fn cipher(key: &[u8; KEY_LEN]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn parse(text: &[u8]) -> Result<Vec<(u8, LessSafeKey)>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not text")?;
    let mut keys = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let key = parse_line(line.trim())
            .ok_or_else(|| format!("line {} is not a number from 1 to 255, `:` and 64 digits", at + 1))?;
        keys.push(key);
    }
    if keys.is_empty() { Err("is empty".into()) } else { Ok(keys) }
}

fn parse_line(line: &str) -> Option<(u8, LessSafeKey)> {
    let (number, digits) = line.split_once(':')?;
    let number = number.parse::<u8>().ok().filter(|number| *number > 0)?;
    if digits.len() != 2 * KEY_LEN || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; KEY_LEN];
    for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some((number, cipher(&key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(text: &str) -> Keyring {
        Keyring { keys: parse(text.as_bytes()).unwrap_or_default(), random: SystemRandom::new() }
    }

    #[test]
    fn a_body_opens_only_with_its_key_and_where_it_belongs() {
        let (one, two) = (format!("1:{}\n", "0a".repeat(32)), format!("2:{}\n", "0B".repeat(32)));
        let sealed = keyring(&one).seal(b"here", b"secret").unwrap();
        assert_eq!(keyring(&format!("{one}{two}")).open(b"here", &sealed).unwrap(), b"secret");
        assert!(matches!(keyring(&one).open(b"there", &sealed), Err(KeyError::Wrong { number: 1 })));
        assert!(matches!(keyring(&two).open(b"here", &sealed), Err(KeyError::Unknown { number: 1 })));
        assert_eq!(keyring(&format!("{one}{two}")).seal(b"", b"").unwrap()[0], 2);
        assert!(matches!(keyring(&one).open(b"here", &sealed[..5]), Err(KeyError::Short)));
    }

    #[test]
    fn a_key_file_with_a_bad_line_is_refused() {
        for text in
            ["", "1", "0:00", "1:zz", &format!("0:{}", "00".repeat(32)), &format!("1:{}", "é".repeat(32))]
        {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
