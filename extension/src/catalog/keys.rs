//! API keys at rest.
//!
//! `sealed` is: version (1 byte), nonce (12 bytes), AES-256-GCM ciphertext and tag. The additional data are the version and the row's identity
//! (`instance_name`, `key_name`), so that a ciphertext copied to another row does not open there. The identity holds no oid: a restored dump opens.
//!
//! `reference` is where the server finds a key that is not stored, in clear.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pg_llm_gateway::GivenKey;
use pg_llm_sandbox::keys::Secret;
use pgrx::PgLogLevel;
use pgrx::pg_sys::{BYTEAOID, TEXTOID};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::models::{KeyValue, StoredKey};
use super::query::{Param, Statement};
use crate::backend::errors::{self, Failure, SqlError, State};
use crate::backend::gucs::MasterKeySettings;
use crate::backend::key_reference;
use crate::backend::master_key::{self, MasterKey};

const VERSION: u8 = 1;

/// The master keys that this session has needed, kept so that a call does not read their files again.
struct Opened {
    /// The settings that they were found by.
    settings: MasterKeySettings,
    keys: Vec<ForApiKeys>,
}

/// What encrypts, and the id of the master key that it was derived from.
struct ForApiKeys {
    id: String,
    key: LessSafeKey,
}

static OPENED: Mutex<Option<Opened>> = Mutex::new(None);

// A rotation waits for who has written, and who is about to write waits for it: before it looks for the master key.
static LOCK_TO_WRITE: Statement = Statement::new("LOCK TABLE _pg_llm_catalog.keys IN ROW EXCLUSIVE MODE", &[]);
static LOCK_TO_ROTATE: Statement = Statement::new("LOCK TABLE _pg_llm_catalog.keys IN SHARE ROW EXCLUSIVE MODE", &[]);
static UPSERT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.keys AS k (instance_name, key_name, master_key_id, sealed, reference) VALUES ($1, $2, $3, $4, $5::pg_catalog.jsonb) \
     ON CONFLICT (instance_name, key_name) DO UPDATE SET master_key_id = EXCLUDED.master_key_id, sealed = EXCLUDED.sealed, \
            reference = EXCLUDED.reference, updated_at = pg_catalog.now()",
    &[TEXTOID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID],
);
static DELETE: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.keys WHERE instance_name OPERATOR(pg_catalog.=) $1 AND key_name OPERATOR(pg_catalog.=) $2 RETURNING key_name",
    &[TEXTOID, TEXTOID],
);
static DELETE_ALL: Statement =
    Statement::new("DELETE FROM _pg_llm_catalog.keys WHERE instance_name OPERATOR(pg_catalog.=) $1 RETURNING key_name", &[TEXTOID]);
static SEALED_OTHERWISE: Statement = Statement::new(
    "SELECT instance_name, key_name, master_key_id, sealed FROM _pg_llm_catalog.keys \
      WHERE sealed IS NOT NULL AND master_key_id OPERATOR(pg_catalog.<>) $1",
    &[TEXTOID],
);
static RESEAL: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.keys SET master_key_id = $3, sealed = $4 \
      WHERE instance_name OPERATOR(pg_catalog.=) $1 AND key_name OPERATOR(pg_catalog.=) $2",
    &[TEXTOID, TEXTOID, TEXTOID, BYTEAOID],
);

/// Stores a key: encrypted, or, where it is a reference, as it is.
pub(crate) fn store(instance: &str, name: &str, given: &GivenKey) -> Result<(), Failure> {
    match given {
        GivenKey::Secret(secret) => {
            LOCK_TO_WRITE.write(&[])?;
            let key = ForApiKeys::of(&MasterKey::current_or_new()?)?;
            let sealed = key.seal(instance, name, secret)?;
            UPSERT.write(&[Param::Text(instance), Param::Text(name), Param::Text(&key.id), Param::Bytes(&sealed), Param::Null])?;
            with_opened(|opened| opened.keep(key));
        }
        GivenKey::Reference(reference) => {
            let reference = reference.to_json().to_string();
            UPSERT.write(&[Param::Text(instance), Param::Text(name), Param::Null, Param::Null, Param::Text(&reference)])?;
        }
    }
    Ok(())
}

/// The key itself. A reference is followed where a superuser chose the model's endpoint: it would lead whoever else chose it to the server's own files.
pub(crate) fn open(instance: &str, stored: &StoredKey, endpoint_trusted: bool) -> Result<Secret, Failure> {
    let name = stored.name.as_str();
    match &stored.value {
        KeyValue::Sealed { master_key_id, sealed } => open_sealed(instance, name, master_key_id, sealed),
        KeyValue::Reference(_) if !endpoint_trusted => Err(untrusted(instance).into()),
        KeyValue::Reference(Some(reference)) => Ok(key_reference::read(reference, &format!("key \"{name}\" of model \"{instance}\""))?),
        KeyValue::Reference(None) => Err(damaged(instance, name, "Its reference is none.").into()),
    }
}

/// 42501: no reference for a model that sends its keys where others than a superuser say.
pub(crate) fn untrusted(instance: &str) -> SqlError {
    SqlError::new(State::Forbidden, format!("pg_llm: model \"{instance}\" cannot have keys by reference: no superuser chose its endpoint"))
        .hint("Keys that are given as such it can have. Or a superuser adds the model again, with its api_endpoint.")
}

