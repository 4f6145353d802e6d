//! What `secret-redact` does to texts.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use pg_llm_filter_secret_redact::SecretRedact;
use pg_llm_filter_tests::values::expand;
use pg_llm_filter_tests::{however_it_is_cut, prompt, stream};
use pg_llm_guest::filter::Channel;
use pg_llm_guest::testing::mutation::Random;

fn redacted(template: &str) -> String {
    prompt::<SecretRedact>("", &expand(template, &mut Random::new(7)).text).0
}

#[test]
fn a_secret_goes_and_what_stands_around_it_stays() {
    for (text, out) in [
        ("key {{key:AKIA:code:16}}.", "key [API_KEY]."),
        ("(`{{key:sk-ant-api03-:url:90}}`)", "(`[API_KEY]`)"),
        ("Authorization: Bearer {{jwt}}\nAccept: */*", "Authorization: Bearer [TOKEN]\nAccept: */*"),
        ("postgres://bob:{{password:any:12}}@db/app?x=1", "postgres://bob:[PASSWORD]@db/app?x=1"),
        ("{\"password\": \"{{password:signs:12}}\", \"user\": \"bob\"}", "{\"password\": \"[PASSWORD]\", \"user\": \"bob\"}"),
        ("Server=x;Password={{password:any:12}};Encrypt=true", "Server=x;Password=[PASSWORD];Encrypt=true"),
        ("password=aB3(x9Kq!z and password=ask(user)", "password=[PASSWORD] and password=ask(user)"),
        ("before\n{{pem}}\nafter", "before\n[PRIVATE_KEY]\nafter"),
        ("\"key\":\"{{pem_escaped}}\\n\",\"a\":1", "\"key\":\"[PRIVATE_KEY]\\n\",\"a\":1"),
    ] {
        assert_eq!(redacted(text), out);
        assert_eq!(prompt::<SecretRedact>("", out).0, out, "once is enough");
    }
}

#[test]
fn a_key_that_is_cut_off_does_not_escape() {
    let text = expand("{{pem}}", &mut Random::new(3)).text;
    let cut = &text[..text.find("-----END").unwrap() - 10];
    assert_eq!(prompt::<SecretRedact>("", cut).0, "[PRIVATE_KEY]");
}

#[test]
fn secrets_of_an_answer_go_however_it_is_cut() {
    let template = "Use {{key:ghp_:any:36}} or\n{{pem}}\nor `password = \"{{password:signs:12}}\"`; the password is {{human_password}}, Bearer {{jwt}}, mongodb://u:{{password:any:9}}@h/ \
                    and api_key: {{password:hex:32}}. -----BEGIN RSA PRIVATE KEY----- begins one, -----BEGIN nothing. tail -----BEG";
    let text = expand(template, &mut Random::new(5)).text;
    let out = however_it_is_cut::<SecretRedact>("", None, &text);
    assert_eq!(
        out,
        "Use [API_KEY] or\n[PRIVATE_KEY]\nor `password = \"[PASSWORD]\"`; the password is [PASSWORD], Bearer [TOKEN], mongodb://u:[PASSWORD]@h/ and api_key: [PASSWORD]. \
         -----BEGIN RSA PRIVATE KEY----- begins one, -----BEGIN nothing. tail -----BEG"
    );
}

#[test]
fn arguments_of_a_tool_stay_json() {
    let json = format!("{{\"pin\":12345678,\"note\":\"password={}\",\"n\":1}}", "hunter2222");
    let out = stream::<SecretRedact>("", Channel::ToolArguments, None, &[&json[..9], &json[9..]]).unwrap();
    assert_eq!(out, r#"{"pin":12345678,"note":"password=[PASSWORD]","n":1}"#);
}

#[test]
fn answers_and_kinds_can_be_left_out() {
    let text = expand("{{key:AKIA:code:16}} password={{password:any:12}}", &mut Random::new(9)).text;
    assert_eq!(stream::<SecretRedact>(r#"{"answers":false}"#, Channel::Text, None, &[&text]).unwrap(), text);
    assert!(prompt::<SecretRedact>(r#"{"kinds":["password"]}"#, &text).0.starts_with("AKIA"));
}
