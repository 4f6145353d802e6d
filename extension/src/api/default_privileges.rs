//! The end of the extension's script.

use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::privileges;
use crate::catalog::default_privileges;

sql_functions! {
    pg_llm_revoke_default_privileges_wrapper, pg_finfo_pg_llm_revoke_default_privileges_wrapper => revoke_default_privileges;
}

/// The script drops the function that this is bound to. Who binds another one is a superuser.
fn revoke_default_privileges(_: &Args<'_>) -> Result<Returned, Failure> {
    if !privileges::is_superuser(privileges::current_role()) {
        return Err(SqlError::new(State::Forbidden, "pg_llm: only a superuser may do this").into());
    }
    Ok(Returned::Long(default_privileges::revoke()?))
}
