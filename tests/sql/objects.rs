//! What `CREATE EXTENSION` makes, as golden lists that are reviewed: whoever adds, changes or loses an object sees it in the diff. `UPDATE_GOLDEN=1` writes
//! them anew.

use std::{collections::BTreeSet, fs, path::Path};

use pg_llm_tests::{Cluster, Database, db_error, postgres::Client};

/// Everything that belongs to the extension.
const MEMBERS: &str = "SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid \
                        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'pg_llm'";

/// What is granted to others than the owner, who has everything (and from PostgreSQL 17 on one right more).
const ACL: &str = "coalesce((SELECT string_agg(CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END || '=' || privilege_type, ' ' \
                                               ORDER BY grantee, privilege_type) FROM aclexplode(acl) WHERE grantee <> owner), 'nobody')";

/// One column, sorted by its bytes.
fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.sort();
    lines
}

#[track_caller]
fn golden(name: &str, lines: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/golden").join(name);
    let now = lines.join("\n") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, now).unwrap();
        return;
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) = (reviewed.lines().collect(), now.lines().collect());
    let gone: Vec<_> = before.difference(&after).map(|line| format!("- {line}")).collect();
    let come: Vec<_> = after.difference(&before).map(|line| format!("+ {line}")).collect();
    assert!(
        reviewed == now,
        "the extension's objects are not those of tests/sql/golden/{name}:\n{}\n{}\nIf that is meant, UPDATE_GOLDEN=1 writes the list anew.",
        gone.join("\n"),
        come.join("\n")
    );
}

fn database() -> (Database<'static>, Client) {
    let database = Cluster::shared().database();
    let client = database.superuser();
    (database, client)
}

#[test]
fn functions_are_those_that_were_reviewed() {
    let sql = format!(
        "SELECT format('%s.%s(%s) returns %s; %s %s parallel %s%s%s%s%s cost %s; %s; granted: %s', n.nspname, p.proname, pg_get_function_arguments(p.oid),
                    pg_get_function_result(p.oid), l.lanname, CASE p.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END,
                    CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END,
                    CASE WHEN p.proisstrict THEN ' strict' ELSE '' END, CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END,
                    CASE WHEN p.proleakproof THEN ' leakproof' ELSE '' END, coalesce(' set ' || array_to_string(p.proconfig, ', '), ''), p.procost,
                    coalesce(p.prosrc, ''), {ACL})
           FROM (SELECT p.*, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl, p.proowner AS owner FROM pg_proc p) AS p
           JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
          WHERE ('pg_proc'::regclass, p.oid) IN ({MEMBERS})"
    );
    golden("functions.txt", &lines(&mut database().1, &sql));
}

#[test]
fn tables_views_and_columns_are_those_that_were_reviewed() {
    let (_database, mut client) = database();
    let members = format!("('pg_class'::regclass, c.oid) IN ({MEMBERS})");
    let kind = "CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'm' THEN 'materialised view' ELSE c.relkind::text END";
    let mut list = lines(
        &mut client,
        &format!(
            "SELECT format('%s %s.%s; %s; granted: %s; dumped: %s', {kind}, n.nspname, c.relname, coalesce(array_to_string(c.reloptions, ','), 'no options'), {ACL},
                        coalesce((SELECT CASE extcondition[at] WHEN '' THEN 'all' ELSE extcondition[at] END
                                    FROM pg_extension, generate_subscripts(extconfig, 1) AS at WHERE extname = 'pg_llm' AND extconfig[at] = c.oid), 'no'))
               FROM (SELECT c.*, coalesce(c.relacl, acldefault('r', c.relowner)) AS acl, c.relowner AS owner FROM pg_class c) AS c
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {members} AND c.relkind <> 'i'"
        ),
    );
    list.extend(lines(
        &mut client,
        &format!(
            "SELECT format('%s.%s: %s %s%s%s', c.relname, lpad(a.attnum::text, 2), a.attname, format_type(a.atttypid, a.atttypmod),
                        CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), ''))
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
              WHERE {members} AND c.relkind <> 'i'"
        ),
    ));
    list.extend(lines(
        &mut client,
        &format!(
            "SELECT format('constraint of %s: %s', c.relname, pg_get_constraintdef(k.oid)) FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
              WHERE {members} AND k.contype <> 'n'"
        ),
    ));
    list.extend(lines(
        &mut client,
        &format!(
            "SELECT format('index of %s: %s', c.relname, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '')) FROM pg_class c
               JOIN pg_index i ON i.indrelid = c.oid WHERE {members}"
        ),
    ));
    list.extend(lines(
        &mut client,
        &format!(
            "SELECT format('trigger of %s: %s %s', c.relname, t.tgname, CASE t.tgenabled WHEN 'A' THEN 'always' WHEN 'O' THEN 'usually' ELSE t.tgenabled::text END
                          || regexp_replace(pg_get_triggerdef(t.oid), '^.*?( BEFORE| AFTER| INSTEAD)', '\\1'))
               FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal WHERE {members}
             UNION ALL
             SELECT format('rule of %s: %s', c.relname, r.rulename) FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE {members} AND r.rulename <> '_RETURN'
             UNION ALL
             SELECT format('policy of %s: %s', c.relname, p.polname) FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE {members}
             UNION ALL
             SELECT format('rows of %s have policies', c.relname) FROM pg_class c WHERE {members} AND (c.relrowsecurity OR c.relforcerowsecurity)
             UNION ALL
             SELECT format('right to a column of %s: %s', c.relname, a.attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE {members} AND a.attacl IS NOT NULL"
        ),
    ));
    golden("relations.txt", &list);
}

