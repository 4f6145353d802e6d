//! A throw-away cluster.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use pg_llm_upstream::Authority;
use postgres::{Client, Config, NoTls};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    DEADLINE, Database, Installation, Settings,
    account::Account,
    eventually,
    folder::Folder,
    server::{Server, Shutdown, configure, open_log},
};

/// The name of every cluster's superuser.
pub(crate) const SUPERUSER: &str = "postgres";
/// The database that those for tests are copies of.
const TEMPLATE: &str = "template_with_extension";

const OURS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 200
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
log_line_prefix = '%m [%p] %e %q%u@%d '
";

/// A real server with a data directory of its own, in a temporary folder. It ends with this value, and at the latest with
/// the process.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) server: Server,
    /// A session for what the harness does itself.
    admin: Mutex<Option<AdminSession>>,
    template: OnceLock<()>,
    /// Databases that nobody has a name for any more; sessions in them may still run.
    leftover: Mutex<Vec<String>>,
    names: AtomicU32,
    // Last: what is dropped before it still runs in there.
    folder: Folder,
}

struct AdminSession(Client);

impl std::fmt::Debug for AdminSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminSession")
    }
}

impl Cluster {
    /// The cluster that the tests of this process share, with [`Settings::for_models`]. A test that restarts the server,
    /// crashes it or changes it as a whole starts its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Settings::for_models()))
    }

    /// A new cluster.
    pub fn start(settings: &Settings) -> Self {
        let folder = Folder::new();
        let data = folder.private("data");
        let mut initdb = Self::command(&folder, "initdb");
        initdb.args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]);
        run(initdb.arg("--pgdata").arg(&data));
        configure(&data, OURS);
        folder.lend("ca.pem", Authority::process().pem().as_bytes());
        let here = folder.path().display().to_string();
        for line in &settings.lines {
            configure(&data, &format!("{}\n", line.replace("{folder}", &here)));
        }
        Self::serve(folder, data, settings.environment.clone())
    }

    /// Starts the server of a data directory in a folder.
    pub(crate) fn serve(folder: Folder, data: PathBuf, environment: Vec<(String, String)>) -> Self {
        let log = folder.path().join("log");
        drop(open_log(&log));
        let sockets = folder.private("sockets");
        let server = Server::start(data, log, sockets, environment);
        Self { server, admin: Mutex::default(), template: OnceLock::new(), leftover: Mutex::default(), names: AtomicU32::new(1), folder }
    }

    /// One of Postgres's programs, run as the server's account in the folder.
    pub(crate) fn command(folder: &Folder, program: &str) -> Command {
        let mut command = Account::of_servers().command(Installation::of_tests().program(program));
        command.current_dir(folder.path());
        command
    }

    /// A program, to be run as the account that the server runs as: what may be done to its processes and files is done by it.
    pub fn command_as_server(&self, program: &str) -> Command {
        let mut command = Account::of_servers().command(program);
        command.current_dir(self.folder.path());
        command
    }

    /// A fresh database with the extension in it.
    ///
    /// # Panics
    /// When `CREATE EXTENSION pg_llm` fails; on a standby.
    pub fn database(&self) -> Database<'_> {
        self.template.get_or_init(|| {
            self.execute(&format!("CREATE DATABASE {TEMPLATE}"));
            let created = self.connect(SUPERUSER, TEMPLATE).batch_execute("CREATE EXTENSION pg_llm");
            created.unwrap_or_else(|error| panic!("CREATE EXTENSION pg_llm: {error:?}\n{}", self.log()));
        });
        self.copy_of(TEMPLATE)
    }

    /// A fresh database without the extension.
    pub fn empty_database(&self) -> Database<'_> {
        self.copy_of("template1")
    }

    fn copy_of(&self, template: &str) -> Database<'_> {
        self.clear_up();
        let name = self.unique_name("test");
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Database::owned(self, name)
    }

    pub(crate) fn leave(&self, database: String) {
        self.leftover.lock().unwrap_or_else(PoisonError::into_inner).push(database);
    }

    /// Drops the databases that are left over and that no session is in: to save room, for the cluster goes anyway.
    fn clear_up(&self) {
        let leftover = std::mem::take(&mut *self.leftover.lock().unwrap_or_else(PoisonError::into_inner));
        let used = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1)";
        let kept = leftover.into_iter().filter(|name| {
            let is_used = self.as_admin(|admin| admin.query_one(used, &[name])).is_ok_and(|row| row.get(0));
            is_used || self.as_admin(|admin| admin.batch_execute(&format!("DROP DATABASE {name}"))).is_err()
        });
        let kept: Vec<String> = kept.collect();
        self.leftover.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
    }

    /// A new role that may log in and nothing more. Its name needs no quotes.
    pub fn create_role(&self) -> String {
        let name = self.unique_name("role");
        self.execute(&format!("CREATE ROLE {name} LOGIN"));
        name
    }

    fn unique_name(&self, kind: &str) -> String {
        format!("{kind}_{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// How to connect, as the superuser to the database `postgres` over the Unix socket, unless changed.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(&self.server.sockets).port(self.server.port).user(SUPERUSER).dbname("postgres");
        config
    }

    /// A session.
    pub fn connect(&self, role: &str, database: &str) -> Client {
        let connected = self.config().user(role).dbname(database).connect(NoTls);
        connected.unwrap_or_else(|error| panic!("connecting to {database} as {role}: {error:?}\n{}", self.log()))
    }

    /// Runs statements as the superuser in the database `postgres`, each in a transaction of its own.
    pub fn execute(&self, sql: &str) {
        self.as_admin(|admin| admin.batch_execute(sql)).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) fn as_admin<T>(&self, act: impl FnOnce(&mut Client) -> T) -> T {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        if admin.as_ref().is_none_or(|AdminSession(client)| client.is_closed()) {
            let mut config = self.config();
            let connected = config.options("-c synchronous_commit=on").connect(NoTls);
            *admin = Some(AdminSession(connected.unwrap_or_else(|error| panic!("the harness's session: {error:?}\n{}", self.log()))));
        }
        let AdminSession(client) = admin.as_mut().expect("just made");
        act(client)
    }

    /// `pg_cancel_backend`. False when there is no such backend.
    pub fn cancel_backend(&self, pid: i32) -> bool {
        self.as_admin(|admin| admin.query_one("SELECT pg_cancel_backend($1)", &[&pid])).expect("pg_cancel_backend").get(0)
    }

    /// `pg_terminate_backend`. False when there is no such backend.
    pub fn terminate_backend(&self, pid: i32) -> bool {
        self.as_admin(|admin| admin.query_one("SELECT pg_terminate_backend($1)", &[&pid])).expect("pg_terminate_backend").get(0)
    }

    /// Adds a line to `postgresql.conf` and has it read. What needs a restart needs [`Self::restart`].
    pub fn set(&self, line: &str) {
        self.server.configure(&format!("{line}\n"));
        self.execute("SELECT pg_reload_conf()");
    }

    /// Stops the server in order, its sessions with it, and starts it again: same port, same data.
    pub fn restart(&self) {
        self.forget_admin();
        self.server.stop(Shutdown::Fast);
        self.server.start_again();
    }

    /// Stops the server at once, as a crash would: the next start recovers.
    pub fn stop_immediate(&self) {
        self.forget_admin();
        self.server.stop(Shutdown::Immediate);
    }

    /// Starts a stopped server.
    pub fn start_again(&self) {
        self.server.start_again();
    }

    fn forget_admin(&self) {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The process of the postmaster, while it runs.
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The port on 127.0.0.1, and of the socket's name.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The cluster's folder, with `data`, `log`, `sockets`, `ca.pem` and what was lent. It is the host of the Unix socket's
    /// [`Self::sockets`].
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of the Unix socket: what libpq takes for a host.
    pub fn sockets(&self) -> &Path {
        &self.server.sockets
    }

    /// Writes a file into the cluster's folder that the server may read, whoever it runs as.
    pub fn lend(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.folder.lend(name, bytes)
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The SQLSTATE and message with which a backend ended, as the server logged it. The client often does not get to see
    /// them, because the connection's end overtakes them.
    pub fn fatal_of(&self, pid: i32) -> Option<(String, String)> {
        let (log, process) = (self.log(), format!("[{pid}] "));
        log.lines().rev().find_map(|line| {
            let (state, rest) = line.split_once(&process)?.1.split_once(' ')?;
            Some((state.to_owned(), rest.split_once("FATAL:  ")?.1.to_owned()))
        })
    }

    /// Kills a process of the server's, which then ends all sessions, and waits until it lets in again: not until somebody is let in, for before the
    /// postmaster hears of the crash it lets in whoever comes.
    ///
    /// # Panics
    /// When it does not come back, as without `restart_after_crash`.
    #[track_caller]
    pub fn crash(&self, pid: i32) {
        let starts = || self.log().matches("database system is ready to accept connections").count();
        let before = starts();
        kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL).expect("a process of the server's");
        assert!(eventually(DEADLINE, || starts() > before), "the server does not come back:\n{}", self.log());
    }

    /// Fails when a process of the server's has crashed since the cluster was made.
    #[track_caller]
    pub fn assert_no_crash(&self) {
        let signs = ["PANIC:", "terminated by signal", "server process (PID", "reinitializing", "fatal runtime error"];
        let log = self.log();
        // A server that logs everything also logs each process that ends as it should.
        let ended_well = |line: &str| line.contains("DEBUG:") && line.ends_with("exited with exit code 0");
        let crash = log.lines().find(|line| signs.iter().any(|sign| line.contains(sign)) && !ended_well(line));
        assert!(crash.is_none(), "a process of the server's crashed: {}\n{log}", crash.unwrap_or_default());
    }

    /// The files of a folder in the data directory, sorted: none when there is no such folder.
    pub fn files_in(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data_directory().join(folder));
        let mut files: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        files
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_immediate();
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{words}", output.status);
}
