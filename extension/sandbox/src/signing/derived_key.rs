//! Chains of HMAC-SHA256 that derive a day's signing key, as AWS and Tencent Cloud do.

use ring::hmac;
use zeroize::Zeroizing;

use crate::code_cache::hex;

/// A key that signs. Wiped when dropped.
pub(super) struct DerivedKey(Zeroizing<[u8; 32]>);

impl DerivedKey {
    /// Begins with `prefix` and the secret, and takes one HMAC a part.
    pub(super) fn new(prefix: &str, secret: &[u8], parts: &[&str]) -> Self {
        let mut first = Zeroizing::new(Vec::with_capacity(prefix.len() + secret.len()));
        first.extend_from_slice(prefix.as_bytes());
        first.extend_from_slice(secret);
        let mut parts = parts.iter();
        let mut key = hmac_sha256(&first, parts.next().unwrap_or(&""));
        for part in parts {
            key = hmac_sha256(key.as_ref(), part);
        }
        Self(key)
    }

    /// The signature of `text`, in lower-case hexadecimal.
    pub(super) fn sign(&self, text: &str) -> String {
        hex(hmac_sha256(self.0.as_ref(), text).as_ref())
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(tag.as_ref());
    bytes
}