#[test]
fn there_are_no_objects_of_any_other_kind() {
    let (_database, mut client) = database();
    let sql = format!(
        "SELECT pg_describe_object(classid, objid, 0) FROM ({MEMBERS}) AS m
          WHERE classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass)
            AND NOT (classid = 'pg_type'::regclass AND (SELECT typrelid <> 0 OR typelem <> 0 FROM pg_type WHERE oid = objid))"
    );
    assert_eq!(lines(&mut client, &sql), ["schema _pg_llm_catalog"]);
    let sql = format!(
        "SELECT {ACL} FROM (SELECT coalesce(nspacl, acldefault('n', nspowner)) AS acl, nspowner AS owner FROM pg_namespace WHERE nspname = '_pg_llm_catalog') AS n"
    );
    assert_eq!(lines(&mut client, &sql), ["nobody"], "the catalog's schema is nobody else's");
}

#[test]
fn every_function_table_and_view_says_what_it_is_for() {
    let sql = format!(
        "SELECT pg_describe_object(classid, objid, 0) FROM ({MEMBERS}) AS m
          WHERE classid IN ('pg_proc'::regclass, 'pg_namespace'::regclass) AND coalesce(obj_description(objid, classid::regclass::name), '') = ''
             OR classid = 'pg_class'::regclass AND (SELECT relkind IN ('r', 'v') FROM pg_class WHERE oid = objid) AND coalesce(obj_description(objid, 'pg_class'), '') = ''"
    );
    assert_eq!(lines(&mut database().1, &sql), [""; 0]);
    let printed = database().0.psql(&["-c", "\\df+ pg_llm_*"]);
    assert!(printed.success && printed.output.contains("Adds a model, or updates the one of that name."), "{}", printed.errors);
}

#[test]
fn settings_are_those_that_were_reviewed() {
    let (_database, mut client) = database();
    client.batch_execute("LOAD 'pg_llm'").unwrap();
    let sql = "SELECT format('%s: %s; %s; default %s%s%s', name, vartype, context, quote_literal(boot_val), coalesce(' ' || unit, ''),
                          CASE WHEN vartype = 'enum' THEN '; one of ' || array_to_string(enumvals, ', ')
                               WHEN min_val IS NOT NULL THEN '; ' || min_val || ' to ' || max_val ELSE '' END)
                 FROM pg_settings WHERE name LIKE 'pg\\_llm.%'";
    golden("settings.txt", &lines(&mut client, sql));
}

#[test]
fn every_setting_says_what_it_affects_and_its_default() {
    let (_database, mut client) = database();
    client.batch_execute("LOAD 'pg_llm'").unwrap();
    let sql = "SELECT name FROM pg_settings WHERE name LIKE 'pg\\_llm.%' \
                AND (coalesce(short_desc, '') !~ '^[A-Z].*[.]$' OR coalesce(extra_desc, '') !~ '(^| )Default: .*[.]$' OR category NOT LIKE 'Customized Options%')";
    assert_eq!(lines(&mut client, sql), [""; 0]);
    // Not listed, and shown to nobody.
    assert_eq!(lines(&mut client, "SELECT current_setting('pg_llm.master_key')"), [""]);
    client.batch_execute("SET pg_llm.master_key = 'a secret of sixteen bytes'").unwrap();
    assert_eq!(lines(&mut client, "SELECT current_setting('pg_llm.master_key')"), ["********"]);
    assert_eq!(lines(&mut client, "SELECT setting FROM pg_settings WHERE name = 'pg_llm.master_key'"), [""; 0]);
}

