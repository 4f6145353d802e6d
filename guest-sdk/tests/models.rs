//! Lists of models, page by page.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::decode_list;

/// A list of names, and perhaps the next page.
struct Pages;

impl Models for Pages {
    fn encode_list(_settings: &str, cursor: Option<&str>) -> Result<HttpRequest, Failure> {
        Ok(HttpRequest::get("/models").query("page", cursor.unwrap_or("first")))
    }

    fn decode_list(_settings: &str, response: &HttpResponse) -> Result<(Vec<ModelInfo>, Option<String>), Failure> {
        let body = response.json()?;
        let models = body.items_at("models").iter().filter_map(Value::as_str).map(ModelInfo::new).collect();
        Ok((models, body.word_at("next").map(str::to_owned)))
    }
}

fn listed(pages: &[Value]) -> Result<Vec<String>, Failure> {
    let pages = pages.iter().map(|page| HttpResponse::new(200, page.to_string())).collect();
    Ok(decode_list::<Pages>("{}", pages)?.into_iter().map(|model| model.id).collect())
}

#[test]
fn a_list_is_read_to_its_last_page() {
    let pages = [json!({"models": ["a", "b"], "next": "2"}), json!({"models": [], "next": "3"}), json!({"models": ["c"]})];
    assert_eq!(listed(&pages).unwrap(), ["a", "b", "c"]);
}

#[test]
fn a_server_that_sends_the_same_page_again_lists_each_model_once() {
    let page = json!({"models": ["a", "b"], "next": "2"});
    assert_eq!(listed(&[page.clone(), page]).unwrap(), ["a", "b"]);
}

#[test]
fn pages_without_an_end_are_no_list() {
    let pages: Vec<Value> = (0..60).map(|number| json!({"models": [], "next": number.to_string()})).collect();
    assert_eq!(listed(&pages).unwrap_err().kind, FailureKind::Protocol);
}
