//! Names that the server makes from `generateName`.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/storage/names/generate.go

/// No vowels and no digits that look like them: no words come out.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const RANDOM_LENGTH: usize = 5;
/// The longest label, less the random part.
const MAX_BASE_LENGTH: usize = 58;

pub fn generate(base: &str) -> String {
    let mut end = base.len().min(MAX_BASE_LENGTH);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], random(RANDOM_LENGTH))
}

pub fn random(length: usize) -> String {
    let mut out = String::with_capacity(length);
    while out.len() < length {
        let bytes = uuid::Uuid::new_v4().into_bytes();
        for byte in bytes[..6].iter().chain(&bytes[9..]) {
            // 243 is the largest multiple of 27 in a byte: above it the letters would not be equally likely.
            // Bytes 6 and 8 of a UUID carry its version and are left out.
            if *byte < 243 && out.len() < length {
                out.push(ALPHABET[usize::from(*byte) % ALPHABET.len()] as char);
            }
        }
    }
    out
}
