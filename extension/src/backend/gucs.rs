//! All settings of the extension.
//!
//! Why each has the context that it has:
//! - What decides where a backend may connect (`allowed_hosts`, `allow_private_networks`, `ca_file`) is the administrator's, or every role that may
//!   add a model could reach the internal network. `SUSET` and not `SIGHUP`, so that it can differ by database (`ALTER DATABASE ... SET`) and be
//!   delegated (`GRANT SET ON PARAMETER`).
//! - What protects the server from a guest, an upstream, an upload or a generated query (sizes, CPU, memory, disk) is `SUSET`: a role that could raise its own limits has none.
//! - Where master keys are (`master_key_file`, `master_key_command`, `former_master_key_files`) is the server's, `SIGHUP`: what one session encrypts, all must be
//!   able to open, and a command is the administrator's of the machine. `master_key` itself is `SUSET`, as it always was.
//! - What only shapes the caller's own statement (`default_model`, `text2sql_embedding_model`, `timeout_ms`, `cache_ttl`, `on_error`, `default_local_fallback`, `default_confidence_threshold`) is
//!   `USERSET`; `timeout_ms` stays below `max_timeout_ms`.
//!
//! Nothing is validated by a hook: Postgres answers a hook's refusal at start-up with the default value, which may permit more than the
//! administrator wrote. A value that cannot be understood fails the call that needs it.

use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use pg_llm_sandbox::Limits;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::{PostgresGucEnum, pg_sys};
use zeroize::Zeroizing;

mod jobs;
mod reports;
mod text2sql;

pub(crate) use jobs::{job_attempts, job_concurrency, job_retention};
pub(crate) use reports::report_retention_s;
pub(crate) use text2sql::{text2sql_allowed_functions, text2sql_bounds, text2sql_embedding_model, text2sql_remembered_requests};

/// What a failed call gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub(crate) enum OnError {
    /// An ERROR.
    #[name = c"error"]
    Error,
    /// NULL.
    #[name = c"null"]
    Null,
    /// An object with a member `error`, from functions that return JSON; an ERROR from the others.
    #[name = c"object"]
    Object,
}

impl From<OnError> for pg_llm_gateway::OnError {
    fn from(setting: OnError) -> Self {
        match setting {
            OnError::Error => Self::Error,
            OnError::Null => Self::Null,
            OnError::Object => Self::Object,
        }
    }
}

static ALLOWED_HOSTS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static ALLOW_PRIVATE_NETWORKS: GucSetting<bool> = GucSetting::<bool>::new(false);
static CA_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static MASTER_KEY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static MASTER_KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static MASTER_KEY_COMMAND: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static FORMER_MASTER_KEY_FILES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

static GUEST_MEMORY_MB: GucSetting<i32> = GucSetting::<i32>::new(64);
static GUEST_CPU_MS: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static GUEST_LOG_BYTES: GucSetting<i32> = GucSetting::<i32>::new(16 << 10);
static MAX_REQUEST_BYTES: GucSetting<i32> = GucSetting::<i32>::new(64 << 20);
static MAX_RESPONSE_BYTES: GucSetting<i32> = GucSetting::<i32>::new(32 << 20);
static MAX_HTTP_REQUESTS: GucSetting<i32> = GucSetting::<i32>::new(16);
static MAX_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(0);
static TOKEN_BUDGET: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(600_000);
static MAX_MODULE_BYTES: GucSetting<i32> = GucSetting::<i32>::new(32 << 20);
static COMPILE_MEMORY_MB: GucSetting<i32> = GucSetting::<i32>::new(2048);
static COMPILE_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(300_000);

static DEFAULT_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(60_000);
static CACHE_TTL: GucSetting<i32> = GucSetting::<i32>::new(60 * 60);
static CACHE_MAX_MB: GucSetting<i32> = GucSetting::<i32>::new(64);
static DEFAULT_LOCAL_FALLBACK: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static DEFAULT_CONFIDENCE_THRESHOLD: GucSetting<f64> = GucSetting::<f64>::new(0.0);
static ON_ERROR: GucSetting<OnError> = GucSetting::<OnError>::new(OnError::Error);

