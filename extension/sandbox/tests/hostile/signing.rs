//! What is signed is what goes out, tokens come from where they may, and a guest that asks for either learns no secret.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pg_llm_sandbox::egress::{AllowList, TokenHosts, TokenUrl};
use pg_llm_sandbox::interrupt::StopSwitch;
use pg_llm_sandbox::keys::{KeyRing, Secret};
use pg_llm_sandbox::{CallError, Grant, Limits, Provider, Sandbox};
use pg_llm_upstream::{Received, Reply, Upstream, oauth2, signatures};
use serde_json::{Value, json};

use super::{LONG, grant, hostile, request, text};

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn with_keys(upstream: &Upstream, keys: &[(&str, &str)]) -> Grant {
    let mut ring = KeyRing::new();
    for (name, secret) in keys {
        ring.insert(*name, Secret::new(secret.as_bytes().to_vec()));
    }
    Grant { keys: Arc::new(ring), ..grant(Some(upstream)) }
}

/// Has one request sent, and tells what became of it.
#[track_caller]
fn sent(provider: &Provider, grant: Grant, wanted: &Value) -> Value {
    let outcome = provider.complete(grant, &request("requests", &json!([wanted]).to_string()));
    let results: Value = serde_json::from_str(&text(outcome)).unwrap();
    results[0].clone()
}

/// A sandbox of its own, with no token kept yet.
fn fresh() -> Provider {
    let dir =
        std::env::var("PG_LLM_COMPONENTS").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/components").to_owned());
    let (_, artefact) = pg_llm_sandbox::compile(&std::fs::read(format!("{dir}/hostile.wasm")).unwrap()).unwrap();
    // SAFETY: what the compiler has just made.
    unsafe { Sandbox::new(None).unwrap().load_artefact(&artefact) }.unwrap()
}

/// The members of an `authorization` header.
fn member<'a>(received: &'a Received, name: &str) -> &'a str {
    let header = received.header("authorization").unwrap();
    header.split([' ', ',']).find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap()
}

#[test]
fn a_request_signed_for_aws_arrives_as_it_was_signed() {
    let upstream = Upstream::start();
    upstream.otherwise(|_| Reply::echo_headers(200));
    let auth = json!({
        "scheme": "aws-sigv4", "access_key_id": "access_key_id", "secret_access_key": "access_key_secret", "session_token": "session_token",
        "region": "us-east-1", "service": "bedrock",
    });
    let lasting = [("access_key_id", ID), ("access_key_secret", SECRET)];
    let temporary = [lasting[0], lasting[1], ("session_token", "a-session-token")];
    let mut endpoint = pg_llm_sandbox::egress::Endpoint::parse(&format!("{}/prefix", upstream.url())).unwrap();
    for (keys, headers) in
        [(&lasting[..], "content-type;host;x-amz-date"), (&temporary[..], "content-type;host;x-amz-date;x-amz-security-token")]
    {
        let wanted = json!({
            "method": "POST", "path": "/model/a.b-v1%3A0/converse?b=2&a=1", "body": "{\"x\": \"ä\"}", "auth": auth,
            "headers": [["content-type", "application/json"], ["accept", "application/json"]],
        });
        let grant = Grant { endpoint: Some(endpoint.clone()), ..with_keys(&upstream, keys) };
        let said = sent(&hostile(), grant, &wanted);
        assert_eq!(said["status"], 200, "{said}");
        assert!(!said.to_string().contains(SECRET) && !said.to_string().contains("a-session-token"), "{said}");
        let received = upstream.last_request().unwrap();
        assert_eq!(member(&received, "SignedHeaders"), headers);
        assert!(member(&received, "Credential").ends_with("/us-east-1/bedrock/aws4_request"));
        assert_eq!(received.target, "/prefix/model/a.b-v1%3A0/converse?b=2&a=1");
        assert_eq!(signatures::check(&received, SECRET), Ok(()));
    }
    assert_eq!(upstream.last_request().unwrap().header("x-amz-security-token"), Some("a-session-token"));

    // A GET has no body, whatever the guest gives it.
    endpoint = pg_llm_sandbox::egress::Endpoint::parse(&upstream.url()).unwrap();
    let grant = Grant { endpoint: Some(endpoint), ..with_keys(&upstream, &lasting) };
    sent(&hostile(), grant, &json!({"path": "/foundation-models", "body": "ignored", "auth": auth}));
    let received = upstream.last_request().unwrap();
    assert!(received.body.is_empty());
    assert_eq!(signatures::check(&received, SECRET), Ok(()));
}

