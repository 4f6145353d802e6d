//! Access tokens, kept for as long as they are good.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};

use crate::keys::Secret;

/// What a token was given for: the scheme, the URL, the credentials and the scopes. Only who has all of them finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding([u8; 32]);

impl Binding {
    /// A digest over all parts, so that no credentials stay behind.
    pub(super) fn new<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }
}

/// The tokens of one process.
#[derive(Debug, Default)]
pub(crate) struct TokenCache(Mutex<HashMap<Binding, Kept>>);

#[derive(Debug)]
struct Kept {
    token: Secret,
    /// Somewhat before it expires.
    until: Instant,
}

/// A token is not used any more so long before it expires: it must still be good when the request arrives.
const MARGIN: Duration = Duration::from_mins(1);

/// Longest time that a token is kept, whatever its server says.
const LONGEST: Duration = Duration::from_hours(24);

/// Most tokens kept. Beyond, the one that expires first makes room.
const MOST: usize = 64;

impl TokenCache {
    /// The token, if it is good at `now`.
    pub(crate) fn get(&self, binding: &Binding, now: Instant) -> Option<Secret> {
        self.lock().get(binding).filter(|kept| now < kept.until).map(|kept| kept.token.clone())
    }

    /// Keeps a token that is good for `lifetime` from `now` on. One of less than two minutes is used for the first half of its life.
    pub(crate) fn put(&self, binding: Binding, token: Secret, lifetime: Duration, now: Instant) {
        let lifetime = lifetime.min(LONGEST);
        let until = now + lifetime.saturating_sub(MARGIN.min(lifetime / 2));
        let mut kept = self.lock();
        kept.retain(|_, other| now < other.until);
        if kept.len() >= MOST
            && let Some(first) = kept.iter().min_by_key(|(_, other)| other.until).map(|(binding, _)| binding.clone())
        {
            kept.remove(&first);
        }
        kept.insert(binding, Kept { token, until });
    }

    /// Forgets a token that was refused, unless there is another in its place by now.
    pub(crate) fn forget(&self, binding: &Binding, refused: &Secret) {
        let mut kept = self.lock();
        if kept.get(binding).is_some_and(|kept| kept.token.expose() == refused.expose()) {
            kept.remove(binding);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Binding, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(parts: &[&str]) -> Binding {
        Binding::new(parts.iter().map(|part| part.as_bytes()))
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn found(cache: &TokenCache, binding: &Binding, now: Instant) -> Option<String> {
        cache.get(binding, now).map(|token| String::from_utf8(token.expose().to_vec()).unwrap())
    }

    #[test]
    fn a_token_is_found_until_shortly_before_it_expires() {
        let (cache, start, mine) = (TokenCache::default(), Instant::now(), binding(&["mine"]));
        for (lifetime, good) in [(3600, 3540), (120, 60), (10, 5), (1_000_000, 86_340)] {
            cache.put(mine.clone(), secret("token"), Duration::from_secs(lifetime), start);
            assert_eq!(found(&cache, &mine, start + Duration::from_secs(good - 1)).as_deref(), Some("token"), "{lifetime}");
            assert_eq!(found(&cache, &mine, start + Duration::from_secs(good)), None, "{lifetime}");
        }
        cache.put(mine.clone(), secret("token"), Duration::ZERO, start);
        assert_eq!(found(&cache, &mine, start), None);
    }

    #[test]
    fn a_token_is_bound_to_every_part() {
        let (cache, now) = (TokenCache::default(), Instant::now());
        cache.put(binding(&["url", "id", "secret"]), secret("token"), Duration::from_hours(1), now);
        assert!(cache.get(&binding(&["url", "id", "secret"]), now).is_some());
        for other in [&["url", "id", "secrets"][..], &["url", "ids", "ecret"], &["url", "id", "secret", ""], &["urlid", "secret"], &[]] {
            assert!(cache.get(&binding(other), now).is_none(), "{other:?}");
        }
    }

    #[test]
    fn only_the_refused_token_is_forgotten() {
        let (cache, now, mine) = (TokenCache::default(), Instant::now(), binding(&["mine"]));
        cache.put(mine.clone(), secret("new"), Duration::from_hours(1), now);
        cache.forget(&mine, &secret("old"));
        assert_eq!(found(&cache, &mine, now).as_deref(), Some("new"));
        cache.forget(&mine, &secret("new"));
        assert_eq!(found(&cache, &mine, now), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let (cache, now) = (TokenCache::default(), Instant::now());
        for i in 0..1000_u64 {
            cache.put(binding(&[&i.to_string()]), secret("token"), Duration::from_secs(3600 + i), now);
        }
        assert_eq!(cache.lock().len(), MOST);
        assert!(cache.get(&binding(&["999"]), now).is_some());
    }
}