fn open_sealed(instance: &str, name: &str, master_key_id: &str, sealed: &[u8]) -> Result<Secret, Failure> {
    let unseal = |key: &ForApiKeys| {
        key.unseal(instance, name, sealed)
            .ok_or_else(|| damaged(instance, name, "It does not authenticate: the stored row was changed, or copied from another one."))
    };
    if let Some(secret) = with_opened(|opened| opened.keys.iter().find(|key| key.id == master_key_id).map(unseal)) {
        return Ok(secret?);
    }
    let Some(master) = MasterKey::of(master_key_id)? else {
        let detail = match MasterKey::current()? {
            None => "The master key file is missing.",
            Some(_) => "It was encrypted with another master key.",
        };
        return Err(wrong_master(instance, detail).into());
    };
    let key = ForApiKeys::of(&master)?;
    let secret = unseal(&key);
    with_opened(|opened| opened.keep(key));
    Ok(secret?)
}

/// Encrypts the keys of this database anew, under another master key, and says how many. While it does so nobody sets one; calls go on.
///
/// `replace`: the master key of the data directory is another one from now on.
pub(crate) fn rotate(replace: bool) -> Result<i64, Failure> {
    master_key::begin_rotation()?;
    LOCK_TO_ROTATE.write(&[])?;
    let key = ForApiKeys::of(&master_key::rotate(replace)?)?;
    let mut done = 0;
    for row in SEALED_OTHERWISE.write(&[Param::Text(&key.id)])? {
        let (instance, name) = (row.required_text(0)?, row.required_text(1)?);
        let sealed = row.bytes(3).unwrap_or_default();
        match open_sealed(&instance, &name, &row.required_text(2)?, &sealed) {
            Ok(secret) => {
                let sealed = key.seal(&instance, &name, &secret)?;
                RESEAL.write(&[Param::Text(&instance), Param::Text(&name), Param::Text(&key.id), Param::Bytes(&sealed)])?;
                done += 1;
            }
            // It was lost before, and is in nobody's way.
            Err(Failure::Sql(error)) => {
                let why = error.message.strip_prefix("pg_llm: ").unwrap_or(&error.message);
                errors::emit(PgLogLevel::WARNING, &format!("pg_llm: key \"{name}\" of model \"{instance}\" is left as it is: {why}"));
            }
            Err(raised @ Failure::Postgres(_)) => return Err(raised),
        }
    }
    with_opened(|opened| opened.keep(key));
    Ok(done)
}

/// Removes a key; false when there was none.
pub(crate) fn remove(instance: &str, name: &str) -> Result<bool, SqlError> {
    Ok(!DELETE.write(&[Param::Text(instance), Param::Text(name)])?.is_empty())
}

/// Removes all keys of a model, and gives back their names.
pub(crate) fn remove_all(instance: &str) -> Result<Vec<String>, SqlError> {
    DELETE_ALL.write(&[Param::Text(instance)])?.iter().map(|row| row.required_text(0)).collect()
}

/// What is kept, unless the settings that it was found by have changed.
fn with_opened<T>(work: impl FnOnce(&mut Opened) -> T) -> T {
    let mut opened: MutexGuard<'_, Option<Opened>> = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if opened.as_ref().is_some_and(|opened| !opened.settings.are_current()) {
        *opened = None;
    }
    work(opened.get_or_insert_with(|| Opened { settings: MasterKeySettings::now(), keys: Vec::new() }))
}

/// Most master keys kept. There are two for as long as a rotation takes, and seldom more.
const MOST_KEPT: usize = 8;

impl Opened {
    fn keep(&mut self, key: ForApiKeys) {
        self.keys.retain(|kept| kept.id != key.id);
        self.keys.truncate(MOST_KEPT - 1);
        self.keys.insert(0, key);
    }
}

impl ForApiKeys {
    fn of(master: &MasterKey) -> Result<Self, SqlError> {
        let key = master.for_api_keys()?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref())
            .map_err(|_| SqlError::new(State::Internal, "pg_llm: an encryption key could not be made"))?;
        Ok(Self { id: master.id()?, key: LessSafeKey::new(key) })
    }

    fn seal(&self, instance: &str, name: &str, secret: &Secret) -> Result<Vec<u8>, SqlError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SqlError::new(State::SetUp, "pg_llm: the system gives no random bytes"))?;
        // With room for the tag, so that the plaintext is never copied by a growing buffer.
        let mut bytes = Zeroizing::new(Vec::with_capacity(secret.expose().len() + AES_256_GCM.tag_len()));
        bytes.extend_from_slice(secret.expose());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(identity(instance, name)), &mut *bytes)
            .map_err(|_| SqlError::new(State::Internal, "pg_llm: a key could not be encrypted"))?;
        Ok([&[VERSION][..], &nonce, &bytes].concat())
    }

    fn unseal(&self, instance: &str, name: &str, sealed: &[u8]) -> Option<Secret> {
        let (&[VERSION], rest) = sealed.split_first_chunk::<1>()? else { return None };
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = Zeroizing::new(ciphertext.to_vec());
        let aad = Aad::from(identity(instance, name));
        let length = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(Secret::new(std::mem::take(&mut *bytes)))
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

fn damaged(instance: &str, name: &str, detail: &str) -> SqlError {
    SqlError::new(State::SetUp, format!("pg_llm: key \"{name}\" of model \"{instance}\" is damaged"))
        .detail(detail)
        .hint("Set it again with pg_llm_set_key().")
}

fn wrong_master(instance: &str, detail: &str) -> SqlError {
    SqlError::new(State::SetUp, format!("pg_llm: the keys of model \"{instance}\" cannot be opened with this server's master key"))
        .detail(detail)
        .hint("Bring back the master key (pg_llm/master.key of the data directory, pg_llm.master_key_file, pg_llm.master_key_command, pg_llm.former_master_key_files), or set the keys again with pg_llm_set_key().")
}
