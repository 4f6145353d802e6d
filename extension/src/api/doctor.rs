//! `pg_llm_doctor`: what is set up wrong here, and how to mend it. Looks, and calls nobody.

use std::collections::{HashMap, HashSet};

use pg_llm_gateway::admission::Phase;
use pgrx::pg_sys::Oid;

use crate::backend::calls::{Args, Returned};
use crate::backend::errors::{Failure, SqlError};
use crate::backend::master_key::MasterKey;
use crate::backend::rows::{Rows, ready, sql_set_functions};
use crate::backend::{admissions, egress, gucs, interrupts, privileges, runtime, shared_memory};
use crate::catalog::{models, route, vector_type};

sql_set_functions! {
    pg_llm_doctor_wrapper, pg_finfo_pg_llm_doctor_wrapper => doctor;
}

/// Models that are looked at.
const MOST_MODELS: usize = 10_000;

/// What was found, row by row.
#[derive(Default)]
struct Findings {
    rows: Vec<Vec<Returned>>,
    /// Paths and lists are for who may see the settings.
    superuser: bool,
}

impl Findings {
    fn add(&mut self, check: &str, status: &str, detail: impl Into<String>, hint: Option<&str>) {
        let hint = hint.map_or(Returned::Null, |hint| Returned::Text(hint.to_owned()));
        self.rows.push(vec![Returned::Text(check.to_owned()), Returned::Text(status.to_owned()), Returned::Text(detail.into()), hint]);
    }

    fn ok(&mut self, check: &str, detail: impl Into<String>) {
        self.add(check, "ok", detail, None);
    }

    fn warning(&mut self, check: &str, detail: impl Into<String>, hint: &str) {
        self.add(check, "warning", detail, Some(hint));
    }

    /// An error of the set-up, whose words are the superuser's.
    fn error(&mut self, check: &str, error: &SqlError, in_short: &str) {
        if self.superuser {
            self.add(check, "error", words(error), error.hint.as_deref());
        } else {
            self.add(check, "error", in_short, Some("A superuser sees more here."));
        }
    }
}

fn words(error: &SqlError) -> String {
    let message = error.message.strip_prefix("pg_llm: ").unwrap_or(&error.message);
    error.detail.as_ref().map_or_else(|| message.to_owned(), |detail| format!("{message}: {detail}"))
}

fn doctor(_: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let role = privileges::current_role();
    let mut findings = Findings { superuser: privileges::is_superuser(role), ..Findings::default() };
    server(&mut findings)?;
    ledger(&mut findings);
    network(&mut findings);
    models(&mut findings, role)?;
    embeddings(&mut findings)?;
    Ok(ready(findings.rows))
}

/// Whether a ledger is kept, and whole.
fn ledger(findings: &mut Findings) {
    match crate::backend::ledger::counts() {
        None => findings.warning(
            "ledger",
            "The library is not preloaded: requests are not written into a ledger, and what they cost is not known.",
            "Add pg_llm to shared_preload_libraries and restart the server.",
        ),
        Some(counts) if counts.dropped > 0 => findings.warning(
            "ledger",
            format!(
                "{} entries of the ledger are lost since the server has started: there was no room for them, or they could not be written.",
                counts.dropped
            ),
            "Raise pg_llm.ledger_queue_mb, and max_worker_processes where the server's log says so.",
        ),
        Some(counts) => {
            findings.ok("ledger", format!("{} entries were written since the server has started, and none was lost.", counts.written));
        }
    }
}

/// What is the server's.
fn server(findings: &mut Findings) -> Result<(), Failure> {
    if shared_memory::is_there() {
        findings.ok("preload", "The library is preloaded: limits of models count over all sessions.");
    } else {
        findings.warning(
            "preload",
            "The library is not preloaded: max_concurrency, rate_limit, Retry-After and the circuit breaker count in each session by itself.",
            "Add pg_llm to shared_preload_libraries, and restart the server.",
        );
    }
    match MasterKey::current() {
        Ok(Some(_)) => findings.ok("master_key", "The master key can be read."),
        Ok(None) => findings.ok("master_key", "There is no master key yet. It is made with the first API key that is stored."),
        Err(Failure::Sql(error)) => findings.error("master_key", &error, "The master key cannot be used."),
        Err(raised @ Failure::Postgres(_)) => return Err(raised),
    }
    match runtime::code_cache_works() {
        Ok(()) => findings.ok("code_cache", "Compiled modules can be kept."),
        Err(error) => findings.error("code_cache", &error, "Compiled modules cannot be kept, and are compiled again in each session."),
    }
    Ok(())
}

