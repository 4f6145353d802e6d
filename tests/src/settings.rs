//! What a cluster is started with.

/// Lines of `postgresql.conf`, and the server's environment. A later line wins over an earlier one, and all of these win
/// over the harness's own (no fsync, trust, loopback).
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(crate) lines: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

impl Settings {
    /// Postgres and nothing of ours.
    pub fn bare() -> Self {
        Self::default()
    }

    /// The upstreams' certificate authority trusted. The rest is as an administrator finds it: models that a superuser adds
    /// reach their endpoint, on loopback too; others reach what a test puts into `pg_llm.allowed_hosts`.
    pub fn for_models() -> Self {
        Self::bare().line("pg_llm.ca_file = '{folder}/ca.pem'")
    }

    /// Adds a line. `{folder}` in it stands for the cluster's folder; `ca.pem` there is the authority of
    /// `pg_llm_upstream`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds lines.
    #[must_use]
    pub fn lines(self, lines: &[&str]) -> Self {
        lines.iter().fold(self, |settings, line| settings.line(line))
    }

    /// Sets a variable in the server's environment, which is empty but for `PATH`, `LC_ALL` and `TZ`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}
