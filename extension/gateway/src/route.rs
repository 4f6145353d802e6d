//! All that a call needs to know of its model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_sandbox::egress::TokenHosts;
use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::keys::KeyRing;
use pg_llm_sandbox::{Digest, Grant, Limits, Provider};

use crate::admission::{Admission, Limits as AdmissionLimits};
use crate::budget::Budget;
use crate::fallback::Fallback;
use crate::filters::FilterChain;
use crate::ledger::{Ledger, Origin};
use crate::spec::ModelSpec;

/// A model, resolved: owned and free of Postgres, so that any thread may follow it.
#[derive(Clone)]
pub struct Route {
    /// The model's name in SQL.
    pub instance: String,
    /// Its configuration.
    pub spec: Arc<ModelSpec>,
    /// Its provider's code.
    pub provider: Provider,
    /// The type that its configuration names: a provider, or one of its profiles.
    pub model_type: Arc<str>,
    /// SHA-256 of the component that it was compiled from.
    pub component: Digest,
    /// Its keys.
    pub keys: Arc<KeyRing>,
    /// The administrator allows addresses that are not public.
    pub private_ok: bool,
    /// Where its access tokens may be fetched.
    pub token_hosts: Arc<TokenHosts>,
    /// The server's limits; the model's are applied over them.
    pub limits: Limits,
    /// Time for a call where neither options nor model say one.
    pub timeout: Duration,
    /// Most that they may say.
    pub timeout_ceiling: Duration,
    /// Where the model's callers meet.
    pub admission: Arc<dyn Admission>,
    /// Requests in flight of all models together; 0: as many as come.
    pub server_concurrency: u32,
    /// What its requests are held against.
    pub budgets: Arc<[Budget]>,
    /// The models that may answer instead, in their order. They carry none themselves.
    pub fallbacks: Vec<Fallback>,
    /// Below it an answer's confidence is too low, where neither options nor model say; 0..=1.
    pub confidence_threshold: f64,
    /// What its prompts and answers go through.
    pub filters: Arc<FilterChain>,
    /// Where its requests are told of.
    pub ledger: Arc<dyn Ledger>,
    /// Who asks. Each call made of the route has a request id of its own.
    pub origin: Origin,
}

impl Route {
    /// How much the model may be asked.
    pub fn admission_limits(&self) -> AdmissionLimits {
        AdmissionLimits { server: self.server_concurrency, ..self.spec.admission_limits() }
    }

    pub(crate) fn grant(&self, deadline: Instant, interrupt: &Arc<dyn Interrupt>) -> Grant {
        Grant {
            endpoint: self.spec.endpoint.clone(),
            private_ok: self.private_ok,
            token_hosts: Arc::clone(&self.token_hosts),
            keys: Arc::clone(&self.keys),
            limits: self.provider.limited(self.limits()),
            deadline,
            interrupt: Arc::clone(interrupt),
        }
    }

    /// What a filter of its calls is granted: the same limits, and nothing to reach.
    pub(crate) fn filter_grant(&self, deadline: Instant, interrupt: &Arc<dyn Interrupt>) -> Grant {
        Grant::without_network(self.limits(), deadline, Arc::clone(interrupt))
    }

    fn limits(&self) -> Limits {
        let own = self.spec.limits;
        let mut limits = self.limits.clone();
        if let Some(mb) = own.memory_mb {
            limits.memory_bytes = limits.memory_bytes.min((mb as usize) << 20);
        }
        if let Some(ms) = own.cpu_ms {
            limits.cpu = limits.cpu.min(Duration::from_millis(u64::from(ms)));
        }
        if let Some(bytes) = own.response_bytes {
            limits.response_bytes = limits.response_bytes.min(bytes);
        }
        limits
    }
}
