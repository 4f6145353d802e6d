// Failures of the contract: what `complete`, `stream` and `next` throw.

/** A failure; `more` is what is known beyond its kind and words. */
export const failure = (kind, message, more = {}) => ({
  kind,
  status: null,
  code: null,
  message,
  retryAfterMs: null,
  retryable: null,
  requestId: null,
  raw: null,
  ...more,
});

/** Runs a function of the adapter. Whatever else it throws is a mistake of the adapter's, and told as one. */
export function answering(work) {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof Error) throw failure("protocol", `${thrown.name}: ${thrown.message}`);
    throw thrown;
  }
}

/** What http.send and response.read throw, as a failure. */
export function ofHttp(error) {
  const kinds = { key: "authentication", refused: "refused", connect: "connect", timeout: "timeout", broken: "broken", "too-large": "too-large", cancelled: "cancelled" };
  return failure(kinds[error.tag] ?? "broken", error.val ?? error.tag);
}

/** What a provider reports under this status: 0 for an error under HTTP 200. */
export function ofProvider(status, body, raw, headers = {}) {
  const error = typeof body?.error === "object" && body.error ? body.error : { message: body?.error ?? body?.message };
  const code = error.code ?? error.type ?? null;
  const wait = Number(headers["retry-after"] ?? NaN);
  return failure(kindOf(status, String(code), String(error.message)), String(error.message ?? raw.slice(0, 500)), {
    status: status || null,
    code: code === null ? null : String(code),
    retryAfterMs: Number.isFinite(wait) && wait >= 0 ? Math.ceil(wait * 1000) : null,
    requestId: headers["x-request-id"] ?? null,
    raw,
  });
}

function kindOf(status, code, message) {
  if (code === "context_length_exceeded" || /maximum context length/.test(message)) return "context-length";
  if (code === "insufficient_quota") return "quota";
  if (code === "content_filter") return "content-filter";
  const kinds = { 400: "invalid-request", 401: "authentication", 403: "permission", 404: "not-found", 408: "timeout", 413: "too-large", 422: "invalid-request", 429: "rate-limit", 503: "overloaded", 529: "overloaded" };
  return kinds[status] ?? (status >= 400 && status < 500 ? "invalid-request" : "server");
}
