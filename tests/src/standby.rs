//! Streaming replicas.

use crate::{
    Cluster, DEADLINE,
    cluster::{SUPERUSER, run},
    eventually,
    folder::Folder,
};

impl Cluster {
    /// A hot standby of this cluster, streaming, and caught up.
    #[must_use]
    pub fn standby(&self) -> Self {
        let folder = Folder::new();
        let data = folder.private("data");
        let mut backup = Self::command(&folder, "pg_basebackup");
        backup.arg("--pgdata").arg(&data).arg("--host").arg(self.sockets()).args(["--port", &self.port().to_string()]);
        backup.args(["--username", SUPERUSER, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        run(&mut backup);
        let standby = Self::serve(folder, data, Vec::new());
        standby.catch_up_with(self);
        standby
    }

    /// Waits until this standby has replayed all that its primary has committed so far.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn catch_up_with(&self, primary: &Cluster) {
        let here: String = primary.as_admin(|admin| {
            // The admin's commits wait for their flush, and with them all earlier ones are flushed.
            admin.batch_execute("SELECT pg_logical_emit_message(true, '', '')").expect("a commit");
            admin.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).expect("the primary's position").get(0)
        });
        let replayed = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{here}', false)");
        let caught_up = eventually(DEADLINE, || self.as_admin(|admin| admin.query_one(replayed.as_str(), &[]).is_ok_and(|row| row.get(0))));
        assert!(caught_up, "the standby does not catch up:\n{}", self.log());
    }
}
