//! Requests that the host signs, and access tokens that it fetches: from SQL. The schemes themselves are tested in `extension/sandbox`.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::{Cluster, DEADLINE, Database, Running, Settings, db_error, eventually};
use pg_llm_upstream::{Certificate, Reply, Upstream, oauth2, openai, signatures};
use serde_json::{Value, json};

use crate::hostile::Victim;

const ID: &str = "11111111-2222-3333-4444-555555555555";
/// Letters that occur nowhere else, and some that forms encode.
const SECRET: &str = "Vb8Q~s3cr3t/of+the=client";
const TOKEN: &str = "eyJ0-tok3n-Wq7Rz5Kp";

/// An Azure resource that wants a token of Entra's.
struct Tenant {
    model: Upstream,
    login: Upstream,
}

impl Tenant {
    fn new() -> Self {
        Self::with_login(Upstream::start())
    }

    fn with_login(login: Upstream) -> Self {
        let tenant = Self { model: Upstream::start(), login };
        tenant.model.otherwise(|_| openai::completion("well"));
        tenant.login.on("/tenant/token").reply(oauth2::token(TOKEN, 3599));
        tenant
    }

    fn config(&self) -> Value {
        json!({
            "api_endpoint": self.model.url(),
            "model_name": "gpt",
            "keys": {"client_id": ID, "client_secret": SECRET},
            "oauth2_token_url": format!("{}/tenant/token", self.login.url()),
            "oauth2_scopes": ["https://cognitiveservices.azure.com/.default"],
            "max_attempts": 1,
        })
    }

    fn add(&self, client: &mut Client) -> Result<u64, pg_llm_tests::postgres::Error> {
        add(client, &self.config())
    }

    fn bearer(&self) -> Option<String> {
        self.model.last_request()?.header("authorization").map(str::to_owned)
    }
}

fn add(client: &mut Client, config: &Value) -> Result<u64, pg_llm_tests::postgres::Error> {
    client.execute("SELECT pg_llm_add_model('azure-openai', 'm', NULL, $1)", &[config])
}

fn chat(client: &mut Client) -> Result<String, pg_llm_tests::postgres::Error> {
    client.query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).map(|row| row.get(0))
}

/// That a statement failed so, and without a secret in any of its words.
#[track_caller]
fn failed<T>(result: Result<T, pg_llm_tests::postgres::Error>, code: &str) -> DbError {
    let error = db_error(result);
    assert_eq!(error.code().code(), code, "{error:?}");
    let words = format!("{error:?}");
    assert!(![SECRET, TOKEN, "s3cr3t", "tok3n"].iter().any(|secret| words.contains(secret)), "{words}");
    error
}

/// A role that may add models, and its session.
fn adder(database: &Database<'_>) -> (String, Client) {
    let name = database.create_role();
    let grant = format!("GRANT EXECUTE ON FUNCTION pg_llm_add_model(text, text, text, jsonb, bytea, text) TO {name}");
    database.superuser().batch_execute(&grant).unwrap();
    let client = database.connect_as(&name);
    (name, client)
}

#[test]
fn azure_is_asked_with_a_token_that_is_fetched_once_a_session() {
    let database = Cluster::shared().database();
    let (tenant, mut client) = (Tenant::new(), database.superuser());
    tenant.add(&mut client).unwrap();
    for _ in 0..3 {
        assert_eq!(chat(&mut client).unwrap(), "well");
        assert_eq!(tenant.bearer(), Some(format!("Bearer {TOKEN}")));
    }
    let asked = tenant.login.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].text(),
        format!(
            "grant_type=client_credentials&client_id={ID}&client_secret=Vb8Q~s3cr3t%2Fof%2Bthe%3Dclient\
             &scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
        )
    );
    assert!(!tenant.model.requests().iter().any(|received| received.contains("s3cr3t") || received.contains(ID)));
    let mut another = database.superuser();
    assert_eq!(chat(&mut another).unwrap(), "well");
    assert_eq!(tenant.login.requests().len(), 2);

    // With another secret, the token of the old one is nobody's.
    client.batch_execute("SELECT pg_llm_set_key('m', 'client_secret', 'another one')").unwrap();
    tenant.login.on("/tenant/token").reply(oauth2::error(401, "invalid_client", "no"));
    failed(chat(&mut client), "38000");
    failed(chat(&mut another), "38000");
}

