//! A guest reaches its model's endpoint and nothing else, and says nothing in its head that is the host's to say: proved by what the upstreams recorded.

mod names;
mod redirecting;

use pg_llm_tests::postgres::{Client, NoTls};
use pg_llm_tests::{Cluster, Database, Settings, db_error};
use pg_llm_upstream::{Ending, Reply, Upstream};
use serde_json::{Value, json};

use crate::hostile::Victim;

/// An upstream that answers everything.
fn willing() -> Upstream {
    let upstream = Upstream::start();
    upstream.otherwise(|_| Reply::text(200, "welcome"));
    upstream
}

/// Has requests sent; what became of each.
#[track_caller]
fn sent(victim: &mut Victim, requests: &Value) -> Vec<Value> {
    let results: Vec<Value> = serde_json::from_str(&victim.answer("requests", &requests.to_string())).unwrap();
    results
}

#[test]
fn a_path_cannot_lead_to_another_host_or_out_of_the_endpoint() {
    let (upstream, other) = (willing(), willing());
    let mut victim = Victim::new(Some(&upstream));
    let elsewhere = other.url();
    let address = elsewhere.trim_start_matches("http:");
    let paths = [
        elsewhere.clone(),
        address.to_owned(),
        format!("{address}/x"),
        format!("@{}", &address[2..]),
        format!(":80@{}", &address[2..]),
        format!("/\\{}", &address[2..]),
        format!("\\\\{}", &address[2..]),
        format!("/{address}"),
        ".".to_owned(),
        String::new(),
        "/../x".to_owned(),
        "/a/../../x".to_owned(),
        "/%2e%2e/x".to_owned(),
        "/%2E%2e/x".to_owned(),
        "/.%2e/x".to_owned(),
        "/a/..%2fx".to_owned(),
        "/a/..%5cx".to_owned(),
        "/..;/x".to_owned(),
        "/./x".to_owned(),
        "/a//b".to_owned(),
        "/a\\..\\b".to_owned(),
        "/a#b".to_owned(),
        "/a b".to_owned(),
        "/a\tb".to_owned(),
        "/a\r\nHost: evil.example\r\n\r\n".to_owned(),
        "/a HTTP/1.1\r\nx: y".to_owned(),
        "/a\0b".to_owned(),
        "/\u{e4}".to_owned(),
        "/\u{2f}\u{2f}".to_owned(),
        "/\u{ff0e}\u{ff0e}/x".to_owned(),
    ];
    let requests: Vec<Value> = paths.iter().map(|path| json!({ "path": path })).collect();
    for (path, result) in paths.iter().zip(sent(&mut victim, &json!(requests))) {
        assert_eq!(result["kind"], "refused", "{path:?}: {result}");
    }
    assert_eq!((upstream.connections_total(), other.connections_total()), (0, 0));

    // What merely looks like it goes to the endpoint, as it stands.
    let results = sent(&mut victim, &json!([{ "path": format!("/?url={elsewhere}/../x") }, { "path": "/a%20b/..c/d..;e/%2F" }]));
    assert!(results.iter().all(|result| result["status"] == 200), "{results:?}");
    let targets: Vec<String> = upstream.requests().into_iter().map(|received| received.target).collect();
    assert_eq!(targets, [format!("/?url={elsewhere}/../x"), "/a%20b/..c/d..;e/%2F".to_owned()]);
    assert_eq!(other.connections_total(), 0);
}

