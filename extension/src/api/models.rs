//! Models: adding, removing, sharing, their keys.

use pg_llm_gateway::{GivenKey, KeyReference, ModelSpec, ParsedConfig, wipe_keys};
use pg_llm_sandbox::keys::{DEFAULT_KEY, Secret};
use pg_llm_sandbox::report::{KeySpec, Report};
use pgrx::PgLogLevel;
use pgrx::pg_sys::Oid;
use serde_json::{Map, Value};

use super::{check_name, providers, required};
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{self, Failure, SqlError, State};
use crate::backend::{egress, privileges};
use crate::catalog::models::Former;
use crate::catalog::{builtin, filters, grants, keys, models, modules, response_cache, route};

sql_functions! {
    pg_llm_add_model_wrapper, pg_finfo_pg_llm_add_model_wrapper => add_model;
    pg_llm_add_local_model_wrapper, pg_finfo_pg_llm_add_local_model_wrapper => add_local_model;
    pg_llm_remove_model_wrapper, pg_finfo_pg_llm_remove_model_wrapper => remove_model;
    pg_llm_grant_model_wrapper, pg_finfo_pg_llm_grant_model_wrapper => grant_model;
    pg_llm_revoke_model_wrapper, pg_finfo_pg_llm_revoke_model_wrapper => revoke_model;
    pg_llm_set_key_wrapper, pg_finfo_pg_llm_set_key_wrapper => set_key;
    pg_llm_set_key_reference_wrapper, pg_finfo_pg_llm_set_key_reference_wrapper => set_key_reference;
}

/// How often adding a model gives way to sessions that add and remove one of its name.
const MOST_ROUNDS: u32 = 100;

/// A model as it is to be.
struct Wanted {
    model_type: String,
    instance: String,
    api_key: Option<String>,
    config: Value,
    local: bool,
}

/// `(model_type, instance_name, api_key, config jsonb, module, sha256)`.
fn add_model(args: &Args<'_>) -> Result<Returned, Failure> {
    let wanted = Wanted {
        model_type: required(args.text(0)?, "model_type")?,
        instance: required(args.text(1)?, "instance_name")?,
        api_key: args.text(2)?,
        config: args.json(3)?.unwrap_or_else(|| Value::Object(Map::new())),
        local: false,
    };
    check_name(&wanted.instance, "instance_name")?;
    let sha256 = args.text(5)?;
    if let Some(module) = args.bytes(4) {
        modules::check_may_upload(privileges::current_role())?;
        providers::upload(&wanted.model_type, &module, sha256.as_deref())?;
    } else if sha256.is_some() {
        return Err(SqlError::new(State::InvalidArgument, "pg_llm: sha256 is given without a module").into());
    }
    add(wanted)
}

/// `(local_model, model_type, instance_name, api_key, config text)`, the older form.
fn add_local_model(args: &Args<'_>) -> Result<Returned, Failure> {
    let config = match args.text(4)?.as_deref().map(str::trim) {
        None | Some("") => Value::Object(Map::new()),
        Some(text) => serde_json::from_str(text).map_err(|e| {
            SqlError::new(State::InvalidArgument, format!("pg_llm: config is not JSON: {e}"))
                .hint("{\"model_name\": \"...\", \"api_endpoint\": \"...\"}")
        })?,
    };
    let wanted = Wanted {
        local: args.boolean(0).unwrap_or(false),
        model_type: required(args.text(1)?, "model_type")?,
        instance: required(args.text(2)?, "instance_name")?,
        api_key: args.text(3)?,
        config,
    };
    check_name(&wanted.instance, "instance_name")?;
    add(wanted)
}