/// Defines every setting and reserves the prefix. Called from `_PG_init`, in the postmaster too: it does nothing but register.
pub(crate) fn define() {
    let secret = GucFlags::SUPERUSER_ONLY | GucFlags::NO_SHOW_ALL | GucFlags::NOT_WHILE_SEC_REST;
    let admin_only = GucFlags::SUPERUSER_ONLY | GucFlags::NOT_WHILE_SEC_REST;

    GucRegistry::define_string_guc(
        c"pg_llm.allowed_hosts",
        c"Hosts that models may talk to.",
        c"Entries [SCHEME://]HOST[:PORT], separated by commas; *.example.com is every name below example.com, * every public host. A host that is \
          named literally may be in a private network. Checked when a model is added and again at every call. Default: empty, which stands for the \
          hosts of the built-in providers and the endpoints of models that a superuser added; anything else replaces that.",
        &ALLOWED_HOSTS,
        GucContext::Suset,
        GucFlags::NOT_WHILE_SEC_REST,
    );
    GucRegistry::define_bool_guc(
        c"pg_llm.allow_private_networks",
        c"Lets allowed hosts resolve to loopback, private and link-local addresses.",
        c"Affects hosts that are allowed by a wildcard or as a built-in provider; those named literally may be anywhere. Default: off, so that a \
          name in public DNS cannot lead into the internal network.",
        &ALLOW_PRIVATE_NETWORKS,
        GucContext::Suset,
        GucFlags::NOT_WHILE_SEC_REST,
    );
    GucRegistry::define_string_guc(
        c"pg_llm.ca_file",
        c"PEM file of the certificate authorities to trust, in place of the system's.",
        c"Affects TLS to every endpoint. Default: empty, the system's trust store.",
        &CA_FILE,
        GucContext::Suset,
        admin_only,
    );
    define_master_key(secret);
    define_master_key_places(admin_only);

    define_limits();
    super::ledger_settings::define();

    GucRegistry::define_string_guc(
        c"pg_llm.default_model",
        c"Model that is used where a function is given NULL as instance_name.",
        c"The caller needs the right to use it. Default: empty, none.",
        &DEFAULT_MODEL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_llm.timeout_ms",
        c"Time that a call may take, retries included.",
        c"A model's or an option's timeout_ms goes before it. Never more than pg_llm.max_timeout_ms, which 0 stands for. statement_timeout counts as \
          well. Default: 1 minute.",
        &TIMEOUT_MS,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_enum_guc(
        c"pg_llm.on_error",
        c"What a call that fails at the provider, on the way there or in the adapter gives back.",
        c"error: an ERROR. null: NULL. object: {\"error\": ...} from functions that return JSON, an ERROR from those that return text. Wrong \
          arguments, missing rights and cancellation are ERRORs always. Default: error.",
        &ON_ERROR,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"pg_llm.default_local_fallback",
        c"The model that answers where the called one cannot.",
        c"An option's or a model's fallback_instance goes before it. It needs the caller's right to that model. Default: empty, none.",
        &DEFAULT_LOCAL_FALLBACK,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"pg_llm.default_confidence_threshold",
        c"Confidence below which an answer is asked of the fallback too.",
        c"Of whole answers whose confidence is known, from log probabilities, and that have a fallback. An option's or a model's confidence_threshold goes \
          before it. Default: 0, which no confidence is below.",
        &DEFAULT_CONFIDENCE_THRESHOLD,
        0.0,
        1.0,
        GucContext::Userset,
        GucFlags::default(),
    );

    define_cache();
    text2sql::define();
    jobs::define();
    reports::define();
    reserve_prefix();
    // SAFETY: reads a flag of the server.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        FOUND_WHEN_LOADED.get_or_init(master_key);
    }
}

