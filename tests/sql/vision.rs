//! Images and documents: from columns, files and addresses to the provider.

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::Upstream;
use serde_json::{Value, json};

const PNG: &str = "iVBORw0KGgo=";

fn image(asked: &Asked) -> Value {
    asked.sent()["messages"][0]["content"][1]["image_url"]["url"].clone()
}

#[test]
fn a_bytea_column_is_an_image() {
    let mut asked = Asked::echo();
    let photos = "CREATE TABLE photos (id int, photo bytea); INSERT INTO photos VALUES (1, '\\x89504e470d0a1a0a'), (2, NULL)";
    asked.client.batch_execute(photos).unwrap();
    for output in ["hex", "escape"] {
        asked.client.batch_execute(&format!("SET bytea_output = {output}")).unwrap();
        for options in [
            "jsonb_build_object('images', jsonb_build_array(photo))",
            "jsonb_build_object('images', photo)",
            "jsonb_build_object('images', jsonb_build_object('data', photo, 'media_type', 'image/png'))",
            "jsonb_build_object('images', encode(photo, 'base64'))",
        ] {
            let sql = format!("SELECT pg_llm_chat('m', 'What is it?', {options}) FROM photos WHERE id = 1");
            let _: String = asked.value(&sql, &[]).unwrap_or_else(|e| panic!("{output} {options}: {e:?}"));
            assert_eq!(image(&asked), json!(format!("data:image/png;base64,{PNG}")), "{output} {options}");
        }
    }
    let null = db_error(asked.value::<String>(
        "SELECT pg_llm_chat('m', 'x', jsonb_build_object('images', jsonb_build_array(photo))) FROM photos WHERE id = 2",
        &[],
    ));
    assert!(null.code().code() == "22023" && null.message().contains("image 1 is null"), "{null:?}");
}

#[test]
fn base64_may_have_the_line_breaks_that_encode_makes() {
    let mut asked = Asked::echo();
    let sql = "SELECT pg_llm_chat('m', 'x', jsonb_build_object('images', encode('\\x89504e470d0a1a0a' || decode(repeat('00', 300), 'hex'), 'base64')))";
    let _: String = asked.value(sql, &[]).unwrap();
    let url = image(&asked);
    assert!(url.as_str().is_some_and(|url| url.starts_with("data:image/png;base64,iVBORw0KGgoAAAA") && !url.contains('\n')), "{url}");
}

#[test]
fn an_image_of_no_known_sort_needs_its_media_type() {
    let mut asked = Asked::echo();
    let error = db_error(asked.chat("x", &json!({"images": ["https://example.com/a.png", "aGVsbG8="]})));
    assert!(error.code().code() == "22023" && error.message().contains("image 2 has 5 bytes"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("media_type")));
    assert_eq!(asked.upstream.connections_total(), 0);
    asked.chat("x", &json!({"images": {"data": "aGVsbG8=", "media_type": "image/x-ours"}})).unwrap();
    assert_eq!(image(&asked), "data:image/x-ours;base64,aGVsbG8=");
}

#[test]
fn images_may_come_without_words() {
    let mut asked = Asked::echo();
    asked.chat("", &json!({"images": [PNG]})).unwrap();
    let content = asked.sent()["messages"][0]["content"].clone();
    assert_eq!(content, json!([{"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}}]));
}

#[test]
fn documents_go_with_the_prompt() {
    let mut asked = Asked::at(Upstream::start_echo(), json!({}));
    asked.add("openai", "m", &json!({}));
    let sql = "SELECT pg_llm_chat('m', 'Sum it up.', jsonb_build_object('documents', jsonb_build_array(
                   jsonb_build_object('data', '%PDF-1.7'::bytea, 'name', 'report.pdf'), jsonb_build_object('text', 'Grüße', 'name', 'note.txt'))))";
    let _: String = asked.value(sql, &[]).unwrap();
    let content = asked.sent()["messages"][0]["content"].clone();
    assert_eq!(content[0], json!({"type": "text", "text": "Sum it up."}));
    assert_eq!(content[1]["file"], json!({"filename": "report.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="}));
    assert_eq!(content[2]["file"], json!({"filename": "note.txt", "file_data": "data:text/plain;base64,R3LDvMOfZQ=="}));
    let wrong = db_error(asked.chat("x", &json!({"documents": [PNG]})));
    assert!(wrong.message().contains("that goes into images"), "{}", wrong.message());
}

#[test]
fn what_the_endpoint_cannot_take_is_0a000_and_not_dropped() {
    let mut asked = Asked::echo();
    asked.add("vllm", "m", &json!({}));
    let error = db_error(asked.chat("x", &json!({"documents": {"text": "words"}})));
    assert_eq!(error.code().code(), "0A000", "{error:?}");
    assert_eq!(asked.upstream.requests().len(), 0);
}

#[test]
fn a_request_has_a_bound_whatever_is_attached() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SET pg_llm.max_request_bytes = '100kB'").unwrap();
    let sql = "SELECT pg_llm_chat('m', 'x', jsonb_build_object('images', '\\x89504e470d0a1a0a' || decode(repeat('00', 200000), 'hex')))";
    assert_eq!(db_error(asked.value::<String>(sql, &[])).code().code(), "54000");
}
