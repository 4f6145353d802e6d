"""Failures of the contract: what `complete`, `stream` and `next` raise."""

import functools
import math
import re
import traceback

from componentize_py_types import Err
from wit_world.imports import http, log, types
from wit_world.imports.types import FailureKind

HTTP_KINDS = {
    http.Error_Refused: FailureKind.REFUSED,
    http.Error_Key: FailureKind.AUTHENTICATION,
    http.Error_Connect: FailureKind.CONNECT,
    http.Error_Timeout: FailureKind.TIMEOUT,
    http.Error_Broken: FailureKind.BROKEN,
    http.Error_TooLarge: FailureKind.TOO_LARGE,
    http.Error_Cancelled: FailureKind.CANCELLED,
}

STATUS_KINDS = {
    400: FailureKind.INVALID_REQUEST,
    401: FailureKind.AUTHENTICATION,
    403: FailureKind.PERMISSION,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.TIMEOUT,
    413: FailureKind.TOO_LARGE,
    422: FailureKind.INVALID_REQUEST,
    429: FailureKind.RATE_LIMIT,
    503: FailureKind.OVERLOADED,
    529: FailureKind.OVERLOADED,
}

CODE_KINDS = {
    "context_length_exceeded": FailureKind.CONTEXT_LENGTH,
    "insufficient_quota": FailureKind.QUOTA,
    "content_filter": FailureKind.CONTENT_FILTER,
}


def failed(kind, message, **known):
    """A failure to raise; `known` is what is known beyond its kind and words."""
    fields = dict(status=None, code=None, retry_after_ms=None, retryable=None, request_id=None, raw=None) | known
    return Err(types.Failure(kind=kind, message=message, **fields))


def answering(function):
    """Whatever else a function of the adapter raises is a mistake of the adapter's: logged, and told as one."""

    @functools.wraps(function)
    def wrapped(*arguments):
        try:
            return function(*arguments)
        except Err as error:
            if isinstance(error.value, types.Failure):
                raise
            raise of_http(error.value) from None
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            log.log(log.Level.ERROR, f"{words}; {places(error)}")
            raise failed(FailureKind.PROTOCOL, words) from None

    return wrapped


def places(error):
    """Where it was raised. traceback.format_exc would look for the sources, and there are no files."""
    frames = traceback.walk_tb(error.__traceback__)
    return ", ".join(f"{frame.f_code.co_qualname} line {line}" for frame, line in frames)


def of_http(error):
    """What http.send and response.read raise, as a failure."""
    kind = HTTP_KINDS.get(type(error), FailureKind.BROKEN)
    return failed(kind, getattr(error, "value", kind.name.lower()))


def of_provider(status, body, raw, headers=None):
    """What a provider reports under this status: None for an error under HTTP 200."""
    headers = headers or {}
    body = body if isinstance(body, dict) else {}
    error = body.get("error", body)
    error = error if isinstance(error, dict) else {"message": error}
    code = error.get("code") or error.get("type")
    message = str(error.get("message") or raw[:500])
    return failed(
        kind_of(status, code, message),
        message,
        status=status,
        code=None if code is None else str(code),
        retry_after_ms=milliseconds(headers.get("retry-after")),
        request_id=headers.get("x-request-id"),
        raw=raw,
    )


def kind_of(status, code, message):
    if re.search("maximum context length", message):
        return FailureKind.CONTEXT_LENGTH
    if code in CODE_KINDS:
        return CODE_KINDS[code]
    fallback = FailureKind.INVALID_REQUEST if status and 400 <= status < 500 else FailureKind.SERVER
    return STATUS_KINDS.get(status, fallback)


def milliseconds(seconds):
    try:
        value = float(seconds) * 1000
    except (TypeError, ValueError):
        return None
    return math.ceil(value) if math.isfinite(value) and value >= 0 else None