/// Where calls may go.
fn network(findings: &mut Findings) {
    let ca_file = gucs::ca_file();
    match pg_llm_sandbox::check_trust_anchors(ca_file.as_deref()) {
        Ok(()) if ca_file.is_some() => findings.ok("certificates", "The certificates of pg_llm.ca_file are trusted."),
        Ok(()) => findings.ok("certificates", "The system's certificates are trusted."),
        Err(what) => {
            let error =
                SqlError::new(crate::backend::errors::State::SetUp, what).hint("Set pg_llm.ca_file, or install the system's certificates.");
            findings.error("certificates", &error, "There are no certificates to trust: no https endpoint can be called.");
        }
    }
    match egress::allow_list() {
        Ok(None) => findings.ok("allowed_hosts", "Models may talk to the built-in providers' hosts, and where a superuser has added them."),
        Ok(Some(_)) => findings.ok("allowed_hosts", "Models may talk to the hosts of pg_llm.allowed_hosts."),
        Err(error) => {
            findings.error("allowed_hosts", &error, "The setting pg_llm.allowed_hosts cannot be understood: no model can be called.");
        }
    }
    if !gucs::allow_private_networks() {
        findings.ok("private_networks", "Only hosts that are allowed by name may have private addresses.");
    } else if gucs::allowed_hosts().is_some_and(|list| list.contains('*')) {
        findings.warning(
            "private_networks",
            "pg_llm.allow_private_networks is on and pg_llm.allowed_hosts has a wildcard: names that others choose may lead into the internal network.",
            "Name the hosts in pg_llm.allowed_hosts, and turn pg_llm.allow_private_networks off.",
        );
    } else {
        findings.ok("private_networks", "pg_llm.allow_private_networks is on: built-in providers' hosts may have private addresses.");
    }
}

/// The models that the role may use: all that a call does before anything is sent.
fn models(findings: &mut Findings, role: Oid) -> Result<(), Failure> {
    let names = models::usable_names(role, MOST_MODELS)?;
    let mut fallbacks = HashMap::new();
    let mut ill = 0;
    for name in &names {
        interrupts::check();
        if let Some(fallback) = models::fallback_of(name)? {
            fallbacks.insert(name.clone(), fallback);
        }
        match route::resolve(name, role) {
            Ok(route) => {
                let (shown, ..) = admissions::show(name, &route.admission_limits());
                if let Some(shown) = shown.filter(|shown| shown.phase != Phase::Closed) {
                    ill += 1;
                    let detail = format!("Model \"{name}\" fails: {} requests in a row; its circuit breaker is open.", shown.failures);
                    findings.warning("model", detail, "See the errors of its calls, its api_endpoint and the network.");
                }
            }
            Err(Failure::Sql(error)) => {
                ill += 1;
                let detail = format!("Model \"{name}\" cannot be called: {}", words(&error));
                findings.add("model", "error", detail, error.hint.as_deref());
            }
            Err(other) => return Err(other),
        }
    }
    let known: HashSet<&String> = names.iter().collect();
    for (name, fallback) in &fallbacks {
        if !known.contains(fallback) {
            ill += 1;
            let detail = format!("The fallback_instance \"{fallback}\" of model \"{name}\" does not exist, or is not yours to use.");
            findings.add("fallback", "error", detail, Some("Add the model, be granted it, or change fallback_instance."));
        } else if leads_back(name, &fallbacks) {
            ill += 1;
            let detail = format!("The fallback chain of model \"{name}\" leads back to itself.");
            findings.warning("fallback", detail, "A chain ends at a model without fallback_instance.");
        }
    }
    if ill == 0 {
        findings.ok("models", format!("{} models that you may use are set up.", names.len()));
    }
    Ok(())
}

fn leads_back(name: &String, fallbacks: &HashMap<String, String>) -> bool {
    let mut at = fallbacks.get(name);
    for _ in 0..fallbacks.len() {
        match at {
            Some(next) if next == name => return true,
            Some(next) => at = fallbacks.get(next),
            None => return false,
        }
    }
    false
}

fn embeddings(findings: &mut Findings) -> Result<(), Failure> {
    match vector_type::installed_and_used()? {
        (true, true) => findings.ok("pgvector", "Embeddings are of pgvector's type."),
        (true, false) => findings.warning(
            "pgvector",
            "pgvector is installed, and embeddings are arrays of real: they were declared before it came.",
            "SELECT pg_llm_use_vector_type();",
        ),
        (false, _) => findings.ok("pgvector", "pgvector is not installed in this database; embeddings are arrays of real."),
    }
    Ok(())
}
