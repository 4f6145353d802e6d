//! Signed requests, checked as the service that is called checks them: from what it received and the secret that it knows.

use ring::{digest, hmac};

use crate::Received;

/// Whether the `authorization` of a request, by AWS Signature Version 4 or Tencent Cloud's TC3-HMAC-SHA256, is what `secret` makes of it.
///
/// # Errors
/// What is not as it must be.
pub fn check(received: &Received, secret: &str) -> Result<(), String> {
    let header = received.header("authorization").ok_or("no authorization")?;
    let (algorithm, members) = header.split_once(' ').ok_or("no algorithm")?;
    let member = |name: &str| {
        let found = members.split(", ").find_map(|member| member.strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| format!("no {name}"))
    };
    let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    let (key, stamp, path, must) = match algorithm {
        "AWS4-HMAC-SHA256" => (format!("AWS4{secret}"), "x-amz-date", encoded_again(path), &["host", "x-amz-date"][..]),
        "TC3-HMAC-SHA256" => (format!("TC3{secret}"), "x-tc-timestamp", "/".to_owned(), &["content-type", "host", "x-tc-action"][..]),
        other => return Err(format!("algorithm {other}")),
    };
    let names = member("SignedHeaders")?;
    let signed: Vec<&str> = names.split(';').collect();
    let all = received.names();
    let owed = all.iter().map(String::as_str).filter(|name| name.starts_with("x-amz-")).chain(must.iter().copied());
    if let Some(name) = owed.into_iter().find(|name| !signed.contains(name)) {
        return Err(format!("{name} is not signed"));
    }
    let mut headers = String::new();
    for name in &signed {
        let value = received.header(name).ok_or_else(|| format!("{name} was not sent"))?;
        let value = if algorithm.starts_with("TC3") { value.to_lowercase() } else { value.to_owned() };
        headers.extend([name, ":", &value, "\n"]);
    }
    let mut parameters: Vec<&str> = query.split('&').collect();
    parameters.sort_unstable();
    let request = [received.method.as_str(), &path, &parameters.join("&"), &headers, names, &sha256(&received.body)].join("\n");
    let (_, scope) = member("Credential")?.split_once('/').ok_or("no scope")?;
    let to_sign = [algorithm, received.header(stamp).ok_or("no time")?, scope, &sha256(request.as_bytes())].join("\n");
    let parts = scope.split('/').chain([to_sign.as_str()]);
    let signature =
        parts.fold(key.into_bytes(), |key, part| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec());
    if hex(&signature) == member("Signature")? { Ok(()) } else { Err(format!("another signature than that of\n{request}")) }
}

/// As every service of AWS but S3 has it.
fn encoded_again(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect::<Vec<_>>().concat()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// AWS's `get-vanilla`.
    fn vanilla() -> Received {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
                             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z"), ("authorization", authorization)];
        Received {
            method: "GET".into(),
            target: "/".into(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: Vec::new(),
            connection: 1,
            at: Instant::now(),
        }
    }

    #[test]
    fn a_signature_is_of_one_request_and_one_secret() {
        const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        assert_eq!(check(&vanilla(), SECRET), Ok(()));
        check(&vanilla(), "another").unwrap_err();
        check(&Received { method: "POST".into(), ..vanilla() }, SECRET).unwrap_err();
        check(&Received { target: "/x".into(), ..vanilla() }, SECRET).unwrap_err();
        check(&Received { target: "/?x=y".into(), ..vanilla() }, SECRET).unwrap_err();
        check(&Received { body: b"x".to_vec(), ..vanilla() }, SECRET).unwrap_err();
        for (at, value) in [(0, "evil.example"), (1, "20150830T123601Z"), (2, "Bearer x")] {
            let mut received = vanilla();
            received.headers[at].1 = value.into();
            check(&received, SECRET).unwrap_err();
        }
        let mut received = vanilla();
        received.headers.push(("X-Amz-Target".into(), "unsigned".into()));
        assert_eq!(check(&received, SECRET), Err("x-amz-target is not signed".into()));
    }
}