fn define_master_key_places(flags: GucFlags) {
    let define = |name, short, long, setting| GucRegistry::define_string_guc(name, short, long, setting, GucContext::Sighup, flags);
    define(
        c"pg_llm.master_key_file",
        c"File with the secret that stored API keys are encrypted with.",
        c"At least 16 bytes, owned by the server's user with mode 0600, or by root with 0640. Ignored when pg_llm.master_key or \
          pg_llm.master_key_command is set. Default: empty, which stands for pg_llm/master.key in the data directory, created on first use.",
        &MASTER_KEY_FILE,
    );
    define(
        c"pg_llm.master_key_command",
        c"Program that prints the secret that stored API keys are encrypted with.",
        c"An absolute path and its arguments, parted by blanks; no shell, no environment, at most 10 seconds. A session runs it when it first needs the \
          key, and when a key is set. Ignored when pg_llm.master_key is set. Default: empty, a file is used.",
        &MASTER_KEY_COMMAND,
    );
    define(
        c"pg_llm.former_master_key_files",
        c"Files with master keys that are not used any more, and that stored API keys may still need.",
        c"Absolute paths, separated by commas. They decrypt, and encrypt nothing. Former keys in the data directory are found without. Default: empty.",
        &FORMER_MASTER_KEY_FILES,
    );
}

/// The value of `pg_llm.master_key` that was there before the library was, in a server that does not preload it. Until then it was a placeholder, which Postgres
/// shows to every role.
static FOUND_WHEN_LOADED: OnceLock<Option<Zeroizing<Vec<u8>>>> = OnceLock::new();

/// Whether every role can read this value of `pg_llm.master_key`.
pub(crate) fn is_readable_by_all(master_key: &[u8]) -> bool {
    FOUND_WHEN_LOADED.get().and_then(Option::as_ref).is_some_and(|found| ***found == *master_key)
}

