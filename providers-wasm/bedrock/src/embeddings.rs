//! Embeddings: `InvokeModel` with the body of the model's family.

use pg_llm_guest::json::{record, set};
use pg_llm_guest::prelude::*;

use crate::errors;
use crate::refusal::{Refusal, add_extra, one};
use crate::settings::{Family, Wire};

/// What Cohere's models take at once; the others take one.
const COHERE_INPUTS: u32 = 96;

/// How many inputs one request may carry.
pub(crate) fn max_inputs(model: &str, settings: &str) -> u32 {
    match Wire::parse(settings).map(|wire| wire.family(model)) {
        Ok(Ok(Family::Cohere)) => COHERE_INPUTS,
        _ => 1,
    }
}

/// The HTTP request.
pub(crate) fn encode(request: &EmbedRequest) -> Result<HttpRequest, Failure> {
    let wire = Wire::parse(&request.settings)?;
    let body = body(request, &wire)?;
    Ok(wire.request(&request.model, "/invoke", &body.into())?.header("accept", "application/json"))
}

fn body(request: &EmbedRequest, wire: &Wire) -> Result<Map<String, Value>, Refusal> {
    let mut body = match wire.family(&request.model)? {
        Family::Cohere => cohere(request),
        Family::Titan => titan(request, wire)?,
        Family::Nova => nova(request)?,
        _ => {
            return Err(Refusal::Unsupported(
                "this model is not known to make embeddings: those of Titan, Nova and Cohere do (see the setting model_family)",
            ));
        }
    };
    add_extra(request.extra_body.as_deref(), &mut body)?;
    Ok(body)
}

fn only_input(request: &EmbedRequest) -> Result<Value, Refusal> {
    match &request.inputs[..] {
        [input] => Ok(input.as_str().into()),
        _ => Err(Refusal::Invalid("this model takes one input a request".to_owned())),
    }
}

/// These models make no difference by [`Purpose`].
fn titan(request: &EmbedRequest, wire: &Wire) -> Result<Map<String, Value>, Refusal> {
    let mut body = Map::new();
    set(&mut body, "inputText", only_input(request)?);
    let is_multimodal = request.model.contains("embed-image");
    if let Some(length) = request.dimensions {
        if is_multimodal {
            set(&mut body, "embeddingConfig", one("outputEmbeddingLength", length.into()));
        } else {
            set(&mut body, "dimensions", length.into());
        }
    }
    if let Some(normalize) = wire.normalize()?.filter(|_| !is_multimodal) {
        set(&mut body, "normalize", normalize.into());
    }
    Ok(body)
}

fn cohere(request: &EmbedRequest) -> Map<String, Value> {
    let mut body = Map::new();
    set(&mut body, "texts", request.inputs.as_slice().into());
    let input_type = match request.purpose {
        Some(Purpose::Document) | None => "search_document",
        Some(Purpose::Query) => "search_query",
        Some(Purpose::Classification) => "classification",
        Some(Purpose::Clustering) => "clustering",
    };
    set(&mut body, "input_type", input_type.into());
    if let Some(length) = request.dimensions {
        set(&mut body, "output_dimension", length.into());
    }
    body
}

fn nova(request: &EmbedRequest) -> Result<Map<String, Value>, Refusal> {
    let purpose = match request.purpose {
        Some(Purpose::Document) | None => "GENERIC_INDEX",
        Some(Purpose::Query) => "GENERIC_RETRIEVAL",
        Some(Purpose::Classification) => "CLASSIFICATION",
        Some(Purpose::Clustering) => "CLUSTERING",
    };
    let mut parameters = Map::new();
    set(&mut parameters, "embeddingPurpose", purpose.into());
    if let Some(length) = request.dimensions {
        set(&mut parameters, "embeddingDimension", length.into());
    }
    // A text that is too long is an error, and not cut without a word.
    set(&mut parameters, "text", record([("truncationMode", "NONE".into()), ("value", only_input(request)?)]));
    let mut body = Map::new();
    set(&mut body, "taskType", "SINGLE_EMBEDDING".into());
    set(&mut body, "singleEmbeddingParams", parameters.into());
    Ok(body)
}

/// Reads a response of any family: they are told apart by their shapes.
pub(crate) fn decode(response: &HttpResponse) -> Result<EmbedAnswer, Failure> {
    let body = response.json()?;
    let vectors = if let Some(one) = body.at("embedding") {
        vec![vector(one)]
    } else {
        match body.at("embeddings").or_else(|| body.at("embeddingsByType")) {
            Some(Value::Array(all)) => all.iter().map(|each| vector(each.get("embedding").unwrap_or(each))).collect(),
            // By types of numbers. Titan has one vector there, Cohere a list of them.
            Some(types) => match types.items_at("float") {
                all if all.iter().all(Value::is_array) => all.iter().map(vector).collect(),
                _ => types.at("float").map(vector).into_iter().collect(),
            },
            None => return Err(errors::in_body(&body, &response.body)),
        }
    };
    Ok(EmbedAnswer { vectors, model: None, usage: usage(&body, &response.head.headers) })
}

/// An empty vector for what is none: the SDK refuses it.
fn vector(numbers: &Value) -> Vec<f32> {
    #[allow(clippy::cast_possible_truncation)] // to the precision that vectors have
    let number = |number: &Value| number.as_f64().map(|number| number as f32);
    numbers.as_array().and_then(|numbers| numbers.iter().map(number).collect()).unwrap_or_default()
}

/// In Titan's body, and in a header of every model's response.
pub(crate) fn usage(body: &Value, headers: &Headers) -> Option<Usage> {
    let header = || headers.get("x-amzn-bedrock-input-token-count")?.parse().ok();
    let input_tokens = body.u64_at("inputTextTokenCount").or_else(header)?;
    Some(Usage { input_tokens: Some(input_tokens), ..Usage::default() })
}