#[test]
fn a_revoked_token_is_replaced_within_the_call() {
    let database = Cluster::shared().database();
    let (tenant, mut client) = (Tenant::new(), database.superuser());
    tenant.add(&mut client).unwrap();
    assert_eq!(chat(&mut client).unwrap(), "well");
    tenant.login.on("/tenant/token").reply(oauth2::token("another-token", 3599));
    tenant.model.next(openai::error(401, "auth", "expired", &format!("{TOKEN} has expired")));
    assert_eq!(chat(&mut client).unwrap(), "well");
    assert_eq!(tenant.bearer().as_deref(), Some("Bearer another-token"));
}

#[test]
fn neither_secret_nor_token_is_in_an_answer_an_error_or_the_log() {
    let settings = Settings::for_models().lines(&["log_min_messages = debug5", "log_statement = none", "log_min_error_statement = panic"]);
    let cluster = Cluster::start(&settings);
    let database = cluster.database();
    let (tenant, mut client) = (Tenant::new(), database.superuser());
    tenant.add(&mut client).unwrap();
    for reply in [openai::completion(TOKEN), openai::completion(&format!("<{TOKEN}>")).split(1)] {
        tenant.model.next(reply);
        let said = chat(&mut client).unwrap();
        assert!(said.contains("[redacted]") && !said.contains("tok3n"), "{said}");
    }
    for reply in [
        Reply::echo_headers(403),
        openai::error(400, TOKEN, TOKEN, TOKEN).header("x-request-id", TOKEN),
        openai::html(502).header("server", TOKEN),
        Reply::status(503).reason(TOKEN),
        Reply::raw(format!("HTTP/1.1 {TOKEN}\r\n\r\n")),
    ] {
        tenant.model.next(reply);
        db_error(chat(&mut client).inspect_err(|error| assert!(!format!("{error:?}").contains("tok3n"), "{error:?}")));
    }
    // The token endpoint was told the secret, and may say it again.
    client.batch_execute("SELECT pg_llm_set_key('m', 'client_id', 'changed, so that no token is kept')").unwrap();
    for (status, state) in [(400, "38000"), (401, "38000"), (500, "08001"), (200, "38000")] {
        tenant.login.on("/tenant/token").handle(move |received| oauth2::error(status, "invalid_client", &received.text()));
        failed(chat(&mut client), state);
        tenant.login.on("/tenant/token").handle(move |_| oauth2::error(status, SECRET, &format!("{}{SECRET}", "x".repeat(280))));
        failed(chat(&mut client), state);
    }
    let log = cluster.log();
    assert!(!log.contains("s3cr3t") && !log.contains("tok3n"));
    cluster.assert_no_crash();
}

#[test]
fn wrong_credentials_are_told_in_the_token_endpoints_words() {
    let database = Cluster::shared().database();
    let (tenant, mut client) = (Tenant::new(), database.superuser());
    tenant.add(&mut client).unwrap();
    tenant.login.on("/tenant/token").reply(oauth2::error(401, "invalid_client", "AADSTS7000215: Invalid client secret provided."));
    let error = failed(chat(&mut client), "38000");
    let words = error.message();
    assert!(
        words.contains("token endpoint") && words.contains("status 401: invalid_client: AADSTS7000215: Invalid client secret"),
        "{words}"
    );
    assert!(error.detail().unwrap().contains("authentication"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("pg_llm_set_key('m', 'NAME'")), "{error:?}");
    client.batch_execute("SELECT pg_llm_set_key('m', 'client_secret', NULL)").unwrap();
    assert!(failed(chat(&mut client), "38000").message().contains("the model has no key \"client_secret\""));
    // Not there, or not now: an error of the connection, which is tried again.
    client.batch_execute(&format!("SELECT pg_llm_set_key('m', 'client_secret', '{SECRET}')")).unwrap();
    tenant.login.on("/tenant/token").reply(oauth2::error(503, "temporarily_unavailable", "")).reply(oauth2::token(TOKEN, 3599));
    let retried = client.query_one("SELECT pg_llm_chat('m', 'Hello', '{\"max_attempts\": 2}')", &[]).unwrap();
    assert_eq!(retried.get::<_, String>(0), "well");
    assert!(tenant.model.requests().len() == 1);
}