fn define_limits() {
    let define = |name, short, long, setting, min, max, unit| {
        GucRegistry::define_int_guc(name, short, long, setting, min, max, GucContext::Suset, unit);
    };
    define(
        c"pg_llm.guest_memory_mb",
        c"Memory of an adapter during one call.",
        c"Summed over all its linear memories. What it needs beyond ends the call with SQLSTATE 38001. Default: 64 MB.",
        &GUEST_MEMORY_MB,
        1,
        4095,
        GucFlags::UNIT_MB,
    );
    define(
        c"pg_llm.guest_cpu_ms",
        c"Processor time of one call.",
        c"Of the calling thread; waiting for the upstream does not count. Beyond it the call ends with SQLSTATE 38001. Default: 10 s.",
        &GUEST_CPU_MS,
        1,
        i32::MAX,
        GucFlags::UNIT_MS,
    );
    define(
        c"pg_llm.guest_log_bytes",
        c"Log messages that an adapter may write in one call.",
        c"What is beyond is dropped. Default: 16 kB.",
        &GUEST_LOG_BYTES,
        0,
        1 << 20,
        GucFlags::UNIT_BYTE,
    );
    define(
        c"pg_llm.max_request_bytes",
        c"Bytes of all requests of one call.",
        c"Paths, headers and bodies together. Beyond it the call ends with SQLSTATE 54000. Default: 64 MB.",
        &MAX_REQUEST_BYTES,
        1024,
        i32::MAX,
        GucFlags::UNIT_BYTE,
    );
    define(
        c"pg_llm.max_response_bytes",
        c"Bytes of all responses of one call, after decompression.",
        c"Beyond it the call ends with SQLSTATE 54000. Default: 32 MB.",
        &MAX_RESPONSE_BYTES,
        1024,
        i32::MAX,
        GucFlags::UNIT_BYTE,
    );
    define(
        c"pg_llm.max_http_requests",
        c"HTTP requests that an adapter may make in one call.",
        c"Retries by the host are calls of their own. Beyond it the call ends with SQLSTATE 38001. Default: 16.",
        &MAX_HTTP_REQUESTS,
        1,
        10_000,
        GucFlags::default(),
    );
    define(
        c"pg_llm.max_concurrency",
        c"Requests in flight of the whole server, of all models together.",
        c"A request beyond it waits within its call's time, and then fails with SQLSTATE 53400. Counted over all sessions where pg_llm is in \
          shared_preload_libraries, else in each session. A lower value for some roles or databases leaves room for the others. Default: 0, no limit.",
        &MAX_CONCURRENCY,
        0,
        1_000_000,
        GucFlags::default(),
    );
    define(
        c"pg_llm.token_budget",
        c"Tokens that each role may use in a day, in UTC.",
        c"Of prompts and answers together, in this database, on all models. Beyond it a call fails with SQLSTATE 53400 before it is made. ALTER ROLE ... SET \
          gives a role one of its own; pg_llm_set_budget() knows money and other periods. Default: 0, no limit.",
        &TOKEN_BUDGET,
        0,
        i32::MAX,
        GucFlags::NOT_WHILE_SEC_REST,
    );
    define(
        c"pg_llm.max_timeout_ms",
        c"Upper bound of every timeout_ms.",
        c"Bounds how long a call can hold a connection and its snapshot. Default: 10 minutes.",
        &MAX_TIMEOUT_MS,
        1,
        i32::MAX,
        GucFlags::UNIT_MS,
    );
    define(
        c"pg_llm.max_module_bytes",
        c"Size of a WebAssembly component that may be uploaded.",
        c"Beyond it the upload fails with SQLSTATE 54000. Default: 32 MB.",
        &MAX_MODULE_BYTES,
        1024,
        512 << 20,
        GucFlags::UNIT_BYTE,
    );
    define(
        c"pg_llm.compile_memory_mb",
        c"Address space of the process that compiles an uploaded component.",
        c"Default: 2 GB; a component that holds a Python interpreter takes 0.6 GB.",
        &COMPILE_MEMORY_MB,
        128,
        1 << 20,
        GucFlags::UNIT_MB,
    );
    define(
        c"pg_llm.compile_timeout_ms",
        c"Time that compiling an uploaded component may take.",
        c"Affects uploads, and a call that finds the code cache empty. Default: 5 minutes; a Rust component takes less than a second, a Python interpreter half a minute.",
        &COMPILE_TIMEOUT_MS,
        100,
        i32::MAX,
        GucFlags::UNIT_MS,
    );
}

/// How old an answer may be is the caller's taste. How much of the disk all of them take is not.
fn define_cache() {
    GucRegistry::define_int_guc(
        c"pg_llm.cache_ttl",
        c"How old an answer out of the response cache may be.",
        c"Affects calls with the option cache that say no ttl_s: how old an answer they take, and how long theirs is kept. Ignored by all others. Default: \
          1 hour.",
        &CACHE_TTL,
        1,
        i32::try_from(pg_llm_gateway::MAX_TTL_S).unwrap_or(i32::MAX),
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_llm.cache_max_mb",
        c"Size of the response cache of this database.",
        c"Where it is passed, expired answers make room, then the oldest; an answer larger than an eighth of it is not kept. 0 turns the cache off: \
          calls with the option cache ask the model, and keep nothing. Default: 64 MB.",
        &CACHE_MAX_MB,
        0,
        1 << 20,
        GucContext::Suset,
        GucFlags::UNIT_MB,
    );
}