#[test]
fn a_request_signed_for_tencent_arrives_as_it_was_signed() {
    let upstream = Upstream::start();
    upstream.otherwise(|_| Reply::echo_headers(200));
    let wanted = json!({
        "method": "POST", "path": "/", "body": "{}",
        "headers": [["content-type", "application/json"], ["x-tc-action", "ChatCompletions"], ["x-tc-version", "2023-09-01"]],
        "auth": {"scheme": "tencent-tc3", "secret_id": "access_key_id", "secret_key": "access_key_secret", "service": "hunyuan"},
    });
    let said = sent(&hostile(), with_keys(&upstream, &[("access_key_id", ID), ("access_key_secret", SECRET)]), &wanted);
    assert!(said["status"] == 200 && !said.to_string().contains(SECRET), "{said}");
    let received = upstream.last_request().unwrap();
    assert_eq!(member(&received, "SignedHeaders"), "content-type;host;x-tc-action");
    assert_eq!(signatures::check(&received, SECRET), Ok(()));
}

#[test]
fn what_may_not_be_signed_is_not_sent() {
    let upstream = Upstream::start();
    let long = "x".repeat(100_000);
    let keys = [("id", ID), ("secret", SECRET), ("broken", "a\r\nb: c"), ("long", &long)];
    let aws = |change: Value| {
        let mut auth = json!({"scheme": "aws-sigv4", "access_key_id": "id", "secret_access_key": "secret", "region": "r", "service": "s"});
        auth.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"method": "POST", "path": "/", "auth": auth, "headers": [["content-type", "text/plain"]]})
    };
    let mut dated = aws(json!({}));
    dated["headers"] = json!([["x-amz-date", "20150830T123600Z"]]);
    for (wanted, kind) in [
        (aws(json!({"region": "us/east"})), "refused"),
        (aws(json!({"service": "a\nb"})), "refused"),
        (aws(json!({"access_key_id": "none"})), "key"),
        (aws(json!({"secret_access_key": "none"})), "key"),
        (aws(json!({"access_key_id": "broken"})), "key"),
        (aws(json!({"session_token": "broken"})), "key"),
        (aws(json!({"session_token": "long"})), "key"),
        (aws(json!({"access_key_id": "long"})), "key"),
        (dated, "refused"),
        (json!({"path": "/", "auth": {"scheme": "tencent-tc3", "secret_id": "id", "secret_key": "secret", "service": "s"}}), "refused"),
        (json!({"path": "/", "auth": {"scheme": "gcp-jwt", "service_account": "secret"}}), "key"),
    ] {
        let said = sent(&hostile(), with_keys(&upstream, &keys), &wanted);
        assert_eq!(said["kind"], kind, "{wanted}: {said}");
        assert!(!said.to_string().contains(SECRET), "{said}");
    }
    assert_eq!(upstream.connections_total(), 0);
}

/// A model's endpoint at `/v1`, and a token endpoint at `/token`, on a server each.
struct Tenant {
    model: Upstream,
    login: Upstream,
    provider: Provider,
}

const CLIENT_SECRET: &str = "s3cr3t~of/the+client=";

impl Tenant {
    fn new() -> Self {
        let (model, login) = (Upstream::start(), Upstream::start());
        model.otherwise(|_| Reply::echo_headers(200));
        Self { model, login, provider: fresh() }
    }

    fn url(&self) -> String {
        format!("{}/token", self.login.url())
    }

    fn grant(&self) -> Grant {
        let account = oauth2::service_account(&self.url()).to_string();
        let keys = [("client_id", "the-client-id"), ("client_secret", CLIENT_SECRET), ("service_account", &account)];
        let hosts = TokenHosts {
            configured: vec![TokenUrl::parse(&self.url()).unwrap()],
            allowed: AllowList::parse(&self.login.address().to_string()).unwrap(),
            named_private: true,
            ..TokenHosts::default()
        };
        Grant { token_hosts: Arc::new(hosts), ..with_keys(&self.model, &keys) }
    }

