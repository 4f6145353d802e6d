//! Nothing in a call, an answer or an upload leads a key to another place.

use pg_llm_tests::{Asked, Cluster, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::json;

use super::willing;
use crate::uploads::{Description, Profile};

#[test]
fn no_option_of_a_call_names_an_endpoint_a_header_or_a_key() {
    let mut asked = Asked::echo();
    let other = willing();
    for name in [
        "api_endpoint",
        "endpoint",
        "url",
        "base_url",
        "host",
        "headers",
        "extra_headers",
        "proxy",
        "keys",
        "api_key",
        "key",
        "key_name",
        "model_type",
        "module",
        "redirects",
        "ca_file",
        "oauth2_token_url",
        "token_url",
        "allowed_hosts",
        "timeout",
        "settings",
        "config",
    ] {
        let options = json!({ name: other.url() });
        let error = db_error(asked.client.query_one("SELECT pg_llm_chat('m', 'x', $1)", &[&options]));
        assert_eq!(error.code().code(), "22023", "{name}: {error:?}");
    }
    // Members of the body are members of the body, whatever they are called; what the host sends besides is as it was.
    let body = json!({ "api_endpoint": other.url(), "url": other.url(), "host": "evil.example", "headers": {"authorization": "Bearer mine"}, "proxy": other.url(), "model": "mine" });
    let answered = asked.client.query_one("SELECT pg_llm_chat_json('m', 'x', $1)", &[&json!({ "extra_body": body })]);
    if answered.is_ok() {
        let received = asked.upstream.last_request().unwrap();
        assert_eq!(received.header("authorization"), Some(format!("Bearer {}", Asked::KEY).as_str()));
        assert_eq!(received.header("host"), Some(asked.upstream.address().to_string().as_str()));
    }
    assert_eq!(other.connections_total(), 0);
}

#[test]
fn no_answer_of_an_upstream_leads_a_call_elsewhere() {
    let (upstream, other) = (Upstream::start(), willing());
    let mut asked = Asked::at(upstream, json!({ "max_attempts": 2 }));
    for status in [200, 201, 202, 300, 301, 302, 303, 304, 305, 306, 307, 308, 401, 407, 421, 426, 503, 511] {
        let mut reply = openai::completion("well").with_status(status);
        for name in
            ["location", "content-location", "refresh", "link", "alt-svc", "www-authenticate", "proxy-authenticate", "x-redirect", "uri"]
        {
            reply = reply.header(name, &format!("{}/stolen", other.url()));
        }
        asked.upstream.on(Asked::PATH).reply(reply.header("retry-after-ms", "1"));
        let _ = asked.client.query_one("SELECT pg_llm_chat_json('m', 'x', '{\"on_error\": \"object\"}')", &[]).unwrap();
        // The key goes on going where it belongs.
        asked.upstream.on(Asked::PATH).reply(openai::completion("well"));
        assert_eq!(asked.says("x"), "well", "{status}");
    }
    let linked = json!({ "id": "x", "next": other.url(), "url": other.url(), "choices": [{ "message": { "role": "assistant", "content": "well", "url": other.url() }, "finish_reason": "stop" }] });
    asked.upstream.on(Asked::PATH).reply(Reply::json(200, linked));
    assert_eq!(asked.says("x"), "well");
    let page = json!({ "object": "list", "data": [{ "id": "a", "url": other.url() }], "has_more": true, "last_id": format!("x&y=@{}/../", other.address()), "next": other.url(), "next_page_token": other.url() });
    asked.upstream.on("/v1/models").reply(Reply::json(200, page));
    let _ = asked.client.query("SELECT * FROM pg_llm_list_models('m')", &[]);
    assert_eq!(other.connections_total(), 0);
}

/// A stranger's module says where it would like to be. That is not the word of the superuser who adds a model of it.
#[test]
fn an_endpoint_that_an_uploaded_module_names_is_trusted_by_nobody() {
    let internal = willing();
    let database = Cluster::shared().database();
    let mut admin = database.superuser();
    let endpoint: &'static str = Box::leak(internal.url().into_boxed_str());
    let description = Description {
        profiles: vec![Profile { name: b"tiny".into(), endpoint: Some(endpoint), settings: b"{}".into() }],
        ..Description::default()
    };
    admin.execute("SELECT pg_llm_add_provider('tiny', $1)", &[&description.component()]).unwrap();
    let add = "SELECT pg_llm_add_model('tiny', 'm', NULL, $1)";
    for config in [json!({}), json!({ "api_endpoint": null })] {
        let error = db_error(admin.execute(add, &[&config]));
        assert_eq!(error.code().code(), "42501", "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("api_endpoint")), "{error:?}");
    }
    admin.execute(add, &[&json!({ "api_endpoint": endpoint })]).unwrap();
    // The endpoint stays one that a superuser chose; one that the list has needs nobody's choice.
    admin.execute(add, &[&json!({})]).unwrap();
    admin.batch_execute("SELECT pg_llm_remove_model('m')").unwrap();
    admin.execute("SELECT set_config('pg_llm.allowed_hosts', $1, false)", &[&endpoint]).unwrap();
    admin.execute(add, &[&json!({})]).unwrap();
    assert_eq!(internal.connections_total(), 0);
}