#[test]
fn a_secret_is_sent_only_where_the_certificate_is_right() {
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    for (certificate, right) in
        [(Certificate::Trusted, true), (Certificate::Untrusted, false), (Certificate::WrongName, false), (Certificate::Expired, false)]
    {
        let tenant = Tenant::with_login(Upstream::start_tls(certificate));
        tenant.add(&mut client).unwrap();
        if right {
            assert_eq!(chat(&mut client).unwrap(), "well");
            assert_eq!(tenant.bearer(), Some(format!("Bearer {TOKEN}")));
        } else {
            let error = failed(chat(&mut client), "08001");
            assert!(error.message().contains("token endpoint https://"), "{error:?}");
            assert!(tenant.login.requests().is_empty() && tenant.model.connections_total() == 0);
        }
    }
}

#[test]
fn a_token_comes_from_where_the_administrator_lets_it() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let (_, mut role) = adder(&database);
    // Loads the library, which has the setting.
    role.batch_execute("SELECT pg_llm_add_model('mock', 'another')").unwrap();
    let (tenant, other) = (Tenant::new(), Tenant::new());
    let allow = |hosts: &str, role: &mut Client| {
        cluster.set(&format!("pg_llm.allowed_hosts = '{hosts}'"));
        assert!(eventually(DEADLINE, || role.query_one("SHOW pg_llm.allowed_hosts", &[]).unwrap().get::<_, String>(0) == hosts));
    };
    let (model, login) = (tenant.model.url(), tenant.login.url());
    allow(&model, &mut role);
    let error = failed(tenant.add(&mut role), "42501");
    assert!(error.message().contains(&tenant.login.address().to_string()), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("pg_llm.allowed_hosts")), "{error:?}");
    for url in [
        "http://169.254.169.254/token",
        "https://login.microsoftonline.com.evil.example/token",
        "https://evil.example/login.microsoftonline.com",
    ] {
        let mut config = tenant.config();
        config["oauth2_token_url"] = json!(url);
        failed(add(&mut role, &config), "42501");
    }
    for url in ["no url", "ftp://x/token", "https://user:Vb8Q~s3cr3t@login.example/token"] {
        let mut config = tenant.config();
        config["oauth2_token_url"] = json!(url);
        failed(add(&mut role, &config), "22023");
    }

    allow(&format!("{model} {login}"), &mut role);
    tenant.add(&mut role).unwrap();
    assert_eq!(chat(&mut role).unwrap(), "well");
    // Taken away, it is at the next call, though a token be kept.
    allow(&model, &mut role);
    let error = failed(chat(&mut role), "42501");
    assert!(
        error.message().contains("access token") && error.hint().is_some_and(|hint| hint.contains("pg_llm.allowed_hosts")),
        "{error:?}"
    );
    // Allowed by a wildcard, its address must be public.
    allow("*", &mut role);
    failed(chat(&mut role), "42501");
    assert_eq!((tenant.login.requests().len(), tenant.model.requests().len()), (1, 1));

    // Without a list: where a superuser said, and known places.
    allow("", &mut role);
    failed(other.add(&mut role), "42501");
    let mut config = other.config();
    (config["api_endpoint"], config["oauth2_token_url"]) =
        (json!("https://api.openai.com/v1"), json!("https://login.microsoftonline.com/t/oauth2/v2.0/token"));
    add(&mut role, &config).unwrap();
    let mut admin = database.superuser();
    other.add(&mut admin).unwrap();
    assert_eq!(chat(&mut role).unwrap(), "well", "it is still the role's");
}

