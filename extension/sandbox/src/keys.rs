//! The keys of one model, as the host holds them during a call.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that are wiped when dropped and that no formatting shows.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// For the code that encrypts it or puts it into a header, and for nobody else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Name of a model's main key.
pub const DEFAULT_KEY: &str = "default";

/// The keys that one call may use, by name.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Vec<(String, Secret)>);

impl KeyRing {
    /// An empty ring.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a key on the ring; a later one of the same name replaces it.
    pub fn insert(&mut self, name: impl Into<String>, secret: Secret) {
        let name = name.into();
        self.0.retain(|(n, _)| *n != name);
        self.0.push((name, secret));
    }

    /// The names, which are no secret.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, s)| s)
    }

    /// All secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter().map(|(_, s)| s)
    }
}