fn add(mut wanted: Wanted) -> Result<Returned, Failure> {
    let role = privileges::current_role();
    let superuser = privileges::is_superuser(role);
    let ParsedProvider { report, profile, uploaded } = provider(&wanted.model_type)?;
    let description = &report.description;
    let profile = route::profile_of(description, &profile)?;
    let parsed = ModelSpec::parse(&wanted.instance, description, profile, &wanted.config).map_err(SqlError::from);
    wipe_keys(&mut wanted.config);
    let ParsedConfig { spec, mut stored, keys: mut given } = parsed?;
    // Older callers write '' for none.
    if let Some(key) = wanted.api_key.take().filter(|k| !k.is_empty()) {
        if given.iter().any(|(name, _)| name == DEFAULT_KEY) {
            return Err(SqlError::new(State::InvalidArgument, "pg_llm: the API key is given twice")
                .hint("Give it as api_key, and leave it out of config.")
                .into());
        }
        if KeyReference::is_meant_by(&key) {
            return Err(meant_as_reference("In pg_llm_add_model it stands in config: {\"api_key\": {\"env\": \"NAME\"}}").into());
        }
        given.push((DEFAULT_KEY.to_owned(), GivenKey::Secret(Secret::new(key.into_bytes()))));
    }
    if given.iter().any(|(_, given)| matches!(given, GivenKey::Reference(_))) {
        check_reference(superuser)?;
    }
    for (name, _) in &given {
        check_name(name, "a key's name")?;
    }
    for name in &spec.filters {
        filters::hold(name)?;
    }

    // Whoever replaces an uploaded module must not be able to lead the models that use it, and their keys, to another place by its default endpoint.
    if let (true, Some(endpoint), Value::Object(members)) = (uploaded, &spec.endpoint, &mut stored) {
        members.insert("api_endpoint".to_owned(), Value::String(endpoint.to_string()));
    }
    let config = stored.to_string();
    // Nobody chose what an uploaded module says of itself, a superuser who adds a model of it as little as any other.
    let chosen = !uploaded || wanted.config.get("api_endpoint").is_some_and(|endpoint| !endpoint.is_null());
    let former = insert_or_lock(&wanted, role, &config, superuser && chosen)?;
    let same_place = former.as_ref().is_some_and(|f| {
        f.model_type == wanted.model_type
            && spec_of(&wanted.instance, f).is_some_and(|was| (&was.endpoint, &was.token_urls) == (&spec.endpoint, &spec.token_urls))
    });
    let trusted = (superuser && chosen) || (same_place && former.as_ref().is_some_and(|f| f.endpoint_trusted));
    if let Some(endpoint) = &spec.endpoint {
        egress::private_ok(&wanted.instance, endpoint, trusted).map_err(|error| match (superuser, chosen) {
            (true, false) => {
                error.hint("The module names this endpoint, not you: say it as api_endpoint in config if that is where the model is.")
            }
            _ => error,
        })?;
    }
    egress::check_token_urls(&wanted.instance, &spec.token_urls, trusted)?;
    if former.is_some() {
        models::update(&wanted.instance, &wanted.model_type, &config, trusted, wanted.local)?;
        response_cache::forget(&wanted.instance)?;
        if !same_place {
            forget_keys(&wanted.instance, &given)?;
        }
    }
    for (name, given) in &given {
        keys::store(&wanted.instance, name, given)?;
    }
    if former.is_none() {
        remind_of_keys(&wanted.instance, &profile.keys, &given);
    }
    Ok(Returned::Bool(true))
}

/// Inserts a model, or locks the one of its name. Between the two, another session may remove that one: then this is a new one after all.
fn insert_or_lock(wanted: &Wanted, role: Oid, config: &str, trusted: bool) -> Result<Option<Former>, SqlError> {
    for _ in 0..MOST_ROUNDS {
        if models::insert(&wanted.instance, role, &wanted.model_type, config, trusted, wanted.local)? {
            return Ok(None);
        }
        if let Some(former) = models::owned(&wanted.instance, role)? {
            return Ok(Some(former));
        }
    }
    Err(SqlError::new(State::Duplicate, format!("pg_llm: model \"{}\" is being added and removed by other sessions", wanted.instance)))
}

struct ParsedProvider {
    report: Report,
    profile: String,
    uploaded: bool,
}

fn provider(model_type: &str) -> Result<ParsedProvider, SqlError> {
    if let Some((component, profile)) = builtin::find(model_type)? {
        return Ok(ParsedProvider { report: component.report.clone(), profile: profile.name.clone(), uploaded: false });
    }
    match modules::provider(model_type)? {
        Some(uploaded) => Ok(ParsedProvider { report: modules::report(&uploaded.digest)?, profile: uploaded.profile, uploaded: true }),
        None => Err(route::unknown_type(model_type)?),
    }
}

/// A model before it was changed. None when that cannot be told any more.
fn spec_of(instance: &str, former: &Former) -> Option<ModelSpec> {
    let ParsedProvider { report, profile, .. } = provider(&former.model_type).ok()?;
    let config = serde_json::from_str(&former.config).ok()?;
    let profile = report.description.profile(&profile)?;
    Some(ModelSpec::parse(instance, &report.description, profile, &config).ok()?.spec)
}