/// Shown as asterisks to everybody: `SHOW`, `current_setting`; `NO_SHOW_ALL` keeps it out of `pg_settings`.
fn define_master_key(flags: GucFlags) {
    unsafe extern "C-unwind" fn show() -> *const std::ffi::c_char {
        // SAFETY: the setting's storage is a NUL-terminated string or NULL; static strings outlive the caller.
        let set = unsafe { !(*MASTER_KEY.as_ptr()).is_null() && **MASTER_KEY.as_ptr() != 0 };
        if set { c"********".as_ptr() } else { c"".as_ptr() }
    }
    // SAFETY: the hook cannot panic and calls nothing of Postgres.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"pg_llm.master_key",
            c"Secret that stored API keys are encrypted with. Prefer pg_llm.master_key_file.",
            c"At least 16 bytes; every session must see the same. A file is better: configuration files are copied about, and SET can end up in a log. \
              Where it stands in a configuration file, pg_llm must be in shared_preload_libraries: a session that has not loaded the library shows it to \
              every role. Default: empty, a file is used.",
            &MASTER_KEY,
            GucContext::Suset,
            flags,
            None,
            None,
            Some(show),
        );
    }
}

fn reserve_prefix() {
    let prefix: &CStr = c"pg_llm";
    // SAFETY: a static string; called once, after all settings are defined.
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(prefix.as_ptr());
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(prefix.as_ptr());
    }
}

fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    let text = setting.get()?.to_string_lossy().trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn unsigned(setting: &GucSetting<i32>) -> usize {
    usize::try_from(setting.get()).unwrap_or(0)
}

fn milliseconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(unsigned(setting) as u64)
}

/// `pg_llm.allowed_hosts`; none stands for the default.
pub(crate) fn allowed_hosts() -> Option<String> {
    text(&ALLOWED_HOSTS)
}

/// `pg_llm.allow_private_networks`.
pub(crate) fn allow_private_networks() -> bool {
    ALLOW_PRIVATE_NETWORKS.get()
}

/// `pg_llm.ca_file`.
pub(crate) fn ca_file() -> Option<PathBuf> {
    text(&CA_FILE).map(PathBuf::from)
}

/// `pg_llm.master_key`.
pub(crate) fn master_key() -> Option<Zeroizing<Vec<u8>>> {
    let key = Zeroizing::new(MASTER_KEY.get()?.into_bytes());
    (!key.is_empty()).then_some(key)
}

/// `pg_llm.master_key_file`.
pub(crate) fn master_key_file() -> Option<PathBuf> {
    text(&MASTER_KEY_FILE).map(PathBuf::from)
}

/// `pg_llm.master_key_command`.
pub(crate) fn master_key_command() -> Option<String> {
    text(&MASTER_KEY_COMMAND)
}