/// As a key does not follow a model to another endpoint, it does not to another token endpoint.
#[test]
fn an_owner_cannot_have_a_secret_sent_elsewhere() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let (_, mut role) = adder(&database);
    let (tenant, thief) = (Tenant::new(), Upstream::start());
    thief.otherwise(|_| oauth2::token("mine", 3600));
    role.batch_execute("SELECT pg_llm_add_model('mock', 'm')").unwrap();
    tenant.add(&mut database.superuser()).unwrap();
    assert_eq!(chat(&mut role).unwrap(), "well");
    let mut config = tenant.config();
    config["oauth2_token_url"] = json!(format!("{}/token", thief.url()));
    config.as_object_mut().unwrap().remove("keys");
    failed(add(&mut role, &config), "42501");
    cluster.set(&format!("pg_llm.allowed_hosts = '{} {} {}'", tenant.model.url(), tenant.login.url(), thief.url()));
    assert!(eventually(DEADLINE, || add(&mut role, &config).is_ok()));
    assert!(failed(chat(&mut role), "38000").message().contains("no key"));
    assert!(thief.requests().is_empty());
    // The same place with another temperature keeps them.
    let mut config = tenant.config();
    add(&mut role, &config).unwrap();
    config.as_object_mut().unwrap().remove("keys");
    config["temperature"] = json!(0.5);
    add(&mut role, &config).unwrap();
    assert_eq!(chat(&mut role).unwrap(), "well");
}

#[test]
fn a_statement_that_waits_for_a_token_can_be_cancelled() {
    let database = Cluster::shared().database();
    for reply in [Reply::hang(), oauth2::token(TOKEN, 3600).hang_after(5)] {
        let (tenant, mut client) = (Tenant::new(), database.superuser());
        tenant.login.on("/tenant/token").reply(reply);
        tenant.add(&mut client).unwrap();
        let call = Running::start(client, "SELECT pg_llm_chat('m', 'Hello')");
        assert!(tenant.login.wait_for_requests(1, DEADLINE));
        call.cancel();
        failed(call.finish(DEADLINE).result, "57014");
        assert!(tenant.login.wait_until_closed(DEADLINE));

        let mut client = database.superuser();
        client.batch_execute("SET statement_timeout = '200ms'").unwrap();
        failed(chat(&mut client), "57014");
        client.batch_execute("SET statement_timeout = 0; SET pg_llm.timeout_ms = 200").unwrap();
        failed(chat(&mut client), "08006");
        assert_eq!(tenant.model.connections_total(), 0);
    }
    database.cluster().assert_no_crash();
}

/// Has the hostile guest send one request; what became of it.
#[track_caller]
fn sent(victim: &mut Victim, wanted: &Value) -> Value {
    let results: Value = serde_json::from_str(&victim.answer("requests", &json!([wanted]).to_string())).unwrap();
    results[0].clone()
}

#[test]
fn a_guest_has_its_requests_signed_and_learns_no_secret() {
    let upstream = Upstream::start();
    upstream.otherwise(|_| Reply::echo_headers(200));
    let mut victim = Victim::new(Some(&upstream));
    victim.hire("requests");
    let keys = "SELECT pg_llm_set_key('requests', 'id', 'AKIDEXAMPLE'), pg_llm_set_key('requests', 'secret', $1), pg_llm_set_key('requests', 'session', $2)";
    victim.client.execute(keys, &[&SECRET, &TOKEN]).unwrap();
    for (auth, algorithm) in [
        (
            json!({"scheme": "aws-sigv4", "access_key_id": "id", "secret_access_key": "secret", "session_token": "session", "region": "r", "service": "s"}),
            "AWS4-HMAC-SHA256",
        ),
        (json!({"scheme": "tencent-tc3", "secret_id": "id", "secret_key": "secret", "service": "s"}), "TC3-HMAC-SHA256"),
    ] {
        let said = sent(
            &mut victim,
            &json!({
                "method": "POST", "path": "/", "body": "{}", "auth": auth, "headers": [["content-type", "application/json"], ["x-tc-action", "Chat"]],
            }),
        );
        let received = upstream.last_request().unwrap();
        assert!(received.header("authorization").unwrap().starts_with(algorithm), "{received:?}");
        assert!(!received.contains("s3cr3t"), "{received:?}");
        assert!(said["body"].as_str().unwrap().contains(algorithm) && !said.to_string().contains("tok3n"), "{said}");
    }
    // Nor can it have one sent to where it likes, though whoever added the model may reach any place.
    let thief = Upstream::start();
    for url in [format!("{}/token", thief.url()), "https://login.microsoftonline.com/t/oauth2/v2.0/token".to_owned()] {
        let auth =
            json!({"scheme": "oauth2-client-credentials", "client_id": "id", "client_secret": "secret", "token_url": url, "scopes": []});
        let said = sent(&mut victim, &json!({"path": "/", "auth": auth}));
        assert!(said["kind"] == "refused" && said["error"].as_str().unwrap().contains("configuration"), "{said}");
    }
    let account = oauth2::service_account(&format!("{}/token", thief.url())).to_string();
    victim.client.execute("SELECT pg_llm_set_key('requests', 'robot', $1)", &[&account]).unwrap();
    let said = sent(&mut victim, &json!({"path": "/", "auth": {"scheme": "gcp-jwt", "service_account": "robot", "scopes": []}}));
    assert!(said["kind"] == "refused" && said["error"].as_str().unwrap().contains("may not be fetched"), "{said}");
    assert_eq!(thief.connections_total(), 0);
}

