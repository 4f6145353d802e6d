//! One database of a cluster.

use std::process::Command;

use postgres::{Client, Config, NoTls};

use crate::{Cluster, Installation, cluster::SUPERUSER};

/// A database. One that was made by the cluster is dropped some time after this value, once its sessions have ended.
#[derive(Debug)]
pub struct Database<'c> {
    cluster: &'c Cluster,
    name: String,
    owned: bool,
}

/// What a `psql` printed.
#[derive(Debug, Clone)]
pub struct Printed {
    /// Standard output.
    pub output: String,
    /// Standard error: errors, notices.
    pub errors: String,
    /// Whether it ended with 0.
    pub success: bool,
}

impl<'c> Database<'c> {
    pub(crate) fn owned(cluster: &'c Cluster, name: String) -> Self {
        Self { cluster, name, owned: true }
    }

    /// The same database on a standby.
    pub fn on<'s>(&self, standby: &'s Cluster) -> Database<'s> {
        Database { cluster: standby, name: self.name.clone(), owned: false }
    }

    /// Its name. It needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cluster.
    pub fn cluster(&self) -> &'c Cluster {
        self.cluster
    }

    /// A session of the superuser's.
    pub fn superuser(&self) -> Client {
        self.connect_as(SUPERUSER)
    }

    /// A session of this role's.
    pub fn connect_as(&self, role: &str) -> Client {
        self.cluster.connect(role, &self.name)
    }

    /// A session over TCP, where a vanished client looks as it does in the field.
    pub fn connect_tcp(&self, role: &str) -> Client {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.cluster.port()).user(role).dbname(&self.name);
        config.connect(NoTls).unwrap_or_else(|error| panic!("connecting by TCP as {role}: {error:?}"))
    }

    /// A new role (of the cluster's) that may log in and nothing more.
    pub fn create_role(&self) -> String {
        self.cluster.create_role()
    }

    /// How to connect, to be changed: superuser, Unix socket.
    pub fn config(&self) -> Config {
        let mut config = self.cluster.config();
        config.dbname(&self.name);
        config
    }

    /// The same in libpq's words.
    pub fn conninfo(&self) -> String {
        let host = self.cluster.sockets().display();
        format!("host={host} port={} user={SUPERUSER} dbname={}", self.cluster.port(), self.name)
    }

    /// The server's own `psql`, connected to this database, without start-up file, password and pager. To be spawned and
    /// killed for a client that vanishes; [`Self::psql`] runs it to its end.
    pub fn psql_command(&self) -> Command {
        let mut command = Command::new(Installation::of_tests().program("psql"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("PGHOST", self.cluster.sockets()).env("PGPORT", self.cluster.port().to_string());
        command.env("PGUSER", SUPERUSER).env("PGDATABASE", &self.name).env("PAGER", "cat");
        command.args(["--no-psqlrc", "--no-password", "--set=ON_ERROR_STOP=1"]);
        command
    }

    /// Runs `psql` with these arguments.
    pub fn psql(&self, arguments: &[&str]) -> Printed {
        let output = self.psql_command().args(arguments).stdin(std::process::Stdio::null()).output().expect("psql");
        Printed {
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
            success: output.status.success(),
        }
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        if self.owned {
            self.cluster.leave(std::mem::take(&mut self.name));
        }
    }
}
