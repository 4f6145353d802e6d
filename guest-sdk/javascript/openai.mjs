// A provider in JavaScript, for any endpoint that speaks OpenAI's chat completions: whole and streamed.
//
// The contract is ../wit/1.0.0. componentize-qjs writes its names in camelCase; `option` is null or the value, `variant`
// is {tag, val}, `enum` a string, and the error of a `result` is thrown.

import http from "pg-llm:guest/http@1.0.0";
import { decode, encode } from "./bytes.mjs";
import { answering, failure, ofHttp, ofProvider } from "./failure.mjs";
import { Events, joined } from "./sse.mjs";
import { answer, body, events, started } from "./wire.mjs";

const AUTH = { tag: "header", val: { key: "default", name: "authorization", prefix: "Bearer ", optional: true } };

export const describe = {
  describe: () => ({
    name: "openai-javascript",
    version: "1.0.0",
    summary: "OpenAI's chat completions, in JavaScript",
    profiles: [
      {
        name: "openai-javascript",
        aliases: [],
        defaultEndpoint: null,
        keys: [{ name: "default", required: false, description: "API key of the endpoint" }],
        capabilities: { stream: true, tools: true, jsonSchema: true, vision: true, logprobs: true },
        settings: "{}",
      },
    ],
    settingsSchema: JSON.stringify({
      type: "object",
      properties: { chat_path: { type: "string", description: "Path of chat completions below the endpoint" } },
    }),
  }),
};

/** Sends a request; the response of a success. */
function send(request, streamed) {
  const { chat_path: path = "/chat/completions" } = JSON.parse(request.settings);
  const headers = [
    { name: "content-type", value: "application/json" },
    { name: "accept", value: streamed ? "text/event-stream" : "application/json" },
  ];
  const sent = { method: "post", pathWithQuery: path, headers, body: encode(JSON.stringify(body(request, streamed))), auth: AUTH };
  const response = calling(() => http.send(sent));
  const status = response.status();
  if (status >= 200 && status < 300) return response;
  const raw = whole(response);
  const fields = Object.fromEntries(response.headers().map(({ name, value }) => [name, value]));
  throw ofProvider(status, parsed(raw), raw, fields);
}

/** The error of an import's `result` comes as the payload of what is thrown. */
function calling(work) {
  try {
    return work();
  } catch (error) {
    throw error.payload === undefined ? error : ofHttp(error.payload);
  }
}

function read(response) {
  return calling(() => response.read(65536));
}

function whole(response) {
  const pieces = [];
  for (let piece = read(response); piece.length > 0; piece = read(response)) pieces.push(piece);
  return decode(joined(pieces));
}

function parsed(raw) {
  try {
    return JSON.parse(raw);
  } catch {
    return null;
  }
}

/** JSON that is no error. */
function sound(raw, what) {
  const json = parsed(raw);
  if (json === null || typeof json !== "object") throw failure("protocol", `${what} is not JSON`, { raw: raw.slice(0, 1000) });
  if (json.error) throw ofProvider(0, json, raw);
  return json;
}

/** A running stream, which the host pulls. */
class AnswerStream {
  #response;
  #frames = new Events();
  #waiting = [];
  #state = "new";
  /** Thrown once the events before it are told. */
  #failed = null;

  constructor(response) {
    this.#response = response;
  }

  next() {
    return answering(() => {
      while (this.#waiting.length === 0 && this.#state !== "over") {
        if (this.#failed) throw this.#failed;
        try {
          this.#pull();
        } catch (error) {
          this.#failed = error;
        }
      }
      return this.#waiting.shift() ?? null;
    });
  }

  #pull() {
    const bytes = read(this.#response);
    const frames = bytes.length > 0 ? this.#frames.push(bytes) : [...this.#frames.end(), "[DONE]"];
    for (const data of frames) {
      if (data === "[DONE]") {
        if (this.#state !== "finished") throw failure("broken", "the stream broke off before its end");
        this.#state = "over";
        return;
      }
      const chunk = sound(data, "an event of the stream");
      if (this.#state === "new") {
        this.#state = "started";
        this.#waiting.push(started(chunk));
      }
      for (const event of events(chunk)) {
        if (event.tag === "finish") this.#state = "finished";
        this.#waiting.push(event);
      }
    }
  }
}

export const chat = {
  complete: (request) =>
    answering(() => {
      const raw = whole(send(request, false));
      return answer(sound(raw, "the response"), raw);
    }),
  stream: (request) => answering(() => new AnswerStream(send(request, true))),
  AnswerStream,
};
