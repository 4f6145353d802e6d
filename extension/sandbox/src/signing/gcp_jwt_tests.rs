use super::*;
use crate::signing::encoding::percent_decode;

const KEY: &str = pg_llm_upstream::oauth2::RSA_KEY;

/// A.2 of RFC 7515: key, text and signature.
#[test]
fn rs256_signs_as_rfc_7515_says() {
    let text = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    assert_eq!(
        base64url(&rs256(KEY, text.as_bytes()).unwrap()),
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4\
         BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv\
         hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
}

fn json(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut key = pg_llm_upstream::oauth2::service_account("https://oauth2.googleapis.com/token");
    change(&mut key);
    key.to_string().into_bytes()
}

#[test]
fn an_assertion_says_who_for_what_and_until_when() {
    let (key, scopes) = (json(|_| ()), ["https://www.googleapis.com/auth/cloud-platform".to_owned()]);
    let account = ServiceAccount::new(&key, &scopes).unwrap();
    let request = account.request(1_700_000_000).unwrap();
    let body = std::str::from_utf8(&request.body).unwrap();
    let (grant, assertion) = body.split_once("&assertion=").unwrap();
    assert_eq!(percent_decode(grant.as_bytes()), b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(request.assertion.unwrap().expose(), assertion.as_bytes());
    let (input, signature) = assertion.rsplit_once('.').unwrap();
    assert_eq!(base64url(&rs256(KEY, input.as_bytes()).unwrap()), signature);
    let header = r#"{"alg":"RS256","kid":"a-key-id","typ":"JWT"}"#;
    let claims = r#"{"aud":"https://oauth2.googleapis.com/token","exp":1700003600,"iat":1700000000,"iss":"robot@project.iam.gserviceaccount.com","scope":"https://www.googleapis.com/auth/cloud-platform"}"#;
    assert_eq!(input, format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes())));
}

#[test]
fn a_tokens_binding_is_to_key_and_scopes() {
    let (key, other) = (json(|_| ()), json(|key| key["private_key_id"] = "another".into()));
    let binding = |key, scope: &str| ServiceAccount::new(key, &[scope.to_owned()]).unwrap().binding();
    assert_eq!(binding(&key, "a"), binding(&key, "a"));
    assert_ne!(binding(&key, "a"), binding(&key, "b"));
    assert_ne!(binding(&key, "a"), binding(&other, "a"));
}

#[test]
fn the_key_may_leave_out_what_google_would_say() {
    let key = json(|key| {
        key["token_uri"].take();
        key["private_key_id"].take();
    });
    let account = ServiceAccount::new(&key, &[]).unwrap();
    assert_eq!(account.url.to_string(), TOKEN_URI);
    account.request(0).unwrap();
}

#[test]
fn a_key_that_cannot_sign_is_refused_and_not_quoted() {
    let all = |key: &[u8]| ServiceAccount::new(key, &[]).and_then(|account| account.request(0).map(|_| ()));
    let pkcs1 = KEY.replace("PRIVATE KEY", "RSA PRIVATE KEY");
    let cut: String =
        KEY.lines().filter(|line| !line.ends_with("GFzQ")).take(5).chain(["-----END PRIVATE KEY-----"]).collect::<Vec<_>>().join("\n");
    for key in [
        b"".to_vec(),
        b"sk-s3cr3t".to_vec(),
        b"\xff".to_vec(),
        b"[\"s3cr3t\"]".to_vec(),
        b"{\"s3cr3t\": 1}".to_vec(),
        json(|key| key["client_email"] = 7.into()),
        json(|key| key["private_key"] = "s3cr3t".into()),
        json(|key| key["private_key"] = serde_json::json!({"s3cr3t": 1})),
        json(|key| key["private_key"] = pkcs1.into()),
        json(|key| key["private_key"] = cut.into()),
        json(|key| key["token_uri"] = "ftp://s3cr3t".into()),
        json(|key| key["token_uri"] = "s3cr3t".into()),
    ] {
        let Err(SigningError::Credentials(why)) = all(&key) else { panic!("{}", String::from_utf8_lossy(&key)) };
        assert!(!why.contains("s3cr3t") && !why.contains("MII"), "{why}");
    }
}
