//! The body of a request.

use pg_llm_guest::failure::words;
use pg_llm_guest::json::{record, set, string};
use pg_llm_guest::prelude::*;

use super::input;
use crate::encode::{format_of, set_number, tool_choice, tools};
use crate::settings::Wire;

/// The body, without the caller's own members. A stream tells its usage without being asked.
pub(crate) fn encode(request: &ChatRequest, mode: Mode, wire: &Wire, body: &mut Map<String, Value>) -> Result<(), Failure> {
    set(body, "model", string(&request.model));
    input::encode(&request.messages, wire, body)?;
    sampling(&request.sampling, body)?;
    if !request.tools.is_empty() {
        set(body, "tools", tools(&request.tools, None)?);
    }
    if let Some(choice) = &request.tool_choice {
        set(body, "tool_choice", tool_choice(choice, None));
    }
    if let Some(format) = &request.response_format {
        set(body, "text", record([("format", format_of(format, None)?)]));
    }
    reasoning(request.reasoning.as_ref(), wire, body)?;
    set(body, "store", wire.is_set("store")?.into());
    let mut include = wire.list("include")?.map_or_else(|| vec![string("reasoning.encrypted_content")], <[Value]>::to_vec);
    if request.sampling.logprobs.is_some() {
        include.push(string("message.output_text.logprobs"));
    }
    if !include.is_empty() {
        set(body, "include", include.into());
    }
    if mode == Mode::Stream {
        set(body, "stream", true.into());
    }
    Ok(())
}

fn sampling(sampling: &Sampling, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let absent = [
        ("stop sequences", !sampling.stop.is_empty()),
        ("a seed", sampling.seed.is_some()),
        ("top_k", sampling.top_k.is_some()),
        ("a presence penalty", sampling.presence_penalty.is_some()),
        ("a frequency penalty", sampling.frequency_penalty.is_some()),
    ];
    if let Some((what, _)) = absent.iter().find(|(_, wanted)| *wanted) {
        return Err(Failure::unsupported(words(&["OpenAI's Responses has no place for ", what, " (see the setting api)"])));
    }
    set_number(body, "temperature", sampling.temperature)?;
    set_number(body, "top_p", sampling.top_p)?;
    for (name, value) in [("max_output_tokens", sampling.max_tokens), ("top_logprobs", sampling.logprobs)] {
        if let Some(value) = value {
            set(body, name, value.into());
        }
    }
    Ok(())
}

fn reasoning(reasoning: Option<&Reasoning>, wire: &Wire, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let mut members = Map::new();
    if let Some(Reasoning { effort, budget_tokens }) = reasoning {
        if budget_tokens.is_some_and(|tokens| tokens > 0) {
            return Err(Failure::unsupported("OpenAI's Responses takes no budget of thinking tokens, only an effort"));
        }
        if let Some(word) = effort.as_deref().or_else(|| budget_tokens.map(|_| "none")) {
            set(&mut members, "effort", word.into());
        }
    }
    if let Some(summary) = wire.text("reasoning_summary")? {
        set(&mut members, "summary", summary.into());
    }
    if !members.is_empty() {
        set(body, "reasoning", members.into());
    }
    Ok(())
}