    fn wanted(&self) -> Value {
        json!({"path": "/v1", "auth": {
            "scheme": "oauth2-client-credentials", "client_id": "client_id", "client_secret": "client_secret", "token_url": self.url(), "scopes": ["a", "b"],
        }})
    }

    #[track_caller]
    fn sent(&self, grant: Grant, wanted: &Value) -> Value {
        let said = sent(&self.provider, grant, wanted);
        assert!(!said.to_string().contains("s3cr3t") && !said.to_string().contains("tok-"), "{said}");
        said
    }

    /// With which token the model's endpoint was called last.
    fn bearer(&self) -> Option<String> {
        Some(self.model.last_request()?.header("authorization")?.to_owned())
    }
}

#[test]
fn a_token_is_fetched_once_and_kept() {
    let tenant = Tenant::new();
    tenant.login.on("/token").reply(oauth2::token("tok-first-of-all", 3600)).reply(oauth2::token("tok-second-token", 3600));
    for _ in 0..3 {
        let said = tenant.sent(tenant.grant(), &tenant.wanted());
        assert!(said["status"] == 200 && said["body"].as_str().unwrap().contains("Bearer [redacted]"), "{said}");
        assert_eq!(tenant.bearer().as_deref(), Some("Bearer tok-first-of-all"));
    }
    let asked = tenant.login.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].method.as_str(), asked[0].header("content-type")), ("POST", Some("application/x-www-form-urlencoded")));
    assert_eq!(
        asked[0].text(),
        "grant_type=client_credentials&client_id=the-client-id&client_secret=s3cr3t~of%2Fthe%2Bclient%3D&scope=a%20b"
    );
    assert!(!asked[0].headers.iter().any(|(name, _)| name == "authorization"));

    // Other credentials, other scopes: another token.
    let mut other = tenant.wanted();
    other["auth"]["scopes"] = json!(["a"]);
    tenant.sent(tenant.grant(), &other);
    assert_eq!((tenant.bearer().as_deref(), tenant.login.requests().len()), (Some("Bearer tok-second-token"), 2));
    let mut swapped = tenant.wanted();
    swapped["auth"]["client_id"] = json!("client_secret");
    tenant.sent(tenant.grant(), &swapped);
    assert_eq!(tenant.login.requests().len(), 3);
}

#[test]
fn a_token_that_has_no_time_left_is_not_kept() {
    let tenant = Tenant::new();
    tenant.login.on("/token").reply(oauth2::token("tok-for-one-call", 0));
    for n in 1..=3 {
        assert_eq!(tenant.sent(tenant.grant(), &tenant.wanted())["status"], 200);
        assert_eq!(tenant.login.requests().len(), n);
    }
}

#[test]
fn a_kept_token_that_is_refused_is_replaced_once() {
    let tenant = Tenant::new();
    tenant.login.on("/token").reply(oauth2::token("tok-revoked-soon", 3600)).reply(oauth2::token("tok-replacement", 3600));
    tenant.model.on("/v1").reply(Reply::text(200, "well")).reply(Reply::echo_headers(401)).reply(Reply::text(200, "well again"));
    let mut posted = tenant.wanted();
    posted["method"] = json!("POST");
    posted["body"] = json!("the body");
    tenant.sent(tenant.grant(), &posted);
    let said = tenant.sent(tenant.grant(), &posted);
    assert_eq!((&said["status"], &said["body"]), (&json!(200), &json!("well again")));
    let bodies: Vec<String> = tenant.model.requests().iter().map(Received::text).collect();
    assert_eq!(bodies, ["the body"; 3]);
    assert_eq!((tenant.bearer().as_deref(), tenant.login.requests().len()), (Some("Bearer tok-replacement"), 2));

    // A refusal of a token that is fresh is an answer, and the token is not kept.
    let tenant = Tenant::new();
    tenant.login.on("/token").reply(oauth2::token("tok-never-good-1", 3600));
    tenant.model.otherwise(|_| Reply::echo_headers(401));
    for n in 1..=2 {
        assert_eq!(tenant.sent(tenant.grant(), &tenant.wanted())["status"], 401);
        assert_eq!((tenant.model.requests().len(), tenant.login.requests().len()), (n, n));
    }
}

