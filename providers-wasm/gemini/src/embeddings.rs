//! Texts to vectors: `batchEmbedContents` of the Gemini API; `predict` of Vertex AI, and `embedContent` for those of its models that know
//! nothing else.

use pg_llm_guest::embeddings::in_order;
use pg_llm_guest::failure::words;
use pg_llm_guest::json::{object, record, set};
use pg_llm_guest::prelude::*;

use crate::encode::merge;
use crate::settings::{Platform, Wire};
use crate::usage::usage;

/// How a model takes texts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Batch,
    Predict,
    EmbedContent,
}

fn method(wire: &Wire, model: &str) -> Method {
    match wire.platform {
        Platform::Gemini => Method::Batch,
        // Google's own client tells them apart so.
        Platform::Vertex if model.contains("gemini") && !model.ends_with("gemini-embedding-001") || model.contains("maas") => {
            Method::EmbedContent
        }
        Platform::Vertex => Method::Predict,
    }
}

/// How many texts fit into one request.
///
/// Vertex AI's models take 250 texts and 20,000 tokens at a time, and 2,048 tokens a text: 5 always fit.
pub(crate) fn max_inputs(model: &str, settings: &str) -> u32 {
    let Ok(wire) = Wire::of(settings) else { return 1 };
    match method(&wire, model) {
        Method::EmbedContent => 1,
        Method::Batch => wire.embedding_inputs.unwrap_or(100),
        Method::Predict => wire.embedding_inputs.unwrap_or(if model.contains("gemini") { 1 } else { 5 }),
    }
}

/// The HTTP request for these texts. `extra_body` is merged over each text's own request where there are several in one.
pub(crate) fn encode(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
    let wire = Wire::of(&request.settings)?;
    let merge_extra = |body: &mut Map<String, Value>| match &request.extra_body {
        Some(extra) => object("extra_body", extra).map(|extra| merge(extra, body)),
        None => Ok(()),
    };
    let (task, prefix) = match request.purpose {
        None => (None, ""),
        Some(Purpose::Document) => (Some("RETRIEVAL_DOCUMENT"), "title: none | text: "),
        Some(Purpose::Query) => (Some("RETRIEVAL_QUERY"), "task: search result | query: "),
        Some(Purpose::Classification) => (Some("CLASSIFICATION"), "task: classification | query: "),
        Some(Purpose::Clustering) => (Some("CLUSTERING"), "task: clustering | query: "),
    };
    // Gemini Embedding 2 ignores the type of a task, and wants it said in the text.
    let (task, prefix) = if request.model.contains("gemini-embedding-2") { (None, prefix) } else { (task, "") };
    let content = |text: &String| record([("parts", vec![record([("text", words(&[prefix, text]).into())])].into())]);
    let options = |names: [&str; 2]| {
        let mut options = Map::new();
        if let Some(task) = task {
            set(&mut options, names[0], task.into());
        }
        if let Some(dimensions) = request.dimensions {
            set(&mut options, names[1], dimensions.into());
        }
        options
    };
    let method = method(&wire, &request.model);
    let (verb, body) = match method {
        Method::Batch => {
            let mut name = request.model.clone();
            if !name.contains('/') {
                name.insert_str(0, "models/");
            }
            let one = |text: &String| {
                let mut one = Map::new();
                set(&mut one, "model", name.as_str().into());
                set(&mut one, "content", content(text));
                one.extend(options(["taskType", "outputDimensionality"]));
                merge_extra(&mut one)?;
                Ok(Value::Object(one))
            };
            let requests = request.inputs.iter().map(one).collect::<Result<Vec<Value>, Failure>>()?;
            ("batchEmbedContents", record([("requests", requests.into())]))
        }
        Method::Predict => {
            let one = |text: &String| {
                let mut one = Map::new();
                set(&mut one, "content", text.as_str().into());
                if let Some(task) = task {
                    set(&mut one, "task_type", task.into());
                }
                Value::Object(one)
            };
            let mut body = Map::new();
            set(&mut body, "instances", request.inputs.iter().map(one).collect::<Vec<Value>>().into());
            if let Some(dimensions) = request.dimensions {
                set(&mut body, "parameters", record([("outputDimensionality", dimensions.into())]));
            }
            merge_extra(&mut body)?;
            ("predict", body.into())
        }
        Method::EmbedContent => {
            let [text] = request.inputs.as_slice() else { return Err(Failure::unsupported("this model takes one text a request")) };
            let mut body = Map::new();
            set(&mut body, "content", content(text));
            let config = options(["taskType", "outputDimensionality"]);
            if !config.is_empty() {
                set(&mut body, "embedContentConfig", config.into());
            }
            merge_extra(&mut body)?;
            ("embedContent", body.into())
        }
    };
    let http = HttpRequest::post(wire.path(&request.model, verb)).header("accept", "application/json").json(&body);
    Ok(wire.with_auth(http))
}

/// Reads the vectors, whichever method it was: their forms have nothing in common.
pub(crate) fn decode(request: &EmbedRequest, response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
    let body = response.json()?;
    if let Some(failure) = crate::errors::in_body(&body, &response.body) {
        return Err(failure);
    }
    let predictions = body.items_at("predictions").iter().filter_map(|prediction| prediction.at("embeddings"));
    let vectors = body.items_at("embeddings").iter().chain(body.at("embedding")).chain(predictions.clone());
    let vectors = vectors.map(|embedding| embedding.items_at("values").iter().filter_map(number).collect());
    let tokens = predictions.filter_map(|embedding| embedding.at("statistics")?.u64_at("token_count")).reduce(u64::saturating_add);
    let counted = tokens.map(|tokens| Usage { input_tokens: Some(tokens), ..Usage::default() });
    Ok(EmbedAnswer {
        vectors: in_order(request.inputs.len(), vectors.enumerate()),
        model: None,
        usage: body.at("usageMetadata").and_then(usage).or(counted),
    })
}

#[allow(clippy::cast_possible_truncation)] // vectors are of f32
fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32)
}
