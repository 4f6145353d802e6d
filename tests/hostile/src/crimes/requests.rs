//! Sends whatever requests the test wants sent, and tells what became of each.
//!
//! `prompt` is a list of `{"method", "path", "headers": [[name, value]], "body_bytes", "repeat", "auth": {...}}`. `auth` names a
//! `scheme` and what that has in the contract; without a scheme it is a header: `{"key", "name", "prefix", "optional"}`.

use pg_llm_guest::bindings::provider::pg_llm::guest::http;
use pg_llm_guest::http::{Auth, AwsSigv4Auth, GcpJwtAuth, HeaderAuth, Method, Oauth2ClientCredentialsAuth, TencentTc3Auth};
use pg_llm_guest::prelude::*;

use crate::loot;

pub(crate) fn commit(prompt: &str) -> Result<Answer, Failure> {
    let wanted: Vec<Value> = pg_llm_guest::serde_json::from_str(prompt).map_err(|e| Failure::invalid(e.to_string()))?;
    let mut results = Vec::new();
    for wanted in &wanted {
        let request = request(wanted);
        for _ in 0..wanted["repeat"].as_u64().unwrap_or(1) {
            results.push(send(&request));
        }
    }
    loot::json(&Value::Array(results))
}

fn request(wanted: &Value) -> HttpRequest {
    let method = match wanted["method"].as_str() {
        Some("POST") => Method::Post,
        Some("PUT") => Method::Put,
        Some("PATCH") => Method::Patch,
        Some("DELETE") => Method::Delete,
        _ => Method::Get,
    };
    let mut request = HttpRequest::new(method, wanted["path"].as_str().unwrap_or("/"));
    for header in wanted["headers"].as_array().into_iter().flatten() {
        request = request.header(text(&header[0]), text(&header[1]));
    }
    request.body = vec![b'x'; usize::try_from(wanted["body_bytes"].as_u64().unwrap_or(0)).unwrap_or(0)];
    if let Some(body) = wanted["body"].as_str() {
        request.body = body.as_bytes().to_vec();
    }
    if let Value::Object(_) = &wanted["auth"] {
        request = request.auth(auth(&wanted["auth"]));
    }
    request
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn auth(wanted: &Value) -> Auth {
    let scopes = || wanted["scopes"].as_array().into_iter().flatten().map(text).collect();
    match wanted["scheme"].as_str() {
        Some("aws-sigv4") => Auth::AwsSigv4(AwsSigv4Auth {
            access_key_id: text(&wanted["access_key_id"]),
            secret_access_key: text(&wanted["secret_access_key"]),
            session_token: wanted["session_token"].as_str().map(str::to_owned),
            region: text(&wanted["region"]),
            service: text(&wanted["service"]),
        }),
        Some("tencent-tc3") => Auth::TencentTc3(TencentTc3Auth {
            secret_id: text(&wanted["secret_id"]),
            secret_key: text(&wanted["secret_key"]),
            service: text(&wanted["service"]),
        }),
        Some("oauth2-client-credentials") => Auth::Oauth2ClientCredentials(Oauth2ClientCredentialsAuth {
            client_id: text(&wanted["client_id"]),
            client_secret: text(&wanted["client_secret"]),
            token_url: text(&wanted["token_url"]),
            scopes: scopes(),
        }),
        Some("gcp-jwt") => Auth::GcpJwt(GcpJwtAuth { service_account: text(&wanted["service_account"]), scopes: scopes() }),
        _ => Auth::Header(HeaderAuth {
            key: text(&wanted["key"]),
            name: text(&wanted["name"]),
            prefix: text(&wanted["prefix"]),
            optional: wanted["optional"] == true,
        }),
    }
}

fn send(request: &HttpRequest) -> Value {
    let response = match http::send(request) {
        Ok(response) => response,
        Err(error) => return json!({ "kind": kind(&error), "error": error.to_string() }),
    };
    let mut body = Vec::new();
    let end = loop {
        match response.read(u32::MAX) {
            Ok(bytes) if bytes.is_empty() => break Value::Null,
            Ok(bytes) => body.extend(bytes),
            Err(error) => break kind(&error).into(),
        }
    };
    let headers: Vec<Value> = response.headers().iter().map(|h| json!([h.name, h.value])).collect();
    json!({ "status": response.status(), "headers": headers, "body": String::from_utf8_lossy(&body), "end": end })
}

fn kind(error: &http::Error) -> &'static str {
    match error {
        http::Error::Refused(_) => "refused",
        http::Error::Key(_) => "key",
        http::Error::Connect(_) => "connect",
        http::Error::Timeout => "timeout",
        http::Error::Broken(_) => "broken",
        http::Error::TooLarge(_) => "too-large",
        http::Error::Cancelled => "cancelled",
    }
}