/// A key is bound to the place that it was given for: it does not follow a model to another one.
fn forget_keys(instance: &str, given: &[(String, GivenKey)]) -> Result<(), SqlError> {
    let mut lost = keys::remove_all(instance)?;
    lost.retain(|name| !given.iter().any(|(given, _)| given == name));
    if !lost.is_empty() {
        errors::emit(
            PgLogLevel::NOTICE,
            &format!(
                "pg_llm: model \"{instance}\" has another endpoint, token URL or provider now; keys that were not given again are removed: {}",
                lost.join(", ")
            ),
        );
    }
    Ok(())
}

fn remind_of_keys(instance: &str, specs: &[KeySpec], given: &[(String, GivenKey)]) {
    for spec in specs.iter().filter(|s| s.required && !given.iter().any(|(name, _)| *name == s.name)) {
        errors::emit(
            PgLogLevel::NOTICE,
            &format!("pg_llm: model \"{instance}\" needs key \"{}\", to be set with pg_llm_set_key()", spec.name),
        );
    }
}

fn remove_model(args: &Args<'_>) -> Result<Returned, Failure> {
    let instance = required(args.text(0)?, "instance_name")?;
    if models::owned(&instance, privileges::current_role())?.is_none() {
        return Ok(Returned::Bool(false));
    }
    models::delete(&instance)?;
    response_cache::forget(&instance)?;
    Ok(Returned::Bool(true))
}

fn grant_model(args: &Args<'_>) -> Result<Returned, Failure> {
    let (instance, role) = instance_and_role(args)?;
    Ok(Returned::Bool(grants::grant(&instance, role)?))
}

fn revoke_model(args: &Args<'_>) -> Result<Returned, Failure> {
    let (instance, role) = instance_and_role(args)?;
    Ok(Returned::Bool(grants::revoke(&instance, role)?))
}

fn instance_and_role(args: &Args<'_>) -> Result<(String, Oid), SqlError> {
    let instance = required(args.text(0)?, "instance_name")?;
    let role = privileges::role_by_name(&required(args.text(1)?, "role")?)?;
    owned(&instance)?;
    Ok((instance, role))
}

/// `(instance_name, key_name, value)`.
fn set_key(args: &Args<'_>) -> Result<Returned, Failure> {
    let (instance, name) = instance_and_key(args)?;
    let value = args.text(2)?;
    owned(&instance)?;
    match value {
        Some(value) if value.is_empty() => {
            Err(SqlError::new(State::InvalidArgument, "pg_llm: an empty key is none").hint("NULL as value removes the key.").into())
        }
        Some(value) if KeyReference::is_meant_by(&value) => {
            Err(meant_as_reference("A reference is jsonb: pg_llm_set_key(..., '{\"env\": \"NAME\"}'::jsonb)").into())
        }
        Some(value) => {
            keys::store(&instance, &name, &GivenKey::Secret(Secret::new(value.into_bytes())))?;
            Ok(Returned::Bool(true))
        }
        None => Ok(Returned::Bool(keys::remove(&instance, &name)?)),
    }
}

/// `(instance_name, key_name, reference)`.
fn set_key_reference(args: &Args<'_>) -> Result<Returned, Failure> {
    let (instance, name) = instance_and_key(args)?;
    let reference = args.json(2)?;
    let model = owned(&instance)?;
    let Some(value) = reference else { return Ok(Returned::Bool(keys::remove(&instance, &name)?)) };
    check_reference(privileges::is_superuser(privileges::current_role()))?;
    let reference = KeyReference::parse(&value).map_err(SqlError::from)?;
    if !model.endpoint_trusted {
        return Err(keys::untrusted(&instance).into());
    }
    keys::store(&instance, &name, &GivenKey::Reference(reference))?;
    Ok(Returned::Bool(true))
}

fn instance_and_key(args: &Args<'_>) -> Result<(String, String), SqlError> {
    let instance = required(args.text(0)?, "instance_name")?;
    let name = required(args.text(1)?, "key_name")?;
    check_name(&name, "key_name")?;
    Ok((instance, name))
}

/// What the server's files and environment hold is the superuser's alone to use.
fn check_reference(superuser: bool) -> Result<(), SqlError> {
    if superuser {
        return Ok(());
    }
    Err(SqlError::new(State::Forbidden, "pg_llm: permission denied to give a key by reference")
        .hint("Only a superuser can say which of the server's files or environment variables a key is in."))
}

fn meant_as_reference(hint: &str) -> SqlError {
    SqlError::new(State::InvalidArgument, "pg_llm: this text is a reference, and not a key").hint(hint)
}

/// The model, which the caller owns.
fn owned(instance: &str) -> Result<Former, SqlError> {
    models::owned(instance, privileges::current_role())?.ok_or_else(|| models::unknown(instance))
}
