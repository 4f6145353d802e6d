//! API keys that are not stored: the server reads them, at each call, from its environment or from a file.
//!
//! Which one, only a superuser says, and only of a model whose endpoint a superuser chose: [`crate::catalog::keys`] sees to that.

use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use pg_llm_gateway::KeyReference;
use pg_llm_sandbox::keys::Secret;
use zeroize::Zeroizing;

use super::errors::{SqlError, State};
use super::secret_file;

/// Longest key in a file, in bytes.
const MOST_BYTES: u64 = 64 << 10;

/// The key as it is now, without the blanks and line breaks around it. `what` names it in errors.
pub(crate) fn read(reference: &KeyReference, what: &str) -> Result<Secret, SqlError> {
    let (bytes, place) = match reference {
        KeyReference::Env(name) => {
            let place = format!("the environment variable \"{name}\"");
            let value = std::env::var_os(name).ok_or_else(|| {
                unusable(what, &format!("{place} is not set"))
                    .hint("It must be in the environment that the server was started with. A change needs a restart of the server.")
            })?;
            (Zeroizing::new(value.into_vec()), place)
        }
        KeyReference::File(path) => {
            let place = format!("the file \"{path}\"");
            let bytes = secret_file::read(Path::new(path), MOST_BYTES).map_err(|unfit| {
                let error = unfit.error(&place);
                let why = error.message.strip_prefix("pg_llm: ").unwrap_or(&error.message).to_owned();
                SqlError { message: unusable(what, &why).message, ..error }
            })?;
            (bytes, place)
        }
    };
    let key = bytes.trim_ascii();
    if key.is_empty() {
        return Err(unusable(what, &format!("{place} is empty")));
    }
    Ok(Secret::new(key.to_vec()))
}

fn unusable(what: &str, why: &str) -> SqlError {
    SqlError::new(State::SetUp, format!("pg_llm: {what} cannot be read: {why}"))
}
