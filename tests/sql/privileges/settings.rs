//! Settings that are not for everybody.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, db_error};

use super::{code, value};

/// Settings with a value that another role must not be able to give them.
const SUPERUSERS: [(&str, &str); 37] = [
    ("allowed_hosts", "*"),
    ("allow_private_networks", "on"),
    ("ca_file", "/tmp/mine.pem"),
    ("master_key", "a master key of mine"),
    ("master_key_file", "/tmp/mine.key"),
    ("master_key_command", "/tmp/mine"),
    ("former_master_key_files", "/tmp/mine.key"),
    ("guest_memory_mb", "4000"),
    ("guest_cpu_ms", "2000000000"),
    ("guest_log_bytes", "1000000"),
    ("max_request_bytes", "2000000000"),
    ("max_response_bytes", "2000000000"),
    ("max_http_requests", "9999"),
    ("max_concurrency", "1000000"),
    ("cache_max_mb", "100000"),
    ("max_timeout_ms", "2000000000"),
    ("max_module_bytes", "500000000"),
    ("compile_memory_mb", "1000000"),
    ("compile_timeout_ms", "2000000000"),
    ("text2sql_allowed_functions", "public.f"),
    ("text2sql_max_cost", "1e300"),
    ("text2sql_max_rows", "2000000000"),
    ("text2sql_max_bytes", "2000000000"),
    ("text2sql_timeout_ms", "2000000000"),
    ("text2sql_remembered_requests", "1000"),
    ("audit_enabled", "off"),
    ("audit_sample_rate", "0"),
    ("trace_enabled", "on"),
    ("redact_sensitive", "off"),
    ("ledger_queue_mb", "1"),
    ("ledger_retention", "1d"),
    ("trace_retention", "1d"),
    ("report_retention", "1d"),
    ("job_attempts", "1"),
    ("job_concurrency", "1"),
    ("job_retention", "1d"),
    ("token_budget", "1000"),
];

#[test]
fn settings_that_protect_the_server_are_the_superusers() {
    let database = Cluster::shared().database();
    let name = database.create_role();
    let mut admin = database.superuser();
    admin.batch_execute("LOAD 'pg_llm'").unwrap();
    let known = admin.query("SELECT name FROM pg_settings WHERE name LIKE 'pg\\_llm.%' AND context <> 'user' ORDER BY 1", &[]).unwrap();
    let mut known: Vec<String> = known.iter().map(|row| row.get::<_, String>(0)["pg_llm.".len()..].to_owned()).collect();
    known.push("master_key".into());
    known.sort();
    let mut expected: Vec<&str> = SUPERUSERS.iter().map(|(setting, _)| *setting).collect();
    expected.sort_unstable();
    assert_eq!(known, expected, "a setting is new: may everybody set it?");
    let effective = |setting: &str| format!("SELECT coalesce(current_setting('pg_llm.{setting}'), '')");
    admin.batch_execute("LOAD 'pg_llm'").unwrap();
    for (setting, wanted) in SUPERUSERS {
        let default: String = value(&mut admin, &effective(setting), &[]);
        let load = "SELECT count(*) FROM pg_llm_models";
        let look = |client: &mut Client| -> String {
            // What this role may not read, it is asked for as what it is.
            client.batch_execute(load).unwrap();
            match client.query_one(&effective(setting), &[]) {
                Ok(row) => row.get(0),
                Err(error) => {
                    assert_eq!(code(&db_error::<()>(Err(error))), "42501");
                    default.clone()
                }
            }
        };
        // What only the server's configuration can say, no session can, whoever it is.
        let context = format!("SELECT coalesce(max(context), '') FROM pg_settings WHERE name = 'pg_llm.{setting}'");
        let is_servers = matches!(value::<String>(&mut admin, &context, &[]).as_str(), "postmaster" | "sighup");
        // Loaded.
        let mut client = database.connect_as(&name);
        client.batch_execute("SELECT pg_llm_chat('none', NULL)").unwrap();
        for sql in [
            format!("SET pg_llm.{setting} = '{wanted}'"),
            format!("SET LOCAL pg_llm.{setting} = '{wanted}'"),
            format!("SELECT set_config('pg_llm.{setting}', '{wanted}', false)"),
            format!("ALTER ROLE {name} SET pg_llm.{setting} = '{wanted}'"),
            format!("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET pg_llm.{setting} = '{wanted}' AS 'SELECT 1'"),
            format!("ALTER SYSTEM SET pg_llm.{setting} = '{wanted}'"),
        ] {
            let error = db_error(client.simple_query(&sql));
            assert!(code(&error) == "42501" || (is_servers && code(&error) == "55P02"), "{sql}: {error:?}");
        }
        // Before it is loaded, a name is anybody's: what was set is not taken over.
        let mut client = database.connect_as(&name);
        let _ = client.batch_execute(&format!("SET pg_llm.{setting} = '{wanted}'"));
        client.batch_execute("SELECT pg_llm_chat('none', NULL)").unwrap();
        assert_eq!(look(&mut client), default, "{setting} set before loading");
        let mut client = database.connect_as(&name);
        let _ = client.batch_execute(&format!("ALTER ROLE {name} SET pg_llm.{setting} = '{wanted}'"));
        let mut client = database.connect_as(&name);
        client.batch_execute("SELECT pg_llm_chat('none', NULL)").unwrap();
        assert_eq!(look(&mut client), default, "{setting} set for the role before loading");
        admin.batch_execute(&format!("ALTER ROLE {name} RESET ALL")).unwrap();
        let mut config = database.config();
        config.user(&name).options(&format!("-c pg_llm.{setting}={}", wanted.replace(' ', "\\ ")));
        if let Ok(mut client) = config.connect(pg_llm_tests::postgres::NoTls) {
            client.batch_execute("SELECT pg_llm_chat('none', NULL)").unwrap();
            assert_eq!(look(&mut client), default, "{setting} set at the start of the session");
        }
    }
    database.cluster().assert_no_crash();
}
