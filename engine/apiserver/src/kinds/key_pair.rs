//! Whether the two halves of a TLS Secret belong together, in the words of Go's `tls.X509KeyPair`.
//!
//! A key of a kind that this server cannot read (P-521) is not judged.
//! Source: https://github.com/golang/go/blob/master/src/crypto/tls/tls.go

use rustls::{crypto::ring::sign::any_supported_type, pki_types::PrivateKeyDer};
use x509_parser::{
    pem::Pem,
    prelude::{FromDer, X509Certificate},
    x509::SubjectPublicKeyInfo,
};

pub fn problem(certificates: &[u8], key: &[u8]) -> Option<String> {
    check(certificates, key).err()
}

fn check(certificates: &[u8], key: &[u8]) -> Result<(), String> {
    let blocks = blocks(certificates);
    let is_certificate = |block: &&Pem| block.label == "CERTIFICATE";
    let leaf = blocks.iter().find(is_certificate).ok_or_else(|| match &labels(&blocks)[..] {
        [] => "tls: failed to find any PEM data in certificate input".to_owned(),
        [one] if one.ends_with("PRIVATE KEY") => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_owned(),
        skipped => format!("tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]", skipped.join(" ")),
    })?;
    let blocks = self::blocks(key);
    let is_key = |block: &&Pem| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY");
    let key = blocks.iter().find(is_key).ok_or_else(|| match &labels(&blocks)[..] {
        [] => "tls: failed to find any PEM data in key input".to_owned(),
        ["CERTIFICATE"] => "tls: found a certificate rather than a key in the PEM for the private key".to_owned(),
        skipped => format!("tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]", skipped.join(" ")),
    })?;
    let (_, leaf) = X509Certificate::from_der(&leaf.contents).map_err(|_| "x509: malformed certificate")?;
    let key = PrivateKeyDer::try_from(&key.contents[..]).map_err(|_| "tls: failed to parse private key")?;
    let Ok(key) = any_supported_type(&key) else { return Ok(()) };
    let Some(public) = key.public_key() else { return Ok(()) };
    let Ok((_, public)) = SubjectPublicKeyInfo::from_der(&public) else { return Ok(()) };
    if public.algorithm.algorithm != leaf.public_key().algorithm.algorithm {
        return Err("tls: private key type does not match public key type".to_owned());
    }
    if public.subject_public_key.data != leaf.public_key().subject_public_key.data {
        return Err("tls: private key does not match public key".to_owned());
    }
    Ok(())
}

fn blocks(pem: &[u8]) -> Vec<Pem> {
    Pem::iter_from_buffer(pem).map_while(Result::ok).collect()
}

fn labels(blocks: &[Pem]) -> Vec<&str> {
    blocks.iter().map(|block| block.label.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    #[test]
    fn a_key_pair_gets_gos_words() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate =
            CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let of_type = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (certificate, key, expected) in [
            (&*certificate, &*key, ""),
            (&format!("{certificate}{certificate}"), &format!("{}{key}", block("EC PARAMETERS")), ""),
            (&certificate, &other, "tls: private key does not match public key"),
            (&certificate, &of_type, "tls: private key type does not match public key type"),
            ("", &key, "tls: failed to find any PEM data in certificate input"),
            (
                &key,
                &certificate,
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
            ),
            (
                &block("X"),
                &key,
                "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [X]",
            ),
            (&certificate, "none", "tls: failed to find any PEM data in key input"),
            (
                &certificate,
                &certificate,
                "tls: found a certificate rather than a key in the PEM for the private key",
            ),
            (
                &certificate,
                &block("PUBLIC KEY"),
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [PUBLIC KEY]",
            ),
            (&block("CERTIFICATE"), &key, "x509: malformed certificate"),
            (&certificate, &block("PRIVATE KEY"), "tls: failed to parse private key"),
        ] {
            let found = problem(certificate.as_bytes(), key.as_bytes()).unwrap_or_default();
            assert_eq!(found, expected, "{certificate}{key}");
        }
    }
}
