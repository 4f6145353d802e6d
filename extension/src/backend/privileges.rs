//! Who calls, what the caller may do, and becoming the catalog's owner for a query.

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    reason = "Postgres's small constants, in the type that bindgen gives them"
)]

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::encoding;
use super::errors::{SqlError, State};

/// The schema of the tables.
pub(super) const SCHEMA: &std::ffi::CStr = c"_pg_llm_catalog";

/// The role whose rights count now: inside a SECURITY DEFINER function, its owner.
pub(crate) fn current_role() -> Oid {
    // SAFETY: reads the backend's state.
    unsafe { pg_sys::GetUserId() }
}

/// Whether the role is a superuser.
pub(crate) fn is_superuser(role: Oid) -> bool {
    // SAFETY: a look-up in Postgres's caches.
    unsafe { pg_sys::superuser_arg(role) }
}

/// Whether `member` has the rights of `role` without SET ROLE. Superusers have all.
pub(crate) fn has_rights_of(member: Oid, role: Oid) -> bool {
    // SAFETY: a look-up in Postgres's caches; a role that no longer exists has no members.
    unsafe { pg_sys::has_privs_of_role(member, role) }
}

/// Whether the role may see what concerns others in statistics: superusers, and members of `pg_read_all_stats`.
pub(crate) fn sees_all_statistics(role: Oid) -> bool {
    has_rights_of(role, Oid::from(pg_sys::ROLE_PG_READ_ALL_STATS))
}

/// Whether there is such a role.
pub(crate) fn role_exists(role: Oid) -> bool {
    // SAFETY: a look-up in Postgres's caches, whose result is only compared.
    unsafe { !pg_sys::GetUserNameFromId(role, true).is_null() }
}

/// A role's name, for messages.
pub(crate) fn role_name(role: Oid) -> String {
    // SAFETY: the name is a NUL-terminated string, or NULL when there is no such role.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return role.to_u32().to_string();
        }
        let text = std::ffi::CStr::from_ptr(name);
        encoding::from_server(text.to_bytes()).unwrap_or_else(|_| role.to_u32().to_string())
    }
}

/// Looks a role up by its exact name; `public` stands for everybody, as oid 0.
pub(crate) fn role_by_name(name: &str) -> Result<Oid, SqlError> {
    if name == "public" {
        return Ok(pg_sys::InvalidOid);
    }
    let unknown = || SqlError::new(State::Undefined, format!("pg_llm: role \"{name}\" does not exist"));
    let bytes = std::ffi::CString::new(encoding::to_server(name).into_owned()).map_err(|_| unknown())?;
    // SAFETY: a NUL-terminated name.
    let role = unsafe { pg_sys::get_role_oid(bytes.as_ptr(), true) };
    if role == pg_sys::InvalidOid { Err(unknown()) } else { Ok(role) }
}

/// While this lives, queries run with the rights of the catalog's owner, as in a SECURITY DEFINER function.
pub(crate) struct AsOwner {
    role: Oid,
    context: i32,
}

impl AsOwner {
    pub(crate) fn become_owner() -> Result<Self, SqlError> {
        let owner = catalog_owner()?;
        let (mut role, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: saves and sets the backend's state; `drop` restores it on every path, and so does Postgres when a transaction aborts.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&raw mut role, &raw mut context);
            pg_sys::SetUserIdAndSecContext(owner, context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
        }
        Ok(Self { role, context })
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        // SAFETY: what `become_owner` saved.
        unsafe { pg_sys::SetUserIdAndSecContext(self.role, self.context) }
    }
}

/// Whether this database has the extension's tables.
pub(crate) fn is_installed() -> bool {
    catalog_owner().is_ok()
}

fn catalog_owner() -> Result<Oid, SqlError> {
    let missing =
        || SqlError::new(State::SetUp, "pg_llm: the extension's tables are missing from this database").hint("CREATE EXTENSION pg_llm;");
    // SAFETY: a look-up in the system cache; the tuple is released after its column was read.
    unsafe {
        let name = pg_sys::Datum::from(SCHEMA.as_ptr());
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::NAMESPACENAME as i32, name);
        if tuple.is_null() {
            return Err(missing());
        }
        let mut isnull = false;
        let owner = pg_sys::SysCacheGetAttr(
            pg_sys::SysCacheIdentifier::NAMESPACENAME as i32,
            tuple,
            pg_sys::Anum_pg_namespace_nspowner as i16,
            &raw mut isnull,
        );
        pg_sys::ReleaseSysCache(tuple);
        Ok(Oid::from(u32::try_from(owner.value()).map_err(|_| missing())?))
    }
}

/// A role, and how it came to be the current one.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    role: Oid,
    context: i32,
}

impl Caller {
    pub(crate) fn now() -> Self {
        let (mut role, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: reads the backend's state.
        unsafe { pg_sys::GetUserIdAndSecContext(&raw mut role, &raw mut context) };
        Self { role, context }
    }

    /// A role whose work is done while it is away, as if within a function of its own that may change nothing of the session.
    pub(crate) fn absent(role: Oid) -> Self {
        Self { role, context: (pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION) as i32 }
    }

    /// While what this returns lives, the caller is the current role again.
    pub(crate) fn again(self) -> AsCaller {
        let before = Self::now();
        // Where another role stands, it may not be set by SET ROLE from within, nor seen after.
        let changed = if before.role == self.role { 0 } else { pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32 };
        // SAFETY: sets the backend's state; `drop` restores it on every path, and so does Postgres when a transaction aborts.
        unsafe { pg_sys::SetUserIdAndSecContext(self.role, self.context | changed) }
        AsCaller { before }
    }
}

/// See [`Caller::again`].
pub(crate) struct AsCaller {
    before: Caller,
}

impl Drop for AsCaller {
    fn drop(&mut self) {
        // SAFETY: what `again` found.
        unsafe { pg_sys::SetUserIdAndSecContext(self.before.role, self.before.context) }
    }
}