#[test]
fn the_prefix_is_reserved_so_that_a_misspelt_setting_is_an_error() {
    let (_database, mut client) = database();
    client.batch_execute("LOAD 'pg_llm'").unwrap();
    assert!(client.batch_execute("SET pg_llm.timeout = 5").is_err());
}

#[test]
fn the_extension_may_be_in_any_schema() {
    let database = Cluster::shared().empty_database();
    let mut client = database.superuser();
    client.batch_execute("CREATE SCHEMA \"My AI\"; CREATE EXTENSION pg_llm SCHEMA \"My AI\"").unwrap();
    let sql = "SELECT \"My AI\".pg_llm_add_model('mock', 'm'); \
               SELECT \"My AI\".pg_llm_chat('m', 'Hello'), \"My AI\".pg_llm_chat_json('m', 'Hello', '{}'); \
               SELECT * FROM \"My AI\".pg_llm_models; SELECT * FROM \"My AI\".pg_llm_providers";
    client.simple_query(sql).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(client.simple_query("SELECT pg_llm_chat('m', 'Hello')").is_err(), "and nothing of it is elsewhere");
    assert_eq!(
        lines(
            &mut client,
            "SELECT DISTINCT n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proname LIKE 'pg\\_llm\\_%'"
        ),
        ["My AI"]
    );
    // The right to upload is that of the function, wherever it is.
    let role = database.create_role();
    client.batch_execute(&format!("GRANT USAGE ON SCHEMA \"My AI\" TO {role}; GRANT EXECUTE ON FUNCTION \"My AI\".pg_llm_add_model(text, text, text, jsonb, bytea, text) TO {role}")).unwrap();
    let mut user = database.connect_as(&role);
    let upload = "SELECT \"My AI\".pg_llm_add_model('x', 'x', module => '\\x00')";
    assert_eq!(db_error(user.simple_query(upload)).code().code(), "42501");
    client.batch_execute(&format!("GRANT EXECUTE ON FUNCTION \"My AI\".pg_llm_add_provider(text, bytea, text, jsonb) TO {role}")).unwrap();
    assert_eq!(db_error(user.simple_query(upload)).code().code(), "22023", "now the bytes are looked at");
}

#[test]
fn dropping_the_extension_leaves_nothing_and_it_can_come_back() {
    let database = Cluster::shared().empty_database();
    let mut client = database.superuser();
    let count = "SELECT concat_ws(' ', (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_type), (SELECT count(*) FROM pg_namespace),
                        (SELECT count(*) FROM pg_constraint), (SELECT count(*) FROM pg_description), (SELECT count(*) FROM pg_depend), (SELECT count(*) FROM pg_init_privs),
                        (SELECT count(*) FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())))";
    let before = lines(&mut client, count);
    for _ in 0..2 {
        client
            .batch_execute("CREATE EXTENSION pg_llm; SELECT pg_llm_add_model('mock', 'm', 'sk-12345678'), pg_llm_chat('m', 'Hello')")
            .unwrap();
        // In a session whose plans were made for the tables that are gone.
        client.batch_execute("DROP EXTENSION pg_llm").unwrap();
        assert_eq!(lines(&mut client, count), before);
    }
    client.batch_execute("CREATE EXTENSION pg_llm").unwrap();
    assert_eq!(
        db_error(client.simple_query("SELECT pg_llm_chat('m', 'Hello')")).code().code(),
        "42704",
        "a new extension knows no old model"
    );
}

#[test]
fn without_its_tables_the_library_says_what_is_missing() {
    let database = Cluster::shared().empty_database();
    let mut client = database.superuser();
    client.batch_execute("CREATE FUNCTION chat(text, text) RETURNS text LANGUAGE c AS '$libdir/pg_llm', 'pg_llm_chat_wrapper'").unwrap();
    let error = db_error(client.query_one("SELECT chat('m', 'Hello')", &[]));
    assert_eq!((error.code().code(), error.hint()), ("55000", Some("CREATE EXTENSION pg_llm;")), "{error:?}");
}

#[test]
fn only_a_superuser_creates_the_extension() {
    let database = Cluster::shared().empty_database();
    let role = database.create_role();
    database.superuser().batch_execute(&format!("GRANT CREATE ON DATABASE {} TO {role}", database.name())).unwrap();
    assert_eq!(db_error(database.connect_as(&role).batch_execute("CREATE EXTENSION pg_llm")).code().code(), "42501");
}