/// A model of this type at this upstream says `well`.
#[track_caller]
fn says_well(client: &mut Client, model_type: &str, upstream: &Upstream, mut config: Value) {
    config["api_endpoint"] = json!(upstream.url());
    client.execute("SELECT pg_llm_add_model($1, 'm', NULL, $2)", &[&model_type, &config]).unwrap();
    assert_eq!(chat(client).unwrap(), "well");
}

#[test]
fn bedrock_and_hunyuan_get_signatures_that_they_would_accept() {
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    let bedrock = Upstream::start();
    bedrock.otherwise(|_| {
        Reply::json(
            200,
            json!({
                "output": {"message": {"role": "assistant", "content": [{"text": "well"}]}}, "stopReason": "end_turn",
                "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
            }),
        )
    });
    let keys =
        json!({"access_key_id": "AKIDEXAMPLE", "access_key_secret": SECRET, "region": "us-east-1", "model_name": "anthropic.a-model-v2:0"});
    says_well(&mut client, "bedrock", &bedrock, keys.clone());
    let received = bedrock.last_request().unwrap();
    assert_eq!(received.target, "/model/anthropic.a-model-v2%3A0/converse");
    assert_eq!(signatures::check(&received, SECRET), Ok(()));
    let mut temporary = keys;
    temporary["keys"] = json!({"session_token": TOKEN});
    says_well(&mut client, "bedrock", &bedrock, temporary);
    let received = bedrock.last_request().unwrap();
    assert_eq!((received.header("x-amz-security-token"), signatures::check(&received, SECRET)), (Some(TOKEN), Ok(())));

    let hunyuan = Upstream::start();
    hunyuan.otherwise(|_| {
        Reply::json(
            200,
            json!({"Response": {
                "RequestId": "r", "Id": "1", "Created": 1, "Usage": {"PromptTokens": 1, "CompletionTokens": 1, "TotalTokens": 2},
                "Choices": [{"FinishReason": "stop", "Message": {"Role": "assistant", "Content": "well"}}],
            }}),
        )
    });
    says_well(
        &mut client,
        "hunyuan-native",
        &hunyuan,
        json!({"access_key_id": "AKIDEXAMPLE", "access_key_secret": SECRET, "model_name": "hunyuan-a13b"}),
    );
    assert_eq!(signatures::check(&hunyuan.last_request().unwrap(), SECRET), Ok(()));
}

#[test]
fn vertex_is_asked_with_a_service_accounts_token() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let mut client = database.superuser();
    let (vertex, login) = (Upstream::start(), Upstream::start());
    vertex.otherwise(|_| {
        Reply::json(
            200,
            json!({
                "candidates": [{"content": {"role": "model", "parts": [{"text": "well"}]}, "finishReason": "STOP", "index": 0}],
                "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
            }),
        )
    });
    login.on("/token").reply(oauth2::token(TOKEN, 3599));
    cluster.set(&format!("pg_llm.allowed_hosts = '{} {}'", vertex.url(), login.url()));
    let account = oauth2::service_account(&format!("{}/token", login.url())).to_string();
    let config = json!({
        "api_endpoint": vertex.url(), "model_name": "gemini-3-flash", "auth": "service-account", "project": "p", "location": "l",
        "keys": {"service_account": account},
    });
    assert!(eventually(DEADLINE, || client.execute("SELECT pg_llm_add_model('vertex', 'm', NULL, $1)", &[&config]).is_ok()));
    for _ in 0..2 {
        says_well(&mut client, "vertex", &vertex, config.clone());
        assert_eq!(vertex.last_request().unwrap().header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    }
    assert_eq!(login.requests().len(), 1);
}
