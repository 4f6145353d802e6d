//! From a model's name to an owned route that the gateway can follow without Postgres.

use std::sync::{Arc, OnceLock};

use pg_llm_gateway::fallback::{Fallback, FallbackChoice, MOST_MODELS};
use pg_llm_gateway::filters::FilterChain;
use pg_llm_gateway::ledger::{Origin, Via};
use pg_llm_gateway::{ChatOptions, ModelSpec, Route};
use pg_llm_sandbox::keys::KeyRing;
use pg_llm_sandbox::report::{Description, Profile};
use pg_llm_sandbox::{Digest, Provider};
use pgrx::pg_sys::Oid;

use super::models::{StoredModel, UploadedModule};
use super::{budgets, builtin, keys, known_filters, known_models, modules};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::{admissions, egress, gucs, ledger, runtime};

/// Resolves the model `instance` for `role`.
pub(crate) fn resolve(instance: &str, role: Oid) -> Result<Route, Failure> {
    resolve_filtered(instance, role, &[])
}

/// The same for a call that goes through these filters besides the model's own.
fn resolve_filtered(instance: &str, role: Oid, of_call: &[String]) -> Result<Route, Failure> {
    let known = known_models::find(instance)?;
    let model = &known.model;
    model.check_use(instance, role)?;
    let spec = if let Some(spec) = known.spec.get() {
        Arc::clone(spec)
    } else {
        let spec = Arc::new(spec(instance, model)?);
        Arc::clone(known.spec.get_or_init(|| spec))
    };
    let private_ok = match &spec.endpoint {
        Some(endpoint) => egress::private_ok(instance, endpoint, model.endpoint_trusted)?,
        None => false,
    };
    let token_hosts = egress::token_hosts(spec.token_urls.clone(), model.endpoint_trusted)?;
    let mut ring = KeyRing::new();
    for key in &model.keys {
        ring.insert(key.name.as_str(), keys::open(instance, key, model.endpoint_trusted)?);
    }
    let (provider, component) = provider(model)?;
    Ok(Route {
        instance: instance.to_owned(),
        provider,
        model_type: model.model_type.as_str().into(),
        component,
        keys: Arc::new(ring),
        private_ok,
        token_hosts: Arc::new(token_hosts),
        limits: gucs::limits_now(),
        timeout: gucs::timeout(),
        timeout_ceiling: gucs::max_timeout(),
        admission: admissions::of(instance),
        server_concurrency: gucs::max_concurrency(),
        budgets: budgets::of(instance, &spec, role)?,
        fallbacks: Vec::new(),
        confidence_threshold: gucs::default_confidence_threshold(),
        filters: filters(of_call, &spec)?,
        ledger: ledger::of(role),
        origin: Origin::of(Via::Chat),
        spec,
    })
}

/// What a call goes through: the filters that it adds, and those of its model, which it cannot take away.
fn filters(of_call: &[String], model: &ModelSpec) -> Result<Arc<FilterChain>, Failure> {
    if of_call.is_empty() && model.filters.is_empty() {
        return Ok(no_filters());
    }
    let steps = of_call.iter().chain(&model.filters).map(|name| known_filters::step(name)).collect::<Result<_, _>>()?;
    Ok(Arc::new(FilterChain { steps, on_error: model.on_filter_error }))
}

fn no_filters() -> Arc<FilterChain> {
    static NONE: OnceLock<Arc<FilterChain>> = OnceLock::new();
    Arc::clone(NONE.get_or_init(Arc::default))
}

/// Resolves the model `instance` and those that a chat with these options falls back to, for `role`: what cannot be used is known with its reason, and fails
/// no call that does not need it.
pub(crate) fn resolve_chat(instance: &str, role: Oid, options: &ChatOptions) -> Result<Route, Failure> {
    let mut route = resolve_filtered(instance, role, &options.filters)?;
    let mut choice = options.fallback.clone().or_else(|| route.spec.defaults.fallback.clone());
    loop {
        let name = match choice {
            Some(FallbackChoice::Nobody) => None,
            Some(FallbackChoice::Model(name)) => Some(name),
            None => gucs::default_local_fallback(),
        };
        // A circle ends where it closes.
        let known = |name: &String| name == instance || route.fallbacks.iter().any(|fallback| fallback.instance == *name);
        let Some(name) = name.filter(|name| !known(name) && route.fallbacks.len() + 1 < MOST_MODELS) else { return Ok(route) };
        let resolved = match resolve_filtered(&name, role, &options.filters) {
            Ok(route) => Ok(route),
            Err(Failure::Sql(error)) => Err(error.message.strip_prefix("pg_llm: ").unwrap_or(&error.message).to_owned()),
            Err(raised @ Failure::Postgres(_)) => return Err(raised),
        };
        choice = resolved.as_ref().ok().and_then(|route| route.spec.defaults.fallback.clone());
        route.fallbacks.push(Fallback { instance: name, route: resolved });
    }
}

/// Its code, and the digest of the component that it was made from.
fn provider(model: &StoredModel) -> Result<(Provider, Digest), Failure> {
    match &model.uploaded {
        Some(module) if !module.enabled => {
            Err(modules::disabled(&module.digest, &format!("the module of provider \"{}\" is disabled", model.model_type)).into())
        }
        Some(UploadedModule { digest, terms, .. }) => {
            Ok((runtime::uploaded::<Provider>(digest, || modules::wasm(digest))?.on(terms), *digest))
        }
        None => match builtin::find(&model.model_type)? {
            Some((component, _)) => Ok((runtime::builtin(component)?, component.digest)),
            None => Err(unknown_type(&model.model_type)?.into()),
        },
    }
}

fn spec(instance: &str, model: &StoredModel) -> Result<ModelSpec, SqlError> {
    match &model.uploaded {
        Some(UploadedModule { digest, profile, .. }) => {
            let description = modules::report(digest)?.description;
            read(instance, &description, profile_of(&description, profile)?, &model.config)
        }
        None => match builtin::find(&model.model_type)? {
            Some((component, profile)) => read(instance, &component.report.description, profile, &model.config),
            None => Err(unknown_type(&model.model_type)?),
        },
    }
}

fn read(instance: &str, description: &Description, profile: &Profile, config: &str) -> Result<ModelSpec, SqlError> {
    let config = serde_json::from_str(config)
        .map_err(|e| SqlError::new(State::SetUp, format!("pg_llm: the configuration of model \"{instance}\" is damaged: {e}")))?;
    Ok(ModelSpec::parse(instance, description, profile, &config)?.spec)
}

/// The profile of an uploaded provider.
pub(crate) fn profile_of<'a>(description: &'a Description, profile: &str) -> Result<&'a Profile, SqlError> {
    description.profile(profile).ok_or_else(|| {
        SqlError::new(State::SetUp, format!("pg_llm: the uploaded module has no profile \"{profile}\" any more")).hint("Upload it again.")
    })
}

/// 42704, with the types that there are.
pub(crate) fn unknown_type(model_type: &str) -> Result<SqlError, SqlError> {
    let known: Vec<_> = builtin::all()?.iter().flat_map(|b| &b.report.description.profiles).map(|p| p.name.as_str()).collect();
    Ok(SqlError::new(State::Undefined, format!("pg_llm: model type \"{model_type}\" does not exist"))
        .hint(format!("Built in: {}. Uploaded ones: SELECT model_type FROM pg_llm_providers WHERE NOT builtin.", known.join(", "))))
}
