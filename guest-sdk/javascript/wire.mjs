// OpenAI's chat completions: what is sent, and what comes back.

import { base64 } from "./bytes.mjs";
import { failure } from "./failure.mjs";

/** The body of a request. */
export function body(request, streamed) {
  const { sampling } = request;
  const all = {
    model: request.model,
    messages: request.messages.flatMap(message),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    max_completion_tokens: sampling.maxTokens,
    stop: sampling.stop.length > 0 ? sampling.stop : null,
    seed: sampling.seed,
    presence_penalty: sampling.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty,
    logprobs: sampling.logprobs === null ? null : true,
    top_logprobs: sampling.logprobs || null,
    tools: request.tools.length > 0 ? request.tools.map(tool) : null,
    tool_choice: request.toolChoice && toolChoice(request.toolChoice),
    response_format: request.responseFormat && responseFormat(request.responseFormat),
    reasoning_effort: request.reasoning?.effort ?? null,
    stream: streamed || null,
    stream_options: streamed ? { include_usage: true } : null,
  };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && value !== undefined));
  return { ...given, ...JSON.parse(request.extraBody ?? "{}") };
}

const only = (parts, tag) => parts.filter((part) => part.tag === tag).map((part) => part.val);

function message({ role, parts }) {
  const results = only(parts, "tool-result");
  if (results.length > 0) return results.map((result) => ({ role: "tool", tool_call_id: result.callId, content: result.content }));
  const calls = only(parts, "tool-call").map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } }));
  const content = parts.map(contentPart).filter((part) => part !== null);
  const plain = content.every((part) => part.type === "text");
  return [
    {
      role,
      content: plain ? content.map((part) => part.text).join("") : content,
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    },
  ];
}

function contentPart({ tag, val }) {
  if (tag === "text") return { type: "text", text: val };
  if (tag === "image") {
    const { tag: where, val: what } = val.source;
    const url = where === "url" ? what : `data:${val.mediaType ?? "image/png"};base64,${base64(what)}`;
    return { type: "image_url", image_url: { url, ...(val.detail ? { detail: val.detail } : {}) } };
  }
  if (tag === "document") throw failure("unsupported", "this adapter sends no documents");
  return null;
}

const tool = ({ name, description, parameters, strict }) => ({
  type: "function",
  function: { name, parameters: JSON.parse(parameters), ...(description === null ? {} : { description }), ...(strict === null ? {} : { strict }) },
});

const toolChoice = ({ tag, val }) => (tag === "named" ? { type: "function", function: { name: val } } : tag);

function responseFormat({ tag, val }) {
  if (tag !== "json-schema") return { type: tag === "json-object" ? "json_object" : "text" };
  return { type: "json_schema", json_schema: { name: val.name, schema: JSON.parse(val.schema), strict: val.strict } };
}

const text = (value) => (typeof value === "string" && value !== "" ? value : null);

/** A whole answer. */
export function answer(response, raw) {
  const choice = response.choices?.[0];
  if (!choice?.message) throw new Error("the response has no choices");
  const { message } = choice;
  const parts = [];
  if (text(message.reasoning_content)) parts.push({ tag: "thinking", val: { text: message.reasoning_content, signature: null, redacted: false } });
  if (text(message.content)) parts.push({ tag: "text", val: message.content });
  for (const call of message.tool_calls ?? []) {
    parts.push({ tag: "tool-call", val: { id: call.id, name: call.function.name, arguments: call.function.arguments, signature: null } });
  }
  return {
    id: text(response.id),
    model: text(response.model),
    parts,
    finishReason: choice.finish_reason ? finishReason(choice.finish_reason) : null,
    usage: response.usage ? usage(response.usage) : null,
    logprobs: logprobs(choice),
    raw,
  };
}

/** The events of one chunk of a stream. */
export function events(chunk) {
  const all = [];
  const choice = chunk.choices?.[0];
  const delta = choice?.delta ?? {};
  if (text(delta.reasoning_content)) all.push({ tag: "thinking", val: delta.reasoning_content });
  if (text(delta.content)) all.push({ tag: "text", val: delta.content });
  for (const call of delta.tool_calls ?? []) {
    const { name, arguments: piece } = call.function ?? {};
    all.push({ tag: "tool-call", val: { index: call.index ?? 0, id: text(call.id), name: text(name), arguments: piece ?? "", signature: null } });
  }
  const probable = choice ? logprobs(choice) : [];
  if (probable.length > 0) all.push({ tag: "logprobs", val: probable });
  if (choice?.finish_reason) all.push({ tag: "finish", val: finishReason(choice.finish_reason) });
  if (chunk.usage) all.push({ tag: "usage", val: usage(chunk.usage) });
  return all;
}

/** The first event of a stream. */
export const started = (chunk) => ({ tag: "started", val: { id: text(chunk.id), model: text(chunk.model) } });

function finishReason(word) {
  const known = { stop: "stop", length: "length", tool_calls: "tool-calls", function_call: "tool-calls", content_filter: "content-filter" };
  return known[word] ? { tag: known[word] } : { tag: "other", val: word };
}

function usage(counts) {
  return {
    inputTokens: counts.prompt_tokens ?? null,
    outputTokens: counts.completion_tokens ?? null,
    cachedTokens: counts.prompt_tokens_details?.cached_tokens ?? null,
    cacheWriteTokens: null,
    reasoningTokens: counts.completion_tokens_details?.reasoning_tokens ?? null,
    raw: JSON.stringify(counts),
  };
}

function logprobs(choice) {
  return (choice.logprobs?.content ?? []).map(({ token, logprob, top_logprobs }) => ({
    token,
    logprob,
    alternatives: (top_logprobs ?? []).map(({ token, logprob }) => ({ token, logprob })),
  }));
}
