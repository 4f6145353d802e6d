"""OpenAI's chat completions: what is sent, and what comes back."""

import base64
import json

from failure import failed
from wit_world.imports import types as t


def body(request, streamed):
    """The body of a request."""
    sampling = request.sampling
    members = {
        "model": request.model,
        "messages": [one for message in request.messages for one in messages(message)],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_completion_tokens": sampling.max_tokens,
        "stop": sampling.stop or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logprobs": None if sampling.logprobs is None else True,
        "top_logprobs": sampling.logprobs or None,
        "tools": [tool(one) for one in request.tools] or None,
        "tool_choice": tool_choice(request.tool_choice),
        "response_format": response_format(request.response_format),
        "reasoning_effort": request.reasoning and request.reasoning.effort,
        "stream": streamed or None,
        "stream_options": {"include_usage": True} if streamed else None,
    }
    given = {name: value for name, value in members.items() if value is not None}
    return given | json.loads(request.extra_body or "{}")


def messages(message):
    results = [part.value for part in message.parts if isinstance(part, t.Part_ToolResult)]
    if results:
        return [{"role": "tool", "tool_call_id": result.call_id, "content": result.content} for result in results]
    content = [one for one in map(content_part, message.parts) if one]
    if all(one["type"] == "text" for one in content):
        content = "".join(one["text"] for one in content)
    encoded = {"role": message.role.name.lower(), "content": content}
    calls = [part.value for part in message.parts if isinstance(part, t.Part_ToolCall)]
    if calls:
        encoded["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in calls
        ]
    return [encoded]


def content_part(part):
    match part:
        case t.Part_Text(text):
            return {"type": "text", "text": text}
        case t.Part_Image(media):
            url = media.source.value
            if isinstance(url, bytes):
                url = f"data:{media.media_type or 'image/png'};base64,{base64.b64encode(url).decode()}"
            return {"type": "image_url", "image_url": {"url": url} | ({"detail": media.detail} if media.detail else {})}
        case t.Part_Document():
            raise failed(t.FailureKind.UNSUPPORTED, "this adapter sends no documents")


def tool(tool):
    function = {"name": tool.name, "parameters": json.loads(tool.parameters)}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def tool_choice(choice):
    match choice:
        case t.ToolChoice_Named(name):
            return {"type": "function", "function": {"name": name}}
        case t.ToolChoice_Auto():
            return "auto"
        case t.ToolChoice_None_():
            return "none"
        case t.ToolChoice_Required():
            return "required"


def response_format(wanted):
    match wanted:
        case t.ResponseFormat_JsonSchema(schema):
            named = {"name": schema.name, "schema": json.loads(schema.schema), "strict": schema.strict}
            return {"type": "json_schema", "json_schema": named}
        case t.ResponseFormat_JsonObject():
            return {"type": "json_object"}
        case t.ResponseFormat_Text():
            return {"type": "text"}


def answer(response, raw):
    """A whole answer."""
    choice = response["choices"][0]
    message = choice["message"]
    parts = []
    if message.get("reasoning_content"):
        parts.append(t.Part_Thinking(t.Thinking(message["reasoning_content"], None, False)))
    if message.get("content"):
        parts.append(t.Part_Text(message["content"]))
    for call in message.get("tool_calls") or []:
        function = call["function"]
        parts.append(t.Part_ToolCall(t.ToolCall(call["id"], function["name"], function["arguments"], None)))
    word = choice.get("finish_reason")
    return t.Answer(
        id=response.get("id"),
        model=response.get("model"),
        parts=parts,
        finish_reason=finish_reason(word) if word else None,
        usage=usage(response.get("usage")),
        logprobs=logprobs(choice),
        raw=raw,
    )


def started(chunk):
    """The first event of a stream."""
    return t.Event_Started(t.Started(chunk.get("id"), chunk.get("model")))


def events(chunk):
    """The events of one chunk of a stream."""
    for choice in chunk.get("choices", [])[:1]:
        delta = choice.get("delta") or {}
        if delta.get("reasoning_content"):
            yield t.Event_Thinking(delta["reasoning_content"])
        if delta.get("content"):
            yield t.Event_Text(delta["content"])
        for call in delta.get("tool_calls") or []:
            function = call.get("function") or {}
            yield t.Event_ToolCall(
                t.ToolCallDelta(call.get("index", 0), call.get("id"), function.get("name"), function.get("arguments") or "", None)
            )
        probable = logprobs(choice)
        if probable:
            yield t.Event_Logprobs(probable)
        if choice.get("finish_reason"):
            yield t.Event_Finish(finish_reason(choice["finish_reason"]))
    if chunk.get("usage"):
        yield t.Event_Usage(usage(chunk["usage"]))


def finish_reason(word):
    known = {
        "stop": t.FinishReason_Stop,
        "length": t.FinishReason_Length,
        "tool_calls": t.FinishReason_ToolCalls,
        "function_call": t.FinishReason_ToolCalls,
        "content_filter": t.FinishReason_ContentFilter,
    }
    return known[word]() if word in known else t.FinishReason_Other(word)


def usage(counts):
    if not counts:
        return None
    return t.Usage(
        input_tokens=counts.get("prompt_tokens"),
        output_tokens=counts.get("completion_tokens"),
        cached_tokens=(counts.get("prompt_tokens_details") or {}).get("cached_tokens"),
        cache_write_tokens=None,
        reasoning_tokens=(counts.get("completion_tokens_details") or {}).get("reasoning_tokens"),
        raw=json.dumps(counts),
    )


def logprobs(choice):
    tokens = (choice.get("logprobs") or {}).get("content") or []
    return [
        t.TokenLogprob(
            one["token"], one["logprob"], [t.TopLogprob(other["token"], other["logprob"]) for other in one.get("top_logprobs") or []]
        )
        for one in tokens
    ]