/// `pg_llm.former_master_key_files`.
pub(crate) fn former_master_key_files() -> Vec<PathBuf> {
    let files = text(&FORMER_MASTER_KEY_FILES).unwrap_or_default();
    files.split(',').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// All settings that say where master keys are, as they were at one time.
pub(crate) struct MasterKeySettings([Option<Zeroizing<Vec<u8>>>; 4]);

impl MasterKeySettings {
    /// Those of now.
    pub(crate) fn now() -> Self {
        Self(Self::settings().map(|setting| raw(setting).map(|value| Zeroizing::new(value.to_bytes().to_vec()))))
    }

    /// Whether they are still so.
    pub(crate) fn are_current(&self) -> bool {
        self.0
            .iter()
            .zip(Self::settings())
            .all(|(then, setting)| then.as_ref().map(|value| value.as_slice()) == raw(setting).map(CStr::to_bytes))
    }

    fn settings() -> [&'static GucSetting<Option<CString>>; 4] {
        [&MASTER_KEY, &MASTER_KEY_FILE, &MASTER_KEY_COMMAND, &FORMER_MASTER_KEY_FILES]
    }
}

/// A setting's own text, without a copy.
fn raw(setting: &'static GucSetting<Option<CString>>) -> Option<&'static CStr> {
    // SAFETY: on the main thread; the setting's storage is NULL or a NUL-terminated string, which stays where it is until a statement changes the setting.
    unsafe {
        let text = *setting.as_ptr();
        (!text.is_null()).then(|| CStr::from_ptr(text))
    }
}

/// `pg_llm.default_model`.
pub(crate) fn default_model() -> Option<String> {
    text(&DEFAULT_MODEL)
}

/// `pg_llm.default_local_fallback`.
pub(crate) fn default_local_fallback() -> Option<String> {
    text(&DEFAULT_LOCAL_FALLBACK)
}

/// `pg_llm.default_confidence_threshold`.
pub(crate) fn default_confidence_threshold() -> f64 {
    DEFAULT_CONFIDENCE_THRESHOLD.get()
}

/// `pg_llm.on_error`.
pub(crate) fn on_error() -> OnError {
    ON_ERROR.get()
}

/// `pg_llm.cache_ttl`, in seconds.
pub(crate) fn cache_ttl_s() -> i64 {
    i64::from(CACHE_TTL.get())
}

/// `pg_llm.cache_max_mb`, in bytes; 0: there is no cache.
pub(crate) fn cache_max_bytes() -> i64 {
    i64::from(CACHE_MAX_MB.get()) << 20
}

/// `pg_llm.timeout_ms`, below its ceiling.
pub(crate) fn timeout() -> Duration {
    let timeout = milliseconds(&TIMEOUT_MS);
    if timeout.is_zero() { max_timeout() } else { timeout.min(max_timeout()) }
}

/// `pg_llm.max_concurrency`.
pub(crate) fn max_concurrency() -> u32 {
    u32::try_from(MAX_CONCURRENCY.get()).unwrap_or(0)
}

/// `pg_llm.token_budget`; 0: none.
pub(crate) fn token_budget() -> u64 {
    u64::try_from(TOKEN_BUDGET.get()).unwrap_or(0)
}

/// `pg_llm.max_timeout_ms`.
pub(crate) fn max_timeout() -> Duration {
    milliseconds(&MAX_TIMEOUT_MS)
}

/// `pg_llm.max_module_bytes`.
pub(crate) fn max_module_bytes() -> usize {
    unsigned(&MAX_MODULE_BYTES)
}

/// `pg_llm.compile_memory_mb`, in bytes.
pub(crate) fn compile_memory_bytes() -> u64 {
    (unsigned(&COMPILE_MEMORY_MB) as u64) << 20
}

/// `pg_llm.compile_timeout_ms`.
pub(crate) fn compile_timeout() -> Duration {
    milliseconds(&COMPILE_TIMEOUT_MS)
}

/// Settings by which a role shapes its own calls, and which go with what it has done for it later.
pub(crate) const CALLERS_OWN: [&str; 4] =
    ["pg_llm.timeout_ms", "pg_llm.cache_ttl", "pg_llm.default_local_fallback", "pg_llm.default_confidence_threshold"];

/// [`CALLERS_OWN`] as they are.
pub(crate) fn callers_own() -> Vec<(String, String)> {
    let value = |name: &str| {
        let asked = CString::new(name).ok()?;
        // SAFETY: a NUL-terminated name; the value is NULL or a string that stays until the next such call.
        let value = unsafe {
            let value = pg_sys::GetConfigOption(asked.as_ptr(), true, false);
            (!value.is_null()).then(|| CStr::from_ptr(value).to_bytes().to_vec())?
        };
        Some((name.to_owned(), super::encoding::from_server(&value).ok()?))
    };
    CALLERS_OWN.iter().filter_map(|name| value(name)).collect()
}

/// The limits of a call that begins now.
pub(crate) fn limits_now() -> Limits {
    Limits {
        memory_bytes: unsigned(&GUEST_MEMORY_MB) << 20,
        cpu: milliseconds(&GUEST_CPU_MS),
        request_bytes: unsigned(&MAX_REQUEST_BYTES) as u64,
        response_bytes: unsigned(&MAX_RESPONSE_BYTES) as u64,
        log_bytes: unsigned(&GUEST_LOG_BYTES),
        http_requests: u32::try_from(MAX_HTTP_REQUESTS.get()).unwrap_or(1),
        ..Limits::default()
    }
}