#[test]
fn headers_of_the_host_cannot_be_set_by_a_guest() {
    let upstream = willing();
    let mut victim = Victim::new(Some(&upstream));
    let headers = [
        ("host", "evil.example"),
        ("Host", "evil.example"),
        ("HOST", "evil.example"),
        ("authorization", "Bearer mine"),
        ("Authorization", "Bearer mine"),
        ("proxy-authorization", "Basic mine"),
        ("cookie", "session=mine"),
        ("content-length", "0"),
        ("Content-Length", "99999"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("connection", "x-secret"),
        ("keep-alive", "timeout=1"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("accept-encoding", "br"),
        ("accept-charset", "utf-16"),
        ("range", "bytes=10-20"),
        ("via", "1.1 x"),
        ("forwarded", "for=1.2.3.4"),
        ("", "x"),
        (":authority", "evil.example"),
        ("x y", "x"),
        ("x:", "x"),
        ("x\r\nauthorization", "Bearer mine"),
        ("x\u{0}", "x"),
        ("\u{e4}", "x"),
        ("x-injected", "x\r\nauthorization: Bearer mine"),
        ("x-injected", "x\nauthorization: Bearer mine"),
        ("x-injected", "x\rauthorization: Bearer mine"),
        ("x-injected", "x\r\n\r\nGET /smuggled HTTP/1.1\r\n"),
        ("x-injected", "x\u{0}"),
        ("x-injected", "x\u{7f}"),
        ("x-injected", "\u{e4}"),
        ("x-injected", "\u{10a}"),
    ];
    let requests: Vec<Value> =
        headers.iter().map(|(name, value)| json!({ "method": "POST", "path": "/x", "headers": [[name, value]], "body": "b" })).collect();
    for (header, result) in headers.iter().zip(sent(&mut victim, &json!(requests))) {
        assert_eq!(result["kind"], "refused", "{header:?}: {result}");
    }
    assert_eq!(upstream.connections_total(), 0);

    let result = &sent(
        &mut victim,
        &json!([{ "method": "POST", "path": "/x", "headers": [["x-mine", "yes"], ["content-type", "text/plain"]], "body": "abc" }]),
    )[0];
    assert_eq!(result["status"], 200, "{result}");
    let received = upstream.last_request().unwrap();
    assert_eq!(received.header("host"), Some(upstream.address().to_string().as_str()));
    assert_eq!((received.header("x-mine"), received.header("content-length")), (Some("yes"), Some("3")));
    assert_eq!((received.header("authorization"), received.header("cookie")), (None, None), "no auth was asked for");
    assert_eq!(received.headers_named("host").count(), 1);
}

#[test]
fn a_key_goes_only_into_a_header_that_may_carry_one() {
    let upstream = willing();
    let mut victim = Victim::new(Some(&upstream));
    let auth = |key: &str, name: &str, prefix: &str, optional: bool| json!({ "path": "/x", "auth": { "key": key, "name": name, "prefix": prefix, "optional": optional } });
    let refused = json!([
        auth("default", "host", "", false),
        auth("default", "Host", "", false),
        auth("default", "content-length", "", false),
        auth("default", "transfer-encoding", "", false),
        auth("default", "connection", "", false),
        auth("default", "x\r\nx", "", false),
        auth("default", "", "", false),
        auth("default", "x-key", "a\r\nx-other: ", false),
        auth("default", "x-key", "a\n", false),
        auth("default", "x-key", "\u{0}", false),
        auth("default", "x-key", "\u{e4}", false),
    ]);
    for result in sent(&mut victim, &refused) {
        assert_eq!(result["kind"], "refused", "{result}");
        assert!(!result.to_string().contains("sk-"), "{result}");
    }
    let missing = sent(
        &mut victim,
        &json!([
            auth("none", "x-key", "", false),
            auth("", "x-key", "", false),
            auth("default\u{0}", "x-key", "", false),
            auth("DEFAULT", "x-key", "", false)
        ]),
    );
    assert!(missing.iter().all(|result| result["kind"] == "key"), "{missing:?}");
    assert_eq!(upstream.connections_total(), 0);

    let results = sent(
        &mut victim,
        &json!([
            auth("none", "x-key", "", true),
            auth("default", "X-Key", "Token ", false),
            auth("default", "authorization", "Bearer ", true)
        ]),
    );
    assert!(results.iter().all(|result| result["status"] == 200), "{results:?}");
    let received = upstream.requests();
    assert_eq!(received[0].header("x-key"), None);
    assert_eq!(received[1].header("x-key"), Some(format!("Token {}", Victim::KEY).as_str()));
    assert_eq!(received[2].header("authorization"), Some(format!("Bearer {}", Victim::KEY).as_str()));
    // A header of the guest's with the same name gives way to the host's.
    let mut both = auth("default", "x-key", "", false);
    both["headers"] = json!([["x-key", "mine"], ["X-KEY", "mine too"]]);
    sent(&mut victim, &json!([both]));
    let received = upstream.last_request().unwrap();
    assert_eq!(received.headers_named("x-key").collect::<Vec<_>>(), [Victim::KEY]);
}

#[test]
fn a_key_with_a_line_break_is_no_way_to_add_a_header() {
    let upstream = willing();
    let mut victim = Victim::new(Some(&upstream));
    victim.hire("requests");
    victim.client.execute("SELECT pg_llm_set_key('requests', 'broken', $1)", &[&"sk-half\r\nx-smuggled: yes"]).unwrap();
    let long = "k".repeat(100_000);
    victim.client.execute("SELECT pg_llm_set_key('requests', 'long', $1)", &[&long]).unwrap();
    for key in ["broken", "long"] {
        let request = json!([{ "path": "/x", "auth": { "key": key, "name": "x-key", "prefix": "", "optional": false } }]).to_string();
        let answer: String = victim.client.query_one("SELECT pg_llm_chat('requests', $1)", &[&request]).unwrap().get(0);
        let results: Vec<Value> = serde_json::from_str(&answer).unwrap();
        assert_eq!(results[0]["kind"], "key", "{answer}");
        assert!(!answer.contains("sk-half") && answer.len() < 1000, "{answer}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_key_that_the_upstream_repeats_leaves_by_no_way() {
    let upstream = Upstream::start();
    upstream.otherwise(|_| Reply::echo_headers(200).header("x-echo", Victim::KEY));
    let mut victim = Victim::new(Some(&upstream));
    victim.client.batch_execute("SET log_min_messages = debug1").unwrap();
    for way in ["answer", "bytes"] {
        let answer = victim.answer("key-thief", way);
        assert!(answer.contains("[redacted]") && !answer.contains("sk-Zx81"), "{way}: {answer}");
    }
    for way in ["error", "log"] {
        let error = format!("{:?}", victim.error("key-thief", way));
        assert!(error.contains("[redacted]") && !error.contains("sk-Zx81"), "{way}: {error}");
    }
    let received = upstream.requests();
    assert!(received.len() >= 4);
    assert!(
        received.iter().all(|r| r.header("authorization") == Some(format!("Bearer {}", Victim::KEY).as_str())),
        "it was sent, as it must be"
    );
    assert!(!victim.database.cluster().log().contains("sk-Zx81_the"), "the key is in the log");
}

/// See `redacting_does_not_tell_what_it_looks_for` of the sandbox: what is held back must not be seen.
#[test]
fn a_key_cannot_be_guessed_piece_by_piece() {
    let upstream = Upstream::start();
    upstream.otherwise(|received| Reply::text(200, &received.text()));
    let mut victim = Victim::new(Some(&upstream));
    assert_eq!(victim.answer("key-oracle", "sk-"), "sk-");
}

#[test]
fn redirects_are_not_followed() {
    let (upstream, other) = (Upstream::start(), willing());
    let mut victim = Victim::new(Some(&upstream));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/stolen", other.url());
        upstream.on("/start").reply(Reply::redirect(status, &location));
        let answer: Value = serde_json::from_str(&victim.answer("redirect", "")).unwrap();
        assert_eq!((&answer["first"], &answer["location"]), (&json!(status), &json!(location)), "{answer}");
        assert!(answer["second"].as_str().unwrap().contains("efused"), "{answer}");
    }
    // The built-in adapter neither: the redirect is the provider's error.
    let mut client = victim.database.superuser();
    client
        .execute(
            "SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-test-0123456789', $1)",
            &[&json!({ "api_endpoint": upstream.url() })],
        )
        .unwrap();
    upstream.on("/chat/completions").reply(Reply::redirect(307, &format!("{}/chat/completions", other.url())));
    let error = db_error(client.query_one("SELECT pg_llm_chat('m', 'hi')", &[]));
    assert!(error.code().code().starts_with("38"), "{error:?}");
    assert_eq!(other.connections_total(), 0, "the redirect's target saw something");
}

#[test]
fn requests_end_at_their_limits() {
    let upstream = willing();
    let mut victim = Victim::new(Some(&upstream));
    let results = sent(&mut victim, &json!([{ "path": "/many", "repeat": 20 }]));
    assert!(results[..16].iter().all(|result| result["status"] == 200), "{results:?}");
    assert!(results[16..].iter().all(|result| result["kind"] == "too-large"), "{results:?}");
    assert_eq!(upstream.requests().len(), 16);
    upstream.forget();

    victim
        .client
        .batch_execute("SET pg_llm.max_http_requests = 3; SET pg_llm.max_request_bytes = '1MB'; SET pg_llm.max_response_bytes = '1MB'")
        .unwrap();
    assert_eq!(victim.answer("response-flood", "").split(',').next(), Some("3 responses"));
    upstream.forget();
    let results = sent(
        &mut victim,
        &json!([
            { "method": "POST", "path": "/body", "body_bytes": 600_000 },
            { "method": "POST", "path": "/body", "body_bytes": 600_000 },
            { "method": "POST", "path": "/body", "body_bytes": 10_000_000 },
        ]),
    );
    assert_eq!(results.iter().map(|r| r["kind"].as_str()).collect::<Vec<_>>(), [None, Some("too-large"), Some("too-large")], "{results:?}");
    assert_eq!(upstream.requests().len(), 1);

    upstream.on("/endless").reply(Reply::endless("text/plain", "endless ".repeat(1000)));
    upstream.on("/bomb").reply(Reply::gzip_bomb(64));
    for path in ["/endless", "/bomb"] {
        let result = &sent(&mut victim, &json!([{ "path": path }]))[0];
        assert_eq!(result["end"], "too-large", "{path}: {}", result["end"]);
        assert!(result["body"].as_str().unwrap().len() <= 1 << 20);
    }
    upstream.on("/head").reply(Reply::oversized_header(1 << 20));
    assert!(sent(&mut victim, &json!([{ "path": "/head" }]))[0]["kind"].is_string());

    let said = victim.answer("header-flood", "");
    assert!(said.contains("headers"), "{said}");
    let said: Value = serde_json::from_str(&victim.answer("long-names", "")).unwrap();
    assert!(said["longest"].as_u64().unwrap() < 1000, "{said}");
}

#[test]
fn a_response_does_not_leak_into_the_next_call_of_the_connection() {
    let upstream = Upstream::start();
    // More than it says: the rest would be read as the next response.
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled";
    upstream.on("/first").reply(Reply::raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst{smuggled}")).ending(Ending::Hang));
    upstream.on("/second").reply(Reply::text(200, "second"));
    let mut victim = Victim::new(Some(&upstream));
    let results = sent(&mut victim, &json!([{ "path": "/first" }, { "path": "/second" }]));
    let bodies: Vec<&str> = results.iter().map(|result| result["body"].as_str().unwrap_or_default()).collect();
    assert_eq!(bodies, ["first", "second"]);
}

#[test]
fn no_cookie_and_no_state_goes_from_one_call_to_the_next() {
    let upstream = Upstream::start();
    upstream.otherwise(|_| {
        Reply::text(200, "welcome")
            .header("set-cookie", "session=1; Path=/")
            .header("etag", "\"1\"")
            .header("cache-control", "max-age=3600")
    });
    let mut victim = Victim::new(Some(&upstream));
    for _ in 0..2 {
        sent(&mut victim, &json!([{ "path": "/x" }, { "path": "/x" }]));
    }
    let received = upstream.requests();
    assert_eq!(received.len(), 4, "each is sent");
    let heads: Vec<_> = received.iter().map(|request| &request.headers).collect();
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
    assert!(received.iter().all(|request| request.header("cookie").is_none()));
}

/// An ordinary role that may add models.
fn ordinary(database: &Database<'_>) -> Client {
    let role = database.create_role();
    database
        .superuser()
        .batch_execute(&format!("GRANT EXECUTE ON FUNCTION pg_llm_add_model(text, text, text, jsonb, bytea, text) TO {role}"))
        .unwrap();
    database.connect_as(&role)
}

fn add(client: &mut Client, endpoint: &str) -> Result<(), String> {
    let config = json!({ "api_endpoint": endpoint });
    let added = client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-test-0123456789', $1)", &[&config]);
    added.map(|_| ()).map_err(|error| db_error::<()>(Err(error)).code().code().to_owned())
}

fn chat(client: &mut Client) -> Result<String, String> {
    let answer = client.query_one("SELECT pg_llm_chat('m', 'hi')", &[]);
    answer.map(|row| row.get(0)).map_err(|error| db_error::<()>(Err(error)).code().code().to_owned())
}

/// Every spelling of the loopback and of other addresses that are not public.
fn private(port: u16) -> Vec<String> {
    let mut endpoints: Vec<String> = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127.255.255.254",
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "１２７.０.０.１",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ]
    .iter()
    .map(|host| format!("http://{host}:{port}"))
    .collect();
    endpoints.push(format!("http:\\\\127.0.0.1:{port}"));
    endpoints.push(format!("http:127.0.0.1:{port}"));
    endpoints.push(format!("HTTP://127.0.0.1:{port}/"));
    endpoints
}

#[test]
fn an_ordinary_roles_model_reaches_no_private_address_in_any_spelling() {
    let upstream = Upstream::start_echo();
    let database = Cluster::shared().database();
    let mut client = ordinary(&database);
    for endpoint in private(upstream.address().port()) {
        assert_eq!(add(&mut client, &endpoint), Err("42501".to_owned()), "{endpoint}");
    }
    // Nor where the administrator allows every public host: then the address decides, when it is known.
    database.superuser().batch_execute(&format!("ALTER DATABASE {} SET pg_llm.allowed_hosts = '*'", database.name())).unwrap();
    let role: String = client.query_one("SELECT current_user::text", &[]).unwrap().get(0);
    let mut client = database.connect_as(&role);
    for endpoint in private(upstream.address().port()) {
        assert_eq!(add(&mut client, &endpoint), Ok(()), "{endpoint}");
        assert_eq!(chat(&mut client), Err("42501".to_owned()), "{endpoint}");
    }
    assert_eq!(upstream.connections_total(), 0);
}

#[test]
fn an_endpoint_that_hides_something_is_none() {
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    for endpoint in [
        "http://user@api.openai.com",
        "http://user:password@api.openai.com",
        "http://:password@api.openai.com",
        "http://api.openai.com@127.0.0.1",
        "http://api.openai.com?x=y",
        "http://api.openai.com#x",
        "http://api.openai.com:0",
        "http://api.openai.com:99999",
        "http://",
        "https://.",
        "//api.openai.com",
        "api.openai.com",
        "",
        " ",
        "file:///etc/passwd",
        "ftp://api.openai.com",
        "gopher://127.0.0.1:6379/_x",
        "unix:///var/run/docker.sock",
        "javascript:alert(1)",
        "http://a b.example",
        "http://[::1",
        "http://999.1.1.1",
        "http://1.2.3.4.5",
        "http://0x100000000",
        "http://a<b.example",
    ] {
        assert_eq!(add(&mut client, endpoint), Err("22023".to_owned()), "{endpoint}");
    }
    let error = db_error(client.execute(
        "SELECT pg_llm_add_model('openai-compatible', 'm', NULL, $1)",
        &[&json!({ "api_endpoint": "https://me:hunter2@x.example" })],
    ));
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn a_changed_allow_list_holds_at_the_next_call() {
    let upstream = Upstream::start_echo();
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    add(&mut client, &upstream.url()).unwrap();
    assert_eq!(chat(&mut client), Ok("You said: hi".to_owned()), "a superuser chose it");
    let port = upstream.address().port();
    for (list, allowed) in [
        ("api.openai.com", false),
        ("127.0.0.1", true),
        ("127.0.0.2, *.0.0.1x", false),
        (&format!("http://127.0.0.1:{port}"), true),
        (&format!("127.0.0.1:{}", port ^ 1), false),
        (&format!("https://127.0.0.1:{port}"), false),
        ("2130706433", true),
        ("*", false),
        ("localhost", false),
        ("", true),
    ] {
        client.execute("SELECT set_config('pg_llm.allowed_hosts', $1, false)", &[&list]).unwrap();
        let expected = if allowed { Ok("You said: hi".to_owned()) } else { Err("42501".to_owned()) };
        assert_eq!(chat(&mut client), expected, "{list}");
    }
    // A wildcard and a public setting: allowed for names in private networks only when the administrator says that, too.
    client.batch_execute("SET pg_llm.allowed_hosts = '*'; SET pg_llm.allow_private_networks = on").unwrap();
    assert_eq!(chat(&mut client), Ok("You said: hi".to_owned()));
    // The connection is kept open, and still not used once it may not be.
    client.batch_execute("SET pg_llm.allow_private_networks = off").unwrap();
    assert_eq!(chat(&mut client), Err("42501".to_owned()));
    // What cannot be understood allows nothing.
    for nonsense in ["ftp://x", "a b://c", "127.0.0.1:x", "http://"] {
        client.execute("SELECT set_config('pg_llm.allowed_hosts', $1, false)", &[&nonsense]).unwrap();
        assert!(chat(&mut client).is_err(), "{nonsense}");
    }
}

#[test]
fn an_ordinary_role_cannot_loosen_the_policy() {
    let database = Cluster::shared().database();
    let mut client = ordinary(&database);
    let settings = [
        "allowed_hosts = '*'",
        "allow_private_networks = on",
        "ca_file = '/tmp/x'",
        "guest_memory_mb = 4000",
        "guest_cpu_ms = 1000000",
        "max_module_bytes = 500000000",
    ];
    // Before the library is loaded, anybody may set a name that Postgres does not know yet; when it is loaded, that must count for nothing.
    for setting in settings {
        client.batch_execute(&format!("SET pg_llm.{setting}")).unwrap();
    }
    let upstream = willing();
    assert_eq!(add(&mut client, &upstream.url()), Err("42501".to_owned()));
    let limits: Value = client.query_one("SELECT limits FROM pg_llm_providers LIMIT 1", &[]).unwrap().get(0);
    assert_eq!((&limits["memory_bytes"], &limits["cpu_ms"]), (&json!(64 << 20), &json!(10_000)));
    for setting in settings {
        let error = db_error(client.batch_execute(&format!("SET pg_llm.{setting}")));
        assert_eq!(error.code().code(), "42501", "{setting}");
    }
    // Nor by the words with which a client connects, nor by settings of its own role.
    let role: String = client.query_one("SELECT current_user::text", &[]).unwrap().get(0);
    let mut config = database.config();
    config.user(&role).options("-c pg_llm.allowed_hosts=* -c pg_llm.allow_private_networks=on");
    let mut client = config.connect(NoTls).unwrap();
    assert_eq!(add(&mut client, &upstream.url()), Err("42501".to_owned()));
    let mut client = database.connect_as(&role);
    for setting in ["allowed_hosts = '*'", "allow_private_networks = on"] {
        let error = db_error(client.batch_execute(&format!("ALTER ROLE {role} SET pg_llm.{setting}")));
        assert_eq!(error.code().code(), "42501", "{setting}");
    }
    assert_eq!(upstream.connections_total(), 0);
}

#[test]
fn proxies_in_the_servers_environment_are_ignored() {
    let (upstream, proxy) = (Upstream::start_echo(), willing());
    let mut settings = Settings::for_models();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        settings = settings.env(name, &proxy.url());
    }
    let cluster = Cluster::start(&settings);
    let database = cluster.database();
    let mut client = database.superuser();
    add(&mut client, &upstream.url()).unwrap();
    assert_eq!(chat(&mut client), Ok("You said: hi".to_owned()));
    assert_eq!((proxy.connections_total(), upstream.requests().len()), (0, 1));
}

#[test]
fn a_model_without_an_endpoint_reaches_nothing() {
    let mut victim = Victim::new(None);
    let result = &sent(&mut victim, &json!([{ "path": "/x" }]))[0];
    assert_eq!(result["kind"], "refused", "{result}");
}
