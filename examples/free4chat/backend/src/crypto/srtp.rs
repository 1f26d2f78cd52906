//! SRTP ciphers: AES counter mode (every browser) and AES-GCM (most browsers, cheaper).
//!
//! Source: RFC 3711 section 4.1.1, RFC 7714, RFC 5764 section 4.1.2

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

/// Bytes of the tag that GCM appends.
const TAG: usize = 16;

#[derive(Debug)]
pub struct Srtp;

impl SrtpProvider for Srtp {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Srtp
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Srtp
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Srtp
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        encrypt_block(&Aes128::new_from_slice(key).expect("an AES-128 key has 16 bytes"), input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        encrypt_block(&Aes256::new_from_slice(key).expect("an AES-256 key has 32 bytes"), input, output);
    }
}

impl SupportedAes128CmSha1_80 for Srtp {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(Counter { key })
    }
}

impl SupportedAeadAes128Gcm for Srtp {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Gcm::new(UnboundKey::new(&AES_128_GCM, &key)))
    }
}

impl SupportedAeadAes256Gcm for Srtp {
    fn create_cipher(&self, key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Gcm::new(UnboundKey::new(&AES_256_GCM, &key)))
    }
}

/// One block in, one block out; str0m derives session keys with it.
fn encrypt_block(cipher: &impl BlockCipherEncrypt, input: &[u8], output: &mut [u8]) {
    let mut block = Array::try_from(input).expect("one AES block");
    cipher.encrypt_block(&mut block);
    output[..block.len()].copy_from_slice(&block);
}

struct Counter {
    key: [u8; 16],
}

impl std::fmt::Debug for Counter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counter")
    }
}

impl Aes128CmSha1_80Cipher for Counter {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let output = &mut output[..input.len()];
        output.copy_from_slice(input);
        ctr::Ctr128BE::<Aes128>::new(&self.key.into(), &(*iv).into()).apply_keystream(output);
        Ok(())
    }

    /// Counter mode is its own inverse.
    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.encrypt(iv, input, output)
    }
}

/// str0m derives the nonces from the packet index, as RFC 7714 asks, so `ring` need not count them.
#[derive(Debug)]
struct Gcm(LessSafeKey);

impl Gcm {
    fn new(key: Result<UnboundKey, ring::error::Unspecified>) -> Gcm {
        Gcm(LessSafeKey::new(key.expect("the array has the key's length")))
    }

    fn seal(&self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let (text, rest) = output.split_at_mut(input.len());
        text.copy_from_slice(input);
        let nonce = Nonce::assume_unique_for_key(*iv);
        let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        let tag = sealed.map_err(|_| CryptoError::Other("AES-GCM could not seal a packet".into()))?;
        rest[..TAG].copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(
        &self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let forged = || CryptoError::Other("AES-GCM refused a packet".into());
        let length = input.len().checked_sub(TAG).ok_or_else(forged)?;
        let tag = input[length..].try_into().map_err(|_| forged())?;
        let text = &mut output[..length];
        text.copy_from_slice(&input[..length]);
        let (nonce, aad) = (Nonce::assume_unique_for_key(*iv), aads.concat());
        let opened = self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, text, 0..);
        opened.map(|text| text.len()).map_err(|_| forged())
    }
}

/// The two key lengths have one trait each, with the same methods.
macro_rules! gcm_cipher {
    ($cipher:ident) => {
        impl $cipher for Gcm {
            fn encrypt(
                &mut self,
                iv: &[u8; 12],
                aad: &[u8],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<(), CryptoError> {
                self.seal(iv, aad, input, output)
            }

            fn decrypt(
                &mut self,
                iv: &[u8; 12],
                aads: &[&[u8]],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<usize, CryptoError> {
                self.open(iv, aads, input, output)
            }
        }
    };
}

gcm_cipher!(AeadAes128GcmCipher);
gcm_cipher!(AeadAes256GcmCipher);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_block_matches_fips_197() {
        let key: Vec<u8> = (0..16).collect();
        let text: Vec<u8> = (0..16).map(|i| i * 0x11).collect();
        let mut output = [0; 32];
        Srtp.srtp_aes_128_ecb_round(&key, &text, &mut output);
        let expected = 0x69c4e0d86a7b0430d8cdb78070b4c55a_u128.to_be_bytes();
        assert_eq!(output[..16], expected);
    }

    #[test]
    fn counter_mode_matches_the_keystream_of_rfc_3711() {
        let mut cipher = Counter { key: 0x2b7e151628aed2a6abf7158809cf4f3c_u128.to_be_bytes() };
        let iv = 0xf0f1f2f3f4f5f6f7f8f9fafbfcfd0000_u128.to_be_bytes();
        let mut output = [0; 16];
        cipher.encrypt(&iv, &[0; 16], &mut output).unwrap();
        assert_eq!(output, 0xe03ead0935c95e80e166b16dd92b4eb4_u128.to_be_bytes());
    }

    #[test]
    fn gcm_opens_what_it_sealed_and_refuses_a_changed_packet() {
        let cipher = Gcm::new(UnboundKey::new(&AES_128_GCM, &[7; 16]));
        let (mut sealed, mut opened) = ([0; 5 + TAG], [0; 5 + TAG]);
        cipher.seal(&[1; 12], b"header", b"voice", &mut sealed).unwrap();
        let length = cipher.open(&[1; 12], &[b"head", b"er"], &sealed, &mut opened).unwrap();
        assert_eq!(&opened[..length], b"voice");
        sealed[0] ^= 1;
        assert!(cipher.open(&[1; 12], &[b"header"], &sealed, &mut opened).is_err());
        assert!(cipher.open(&[1; 12], &[b"header"], &sealed[..3], &mut opened).is_err());
    }
}
