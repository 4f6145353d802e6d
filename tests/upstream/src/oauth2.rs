//! Replies of token endpoints (RFC 6749, 5), and credentials for them.

use serde_json::{Value, json};

use crate::Reply;

/// An RSA key that is no secret: RFC 7515's, of A.2, as PKCS #8 in PEM.
pub const RSA_KEY: &str = include_str!("rfc7515_a2.pem");

/// A token that is good for so many seconds.
pub fn token(token: &str, expires_in: u64) -> Reply {
    Reply::json(200, json!({"token_type": "Bearer", "expires_in": expires_in, "access_token": token})).header("cache-control", "no-store")
}

/// An error of this code, with words.
pub fn error(status: u16, code: &str, description: &str) -> Reply {
    Reply::json(status, json!({"error": code, "error_description": description}))
}

/// A Google service account's key whose tokens come from `token_uri`.
pub fn service_account(token_uri: &str) -> Value {
    json!({
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "a-key-id",
        "private_key": RSA_KEY,
        "client_email": "robot@project.iam.gserviceaccount.com",
        "token_uri": token_uri,
    })
}
