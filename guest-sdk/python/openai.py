"""A provider in Python, for any endpoint that speaks OpenAI's chat completions: whole and streamed.

The contract is ../wit/1.0.0. componentize-py makes classes of it: `option` is None or the value, the cases of a `variant`
are classes, and the error of a `result` is raised as `Err`.
"""

import json

import printing
from failure import answering, failed, of_provider
from sse import Events
from wire import answer, body, events, started
from wit_world import exports
from wit_world.exports import chat, describe
from wit_world.exports.describe import Capabilities
from wit_world.imports import http, keys, types

printing.into_the_log()

AUTH = keys.Auth_Header(keys.HeaderAuth(key="default", name="authorization", prefix="Bearer ", optional=True))

SETTINGS = {
    "type": "object",
    "properties": {"chat_path": {"type": "string", "description": "Path of chat completions below the endpoint"}},
}


class Describe(exports.Describe):
    def describe(self):
        profile = describe.Profile(
            name="openai-python",
            aliases=[],
            default_endpoint=None,
            keys=[describe.KeySpec("default", False, "API key of the endpoint")],
            capabilities=Capabilities.STREAM
            | Capabilities.TOOLS
            | Capabilities.JSON_SCHEMA
            | Capabilities.VISION
            | Capabilities.LOGPROBS,
            settings="{}",
        )
        return describe.Description("openai-python", "1.0.0", "OpenAI's chat completions, in Python", [profile], json.dumps(SETTINGS))


def send(request, streamed):
    """Sends a request; the response of a success."""
    response = http.send(
        http.Request(
            method=http.Method.POST,
            path_with_query=json.loads(request.settings).get("chat_path", "/chat/completions"),
            headers=[
                http.Header("content-type", "application/json"),
                http.Header("accept", "text/event-stream" if streamed else "application/json"),
            ],
            body=json.dumps(body(request, streamed)).encode(),
            auth=AUTH,
        )
    )
    status = response.status()
    if 200 <= status < 300:
        return response
    raw = whole(response)
    raise of_provider(status, parsed(raw), raw, {field.name: field.value for field in response.headers()})


def whole(response):
    return b"".join(iter(lambda: response.read(65536), b"")).decode("utf-8", "replace")


def parsed(raw):
    try:
        return json.loads(raw)
    except ValueError:
        return None


def sound(raw, what):
    """JSON that is no error."""
    value = parsed(raw)
    if not isinstance(value, dict):
        raise failed(types.FailureKind.PROTOCOL, f"{what} is not JSON", raw=raw[:1000])
    if value.get("error"):
        raise of_provider(None, value, raw)
    return value


class AnswerStream(chat.AnswerStream):
    """A running stream, which the host pulls."""

    def __init__(self, response):
        self.events = self.all(response)

    @answering
    def next(self):
        return next(self.events, None)

    def all(self, response):
        frames = Events()
        begun = finished = False
        while True:
            piece = response.read(65536)
            for data in frames.push(piece) if piece else [*frames.end(), "[DONE]"]:
                if data == "[DONE]":
                    if not finished:
                        raise failed(types.FailureKind.BROKEN, "the stream broke off before its end")
                    return
                chunk = sound(data, "an event of the stream")
                if not begun:
                    begun = True
                    yield started(chunk)
                for event in events(chunk):
                    finished = finished or isinstance(event, types.Event_Finish)
                    yield event


class Chat(exports.Chat):
    @answering
    def complete(self, request):
        raw = whole(send(request, False))
        return answer(sound(raw, "the response"), raw)

    @answering
    def stream(self, request):
        return AnswerStream(send(request, True))