#[test]
fn a_service_accounts_assertion_is_exchanged_for_a_token() {
    let tenant = Tenant::new();
    tenant.login.on("/token").reply(oauth2::token("tok-of-the-robot", 3599));
    let wanted =
        json!({"path": "/v1", "auth": {"scheme": "gcp-jwt", "service_account": "service_account", "scopes": ["https://a.example/scope"]}});
    for _ in 0..2 {
        assert_eq!(tenant.sent(tenant.grant(), &wanted)["status"], 200);
        assert_eq!(tenant.bearer().as_deref(), Some("Bearer tok-of-the-robot"));
    }
    let asked = tenant.login.requests();
    assert_eq!(asked.len(), 1);
    let body = asked[0].text();
    assert!(body.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey"), "{body}");

    // An assertion that comes back is as secret as a key.
    let tenant = Tenant::new();
    tenant.login.on("/token").handle(|received| oauth2::error(400, "invalid_grant", &received.text()));
    let said = tenant.sent(tenant.grant(), &wanted);
    assert!(said["kind"] == "key" && said["error"].as_str().unwrap().contains("assertion=[redacted]"), "{said}");
}

#[test]
fn a_token_comes_from_where_it_may_and_from_nowhere_else() {
    let tenant = Tenant::new();
    tenant.login.otherwise(|_| oauth2::token("tok-en-for-thieves", 3600));
    let elsewhere = Upstream::start();
    // What the configuration does not name, the guest may not name, though the host be allowed.
    for url in [
        format!("{}/other", tenant.login.url()),
        format!("{}?x=y", tenant.url()),
        format!("{}/token", elsewhere.url()),
        format!("http://user@{}/token", tenant.login.address()),
        "http://169.254.169.254/latest".into(),
        "file:///etc/passwd".into(),
        String::new(),
    ] {
        let mut wanted = tenant.wanted();
        wanted["auth"]["token_url"] = json!(url);
        assert_eq!(tenant.sent(tenant.grant(), &wanted)["kind"], "refused", "{url}");
    }
    // What the administrator does not allow, the configuration may not name, and no kept token is used.
    assert_eq!(tenant.sent(tenant.grant(), &tenant.wanted())["status"], 200);
    let before = (tenant.login.requests().len(), tenant.model.requests().len());
    let robot = json!({"path": "/v1", "auth": {"scheme": "gcp-jwt", "service_account": "service_account", "scopes": []}});
    for wanted in [tenant.wanted(), robot] {
        let mut grant = tenant.grant();
        let hosts = Arc::make_mut(&mut grant.token_hosts);
        hosts.allowed = AllowList::parse("login.example").unwrap();
        let said = tenant.sent(grant.clone(), &wanted);
        assert!(said["kind"] == "refused" && said["error"].as_str().unwrap().contains("may not be fetched"), "{said}");
        // Allowed by a wildcard, it must have a public address.
        let hosts = Arc::make_mut(&mut grant.token_hosts);
        hosts.allowed = AllowList::parse("*").unwrap();
        let mut scoped = wanted.clone();
        scoped["auth"]["scopes"] = json!(["not-kept-yet"]);
        let said = tenant.sent(grant, &scoped);
        assert!(said["kind"] == "refused" && said["error"].as_str().unwrap().contains("loopback"), "{said}");
    }
    assert_eq!((tenant.login.requests().len(), tenant.model.requests().len()), before);
    assert_eq!(elsewhere.connections_total(), 0);
}

#[test]
fn a_token_endpoint_that_gives_no_token_is_told_apart() {
    let elsewhere = Upstream::start();
    let location = format!("{}/token", elsewhere.url());
    for (reply, kind, words) in [
        (oauth2::error(401, "invalid_client", "AADSTS7000215: Invalid client secret provided."), "key", "invalid_client: AADSTS7000215"),
        (Reply::redirect(307, &location), "key", "status 307"),
        (pg_llm_upstream::openai::html(200), "key", "RFC 6749"),
        (Reply::json(200, json!({"access_token": "tok-en\r\nx-injected: yes"})), "key", "header can carry"),
        (Reply::json(200, json!({"token_type": "mac", "access_token": "tok-en-of-another-kind"})), "key", "Bearer"),
        (oauth2::error(503, "temporarily_unavailable", "later"), "connect", "status 503: temporarily_unavailable: later"),
        (oauth2::error(429, "slow_down", "later"), "connect", "status 429"),
        (Reply::endless("application/json", " "), "too-large", "65536 bytes"),
        (Reply::gzip_bomb(10), "too-large", "65536 bytes"),
        (oauth2::token("tok-en-cut-short", 3600).truncate(20), "connect", "token endpoint"),
        (Reply::reset(), "connect", "token endpoint"),
        (Reply::malformed_status_line(), "connect", "token endpoint"),
    ] {
        let tenant = Tenant::new();
        tenant.login.on("/token").reply(reply);
        let said = tenant.sent(tenant.grant(), &tenant.wanted());
        assert_eq!(said["kind"], kind, "{said}");
        assert!(said["error"].as_str().unwrap().contains(words), "{words}: {said}");
        assert_eq!((tenant.login.requests().len(), tenant.model.connections_total()), (1, 0), "{said}");
    }
    assert_eq!(elsewhere.connections_total(), 0);
    // It has the secret, and may say it: in any of its usual forms.
    for echo in [|r: &Received| r.text(), |_: &Received| CLIENT_SECRET.to_owned(), |_: &Received| CLIENT_SECRET.replace('/', "\\/")] {
        let tenant = Tenant::new();
        tenant.login.on("/token").handle(move |received| oauth2::error(400, "invalid_request", &echo(received)));
        let said = tenant.sent(tenant.grant(), &tenant.wanted());
        assert!(said["error"].as_str().unwrap().contains("[redacted]"), "{said}");
    }
}

#[test]
fn waiting_for_a_token_ends_as_any_wait_does() {
    for reply in [Reply::hang(), oauth2::token("tok-en-that-hangs", 3600).hang_after(10)] {
        let tenant = Tenant::new();
        tenant.login.on("/token").reply(reply.clone());
        let stop = StopSwitch::new().unwrap();
        let grant = Grant { interrupt: Arc::new(stop.clone()), ..tenant.grant() };
        let (provider, asked) = (tenant.provider.clone(), request("requests", &json!([tenant.wanted()]).to_string()));
        let call = thread::spawn(move || provider.complete(grant, &asked).result);
        assert!(tenant.login.wait_for_requests(1, LONG));
        stop.throw();
        assert!(matches!(call.join().unwrap(), Err(CallError::Stopped)));
        assert!(tenant.login.wait_until_closed(LONG));

        tenant.login.on("/token").reply(reply);
        let grant = Grant { deadline: Instant::now() + Duration::from_millis(100), ..tenant.grant() };
        let asked = request("requests", &json!([tenant.wanted()]).to_string());
        assert!(matches!(tenant.provider.complete(grant, &asked).result, Err(CallError::TimedOut)));
        assert_eq!(tenant.model.connections_total(), 0);
    }
}

#[test]
fn requests_for_tokens_are_requests_of_the_call() {
    let tenant = Tenant::new();
    tenant.login.otherwise(|_| oauth2::token("tok-for-one-call", 0));
    let mut grant = tenant.grant();
    grant.limits = Limits { http_requests: 3, ..grant.limits };
    let wanted = json!([tenant.wanted(), tenant.wanted()]);
    let outcome = tenant.provider.complete(grant, &request("requests", &wanted.to_string()));
    assert_eq!(outcome.usage.http_requests, 3);
    let results: Value = serde_json::from_str(&text(outcome)).unwrap();
    assert_eq!((&results[0]["status"], &results[1]["kind"]), (&json!(200), &json!("too-large")), "{results}");
    assert_eq!((tenant.login.requests().len(), tenant.model.requests().len()), (2, 1));
}

#[test]
fn a_token_is_redacted_however_it_comes_back() {
    let tenant = Tenant::new();
    let token = "tok-en/with+signs=";
    tenant.login.on("/token").reply(oauth2::token(token, 3600));
    for body in [token.to_owned(), token.replace('/', "\\/"), "tok-en%2Fwith%2Bsigns%3D".to_owned()] {
        for reply in [Reply::text(200, &body).header("x-echo", token), Reply::text(200, &body).split(1), Reply::text(500, &body).gzip()] {
            tenant.model.on("/v1").reply(reply);
            let said = tenant.sent(tenant.grant(), &tenant.wanted());
            assert_eq!(said["body"], "[redacted]", "{said}");
        }
    }
}
