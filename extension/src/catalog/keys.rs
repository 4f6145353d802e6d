//! API keys at rest.
//!
//! `sealed` is: version (1 byte), nonce (12 bytes), AES-256-GCM ciphertext and tag. The additional data are the version and the row's identity
//! (`instance_name`, `key_name`), so that a ciphertext copied to another row does not open there. The identity holds no oid: a restored dump opens.

use std::sync::{Mutex, PoisonError};

use pg_llm_sandbox::keys::Secret;
use pgrx::pg_sys::{BYTEAOID, TEXTOID};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::query::{Param, Statement};
use crate::backend::errors::{SqlError, State};
use crate::backend::gucs;
use crate::backend::key_file::MasterKey;

const VERSION: u8 = 1;

/// The master key in use, kept so that a call does not read its file again.
struct Opened {
    /// The settings that it was found by.
    settings: (Option<Zeroizing<Vec<u8>>>, Option<std::path::PathBuf>),
    id: String,
    api_keys: LessSafeKey,
}

static OPENED: Mutex<Option<Opened>> = Mutex::new(None);

static UPSERT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.keys AS k (instance_name, key_name, master_key_id, sealed) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (instance_name, key_name) DO UPDATE SET master_key_id = EXCLUDED.master_key_id, sealed = EXCLUDED.sealed, updated_at = pg_catalog.now()",
    &[TEXTOID, TEXTOID, TEXTOID, BYTEAOID],
);
static DELETE: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.keys WHERE instance_name OPERATOR(pg_catalog.=) $1 AND key_name OPERATOR(pg_catalog.=) $2 RETURNING key_name",
    &[TEXTOID, TEXTOID],
);
static DELETE_ALL: Statement =
    Statement::new("DELETE FROM _pg_llm_catalog.keys WHERE instance_name OPERATOR(pg_catalog.=) $1 RETURNING key_name", &[TEXTOID]);

/// Encrypts a key and stores it.
pub(crate) fn store(instance: &str, name: &str, secret: &Secret) -> Result<(), SqlError> {
    let master = MasterKey::existing_or_new()?;
    let opened = Opened::from(&master)?;
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| SqlError::new(State::SetUp, "pg_llm: the system gives no random bytes"))?;
    // With room for the tag, so that the plaintext is never copied by a growing buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(secret.expose().len() + AES_256_GCM.tag_len()));
    bytes.extend_from_slice(secret.expose());
    opened
        .api_keys
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(identity(instance, name)), &mut *bytes)
        .map_err(|_| SqlError::new(State::Internal, "pg_llm: a key could not be encrypted"))?;
    let sealed = [&[VERSION][..], &nonce, &bytes].concat();
    UPSERT.write(&[Param::Text(instance), Param::Text(name), Param::Text(&opened.id), Param::Bytes(&sealed)])?;
    *lock() = Some(opened);
    Ok(())
}

/// Decrypts a stored key.
pub(crate) fn open(instance: &str, name: &str, master_key_id: &str, sealed: &[u8]) -> Result<Secret, SqlError> {
    let mut cached = lock();
    let settings = (gucs::master_key(), gucs::master_key_file());
    if !cached.as_ref().is_some_and(|o| o.settings == settings && o.id == master_key_id) {
        let master = MasterKey::existing()?.ok_or_else(|| wrong_master(instance, "The master key file is missing."))?;
        *cached = Some(Opened::from(&master)?);
    }
    let opened = cached
        .as_ref()
        .filter(|o| o.id == master_key_id)
        .ok_or_else(|| wrong_master(instance, "It was encrypted with another master key."))?;
    unseal(&opened.api_keys, instance, name, sealed).ok_or_else(|| {
        SqlError::new(State::SetUp, format!("pg_llm: key \"{name}\" of model \"{instance}\" is damaged"))
            .detail("It does not authenticate: the stored row was changed, or copied from another one.")
            .hint("Set it again with pg_llm_set_key().")
    })
}

/// Removes a key; false when there was none.
pub(crate) fn remove(instance: &str, name: &str) -> Result<bool, SqlError> {
    Ok(!DELETE.write(&[Param::Text(instance), Param::Text(name)])?.is_empty())
}

/// Removes all keys of a model, and gives back their names.
pub(crate) fn remove_all(instance: &str) -> Result<Vec<String>, SqlError> {
    DELETE_ALL.write(&[Param::Text(instance)])?.iter().map(|row| row.required_text(0)).collect()
}

fn lock() -> std::sync::MutexGuard<'static, Option<Opened>> {
    OPENED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Opened {
    fn from(master: &MasterKey) -> Result<Self, SqlError> {
        let key = master.for_api_keys()?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref())
            .map_err(|_| SqlError::new(State::Internal, "pg_llm: an encryption key could not be made"))?;
        Ok(Self { settings: (gucs::master_key(), gucs::master_key_file()), id: master.id()?, api_keys: LessSafeKey::new(key) })
    }
}

/// Unambiguous: each name is preceded by its length.
fn identity(instance: &str, name: &str) -> Vec<u8> {
    let mut identity = vec![VERSION];
    for part in [instance, name] {
        identity.extend_from_slice(&(part.len() as u64).to_le_bytes());
        identity.extend_from_slice(part.as_bytes());
    }
    identity
}

fn unseal(key: &LessSafeKey, instance: &str, name: &str, sealed: &[u8]) -> Option<Secret> {
    let (&[VERSION], rest) = sealed.split_first_chunk::<1>()? else { return None };
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>()?;
    let mut bytes = Zeroizing::new(ciphertext.to_vec());
    let length = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(identity(instance, name)), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(Secret::new(std::mem::take(&mut *bytes)))
}

fn wrong_master(instance: &str, detail: &str) -> SqlError {
    SqlError::new(State::SetUp, format!("pg_llm: the keys of model \"{instance}\" cannot be opened with this server's master key"))
        .detail(detail)
        .hint("Bring back the master key (pg_llm/master.key of the data directory, pg_llm.master_key_file or pg_llm.master_key), or set the keys again with pg_llm_set_key().")
}
