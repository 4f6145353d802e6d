//! How far the right to add models reaches.

use pg_llm_tests::{Cluster, Settings, db_error};

use super::{ADD_GRANT, add_model, chat, code, denied, upstream, value, well};

#[test]
fn who_may_add_models_reaches_the_allowed_hosts_and_no_others() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let upstream = upstream();
    let name = database.create_role();
    let mut admin = database.superuser();
    admin.batch_execute(&format!("GRANT {ADD_GRANT} TO {name}")).unwrap();
    let mut role = database.connect_as(&name);
    let port = upstream.address().port();
    for url in [
        upstream.url(),
        format!("http://localhost:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://0x7f.1:{port}"),
        format!("http://127.1:{port}"),
        format!("http://0:{port}"),
        "http://169.254.169.254/latest".into(),
        "https://api.openai.com.evil.example/v1".into(),
        "https://api.openai.com:444/v1".into(),
        "http://api.openai.com/v1".into(),
        "https://evil.example/api.openai.com".into(),
    ] {
        let error = db_error(add_model(&mut role, "mine", &url));
        assert_eq!(code(&error), "42501", "{url}: {error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("pg_llm.allowed_hosts")), "{error:?}");
    }
    assert_eq!(value::<i64>(&mut admin, "SELECT count(*) FROM pg_llm_models", &[]), 0);
    add_model(&mut role, "known", "https://api.openai.com/v1").unwrap();
    // A model's own configuration cannot loosen it.
    for config in ["{\"allowed_hosts\": \"*\"}", "{\"api_endpoint\": \"https://api.openai.com/v1\", \"endpoint_trusted\": true}"] {
        let error = db_error(role.query("SELECT pg_llm_add_model('openai', 'mine', 'k', $1::text::jsonb)", &[&config]));
        assert_eq!(code(&error), "22023", "{error:?}");
    }

    cluster.set(&format!("pg_llm.allowed_hosts = 'http://127.0.0.1:{port}'"));
    assert!(pg_llm_tests::eventually(pg_llm_tests::DEADLINE, || add_model(&mut role, "mine", &upstream.url()).is_ok()));
    assert_eq!(chat(&mut role, "mine"), well());
    assert_eq!(code(&db_error(add_model(&mut role, "other", &format!("http://localhost:{port}")))), "42501");
    // Taken away, it is at the next call.
    cluster.set("pg_llm.allowed_hosts = ''");
    assert!(pg_llm_tests::eventually(pg_llm_tests::DEADLINE, || chat(&mut role, "mine") == denied()));
    let before = upstream.requests().len();
    assert_eq!(chat(&mut role, "mine"), denied());
    assert_eq!(upstream.requests().len(), before);
}

/// A superuser's word for an endpoint is for that endpoint.
#[test]
fn a_superusers_trust_does_not_follow_an_owner_elsewhere() {
    let database = Cluster::shared().database();
    let (trusted, internal) = (upstream(), upstream());
    let name = database.create_role();
    let mut admin = database.superuser();
    admin.batch_execute(&format!("GRANT {ADD_GRANT} TO {name}")).unwrap();
    let mut role = database.connect_as(&name);
    role.batch_execute("SELECT pg_llm_add_model('mock', 'mine')").unwrap();
    add_model(&mut admin, "mine", &trusted.url()).unwrap();
    assert_eq!(value::<String>(&mut admin, "SELECT owner::text FROM pg_llm_models WHERE instance_name = 'mine'", &[]), name);
    assert_eq!(chat(&mut role, "mine"), well());
    add_model(&mut role, "mine", &trusted.url()).unwrap();
    assert_eq!(chat(&mut role, "mine"), well(), "the same place stays allowed");
    for url in [internal.url(), format!("{}/admin", trusted.url()), format!("http://localhost:{}", trusted.address().port())] {
        assert_eq!(code(&db_error(add_model(&mut role, "mine", &url))), "42501", "{url}");
    }
    // Away and back again is no way to keep it.
    role.batch_execute("SELECT pg_llm_add_model('mock', 'mine')").unwrap();
    assert_eq!(code(&db_error(add_model(&mut role, "mine", &trusted.url()))), "42501");
    assert!(internal.requests().is_empty());
}
