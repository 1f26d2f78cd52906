//! A detached JSON Web Signature: HS256 with the token's secret as the key, and nothing between the dots.
//!
//! Source: RFC 7515, appendix F, and RFC 7518, 3.2

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::hmac;

pub fn sign(content: &str, token_id: &str, token_secret: &str) -> String {
    // The id consists of letters and digits.
    let header = BASE64.encode(format!("{{\"alg\":\"HS256\",\"kid\":\"{token_id}\"}}"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, token_secret.as_bytes());
    let signed = hmac::sign(&key, format!("{header}.{}", BASE64.encode(content)).as_bytes());
    format!("{header}..{}", BASE64.encode(signed.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac`, `hashlib` and `base64`.
    #[test]
    fn a_signature_is_what_others_compute() {
        assert_eq!(
            sign("KUBECONFIG", "abcdef", "0123456789abcdef"),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..0udUfDhdC0qRrdu3LziVZI_5-MROwT3BFcyh2wDDfsQ"
        );
    }
}
