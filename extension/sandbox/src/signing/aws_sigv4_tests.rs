//! The cases of AWS's own test suite for Signature Version 4, by their names there, and what our use adds.

use super::*;

/// 2015-08-30T12:36:00Z, the suite's time.
const TIME: u64 = 1_440_938_160;
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn suite() -> Signer<'static> {
    Signer {
        access_key_id: b"AKIDEXAMPLE",
        secret_access_key: b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token: None,
        region: "us-east-1",
        service: "service",
    }
}

/// The signature of a request whose target is as the suite writes it, which need not be what a URL can hold.
fn signature(method: &str, target: &str, headers: &[(&'static str, &str)], body_hash: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let request = canonical_request(method, &canonical_path(path, true), &canonical_query(query), &headers, body_hash);
    let said = suite().authorization(&request, "", &Timestamp::new(TIME)).unwrap();
    said.rsplit_once("Signature=").unwrap().1.to_owned()
}

#[test]
fn paths_and_queries_of_the_suite_have_its_signatures() {
    let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let plain = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    for (case, method, target, expected) in [
        ("get-vanilla", "GET", "/", plain),
        ("post-vanilla", "POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("get-relative-normalized", "GET", "/example/..", plain),
        ("get-relative-relative-normalized", "GET", "/example1/example2/../..", plain),
        ("get-slash-normalized", "GET", "//", plain),
        ("get-slash-dot-slash-normalized", "GET", "/./", plain),
        ("get-slashes-normalized", "GET", "//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        ("get-space-normalized", "GET", "/example space/", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        ("get-utf8", "GET", "/ሴ", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        ("get-unreserved", "GET", &format!("/{unreserved}"), "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
        ("get-vanilla-utf8-query", "GET", "/?ሴ=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-order-encoded",
            "GET",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        (
            "get-vanilla-query-unreserved",
            "GET",
            &format!("/?{unreserved}={unreserved}"),
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
    ] {
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        assert_eq!(signature(method, target, &headers, EMPTY), expected, "{case}");
    }
}

#[test]
fn headers_of_the_suite_have_its_signatures() {
    let form = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
    let (host, date) = (("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z"));
    let get = |headers: &[(&'static str, &str)]| signature("GET", "/", headers, EMPTY);
    assert_eq!(
        get(&[host, ("my-header1", "value1"), ("my-header2", "\"a   b   c\""), date]),
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        "get-header-value-trim"
    );
    assert_eq!(
        get(&[host, ("my-header1", "value4,value1,value3,value2"), date]),
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        "get-header-value-order"
    );
    let typed = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(
        signature("POST", "/", &[("content-length", "13"), typed, host, ("x-amz-content-sha256", form), date], form),
        "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        "post-x-www-form-urlencoded"
    );
    assert_eq!(hex(&sha256(b"Param1=value1")), form);
}

fn request(method: &str, url: &str) -> Parts {
    http::Request::builder().method(method).uri(url).body(()).unwrap().into_parts().0
}

fn value<'a>(head: &'a Parts, name: &str) -> &'a str {
    head.headers[name].to_str().unwrap()
}

#[test]
fn a_whole_request_is_signed_as_the_suite_signs_it() {
    let mut head = request("GET", "https://example.amazonaws.com/");
    suite().sign(&mut head, b"", TIME).unwrap();
    assert_eq!(
        value(&head, "authorization"),
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
         Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
    assert_eq!((value(&head, "host"), value(&head, "x-amz-date")), ("example.amazonaws.com", "20150830T123600Z"));
}

#[test]
fn a_session_token_is_sent_and_signed() {
    let mut head = request("GET", "https://example.amazonaws.com/");
    let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    Signer { session_token: Some(token.as_bytes()), ..suite() }.sign(&mut head, b"", TIME).unwrap();
    assert_eq!(value(&head, "x-amz-security-token"), token);
    assert!(
        value(&head, "authorization").ends_with(
            "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"
        ),
        "get-vanilla-with-session-token"
    );
}

/// A case that AWS's SDK for Rust adds to the suite.
#[test]
fn an_encoded_path_is_encoded_once_more() {
    let url = "https://tj9n5r0m12.execute-api.us-east-1.amazonaws.com/test/@connections/JBDvjfGEIAMCERw%3D";
    let mut head = request("POST", url);
    let signer = Signer { access_key_id: b"ANOTREAL", secret_access_key: b"notrealrnrELgWzOk3IfjzDKtFBhDby", ..suite() };
    signer.sign(&mut head, b"", TIME).unwrap();
    assert!(
        value(&head, "authorization").ends_with("Signature=57d157672191bac40bae387e48bbe14b15303c001fdbb01f4abf295dccb09705"),
        "double-encode-path"
    );

    let path = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.anthropic.claude-v2%3A0/converse";
    assert_eq!(
        canonical_path(path, true),
        "/model/arn%253Aaws%253Abedrock%253Aus-east-1%253A1%253Ainference-profile%252Fus.anthropic.claude-v2%253A0/converse"
    );
    assert_eq!(canonical_path("/a//b/../c%20d", false), "/a//b/../c%20d", "S3 signs what is sent");
}

#[test]
fn what_goes_out_is_what_is_signed() {
    let mut head = request("POST", "http://127.0.0.1:8080/prefix/model/x%3A0/converse?b=2&a=%2F+1&a");
    head.headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    head.headers.insert("accept", http::HeaderValue::from_static("application/json"));
    head.headers.insert("x-amz-target", http::HeaderValue::from_static("Something"));
    Signer { service: "bedrock", ..suite() }.sign(&mut head, b"{}", TIME).unwrap();
    assert_eq!(value(&head, "host"), "127.0.0.1:8080");
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("host", "127.0.0.1:8080".to_owned()),
        ("x-amz-date", "20150830T123600Z".to_owned()),
        ("x-amz-target", "Something".to_owned()),
    ];
    let request = canonical_request("POST", "/prefix/model/x%253A0/converse", "a=&a=%2F%2B1&b=2", &headers, &hex(&sha256(b"{}")));
    let signer = Signer { service: "bedrock", ..suite() };
    let expected = signer.authorization(&request, "content-type;host;x-amz-date;x-amz-target", &Timestamp::new(TIME)).unwrap();
    assert_eq!(value(&head, "authorization"), expected);
}

#[test]
fn s3_wants_the_bodys_hash_in_a_header() {
    let mut head = request("GET", "https://bucket.s3.amazonaws.com/a%20b");
    Signer { service: "s3", ..suite() }.sign(&mut head, b"", TIME).unwrap();
    assert_eq!(value(&head, "x-amz-content-sha256"), EMPTY);
    assert!(value(&head, "authorization").contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date,"));
}

#[test]
fn what_a_guest_may_not_have_signed_is_refused() {
    let url = "https://example.amazonaws.com/";
    let long = "x".repeat(65);
    for word in ["", "us/east", "us\neast", "us east", "ü", &long] {
        for signer in [Signer { region: word, ..suite() }, Signer { service: word, ..suite() }] {
            assert!(matches!(signer.sign(&mut request("GET", url), b"", TIME), Err(SigningError::Request(_))), "{word:?}");
        }
    }
    for name in ["x-amz-date", "x-amz-security-token", "authorization"] {
        let mut head = request("GET", url);
        head.headers.insert(name, http::HeaderValue::from_static("mine"));
        assert!(matches!(suite().sign(&mut head, b"", TIME), Err(SigningError::Request(_))), "{name}");
    }
    for unfit in ["", "AK/ID", "AK ID", "AK,ID", "AKID\n"] {
        let signer = Signer { access_key_id: unfit.as_bytes(), ..suite() };
        assert!(matches!(signer.sign(&mut request("GET", url), b"", TIME), Err(SigningError::Credentials(_))), "{unfit:?}");
    }
    let signer = Signer { session_token: Some(b"token\r\nx-injected: yes"), ..suite() };
    assert!(matches!(signer.sign(&mut request("GET", url), b"", TIME), Err(SigningError::Credentials(_))));
}
