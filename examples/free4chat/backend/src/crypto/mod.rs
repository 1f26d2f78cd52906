//! The cryptography that str0m asks its user to choose: hashes and AEAD from `ring`, AES blocks from `aes`,
//! and DTLS from `dimpl`. No C library beyond what `ring` carries, so the binary stays static.
//!
//! Source: RFC 8489 (STUN integrity), RFC 3711 and RFC 7714 (SRTP), RFC 5764 (DTLS-SRTP)

mod dtls;
mod srtp;

use ring::{digest, hmac};
use str0m::crypto::{CryptoProvider, Sha1HmacProvider, Sha1Provider, Sha256Provider};

pub use dtls::generate_certificate;

/// Everything str0m needs, for [`str0m::RtcConfig::set_crypto_provider`].
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        srtp_provider: &srtp::Srtp,
        sha1_provider: &Hashes,
        sha1_hmac_provider: &Hashes,
        sha256_provider: &Hashes,
        dtls_provider: &dtls::Dtls,
    }
}

#[derive(Debug)]
struct Hashes;

impl Sha1Provider for Hashes {
    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        digest_of(&digest::SHA1_FOR_LEGACY_USE_ONLY, data)
    }
}

impl Sha256Provider for Hashes {
    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        digest_of(&digest::SHA256, data)
    }
}

impl Sha1HmacProvider for Hashes {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        let mut context = hmac::Context::with_key(&key);
        for payload in payloads {
            context.update(payload);
        }
        context.sign().as_ref().try_into().expect("an HMAC-SHA1 tag has 20 bytes")
    }
}

fn digest_of<const LENGTH: usize>(algorithm: &'static digest::Algorithm, data: &[u8]) -> [u8; LENGTH] {
    digest::digest(algorithm, data).as_ref().try_into().expect("the algorithm has this length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_sha1_matches_rfc_2202() {
        let tag = Hashes.sha1_hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&tag), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn hashes_match_fips_180() {
        assert_eq!(hex(&Hashes.sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&Hashes.sha256(b"abc")), sha256);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
