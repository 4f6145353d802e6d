// Server-sent events, from bytes that break off anywhere.

import { decode } from "./bytes.mjs";

/** More than any event of a chat has. */
const MAX_EVENT_BYTES = 4 << 20;

/** Collects bytes, and gives the data of whole events. */
export class Events {
  #line = [];
  #size = 0;
  #data = [];

  push(bytes) {
    const events = [];
    let from = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
      this.#take(bytes, from, at);
      this.#endLine(events);
      from = at + 1;
    }
    this.#take(bytes, from, bytes.length);
    return events;
  }

  /** At the end of the body: an event whose empty line is missing. */
  end() {
    const events = [];
    this.#endLine(events);
    this.#endEvent(events);
    return events;
  }

  #take(bytes, from, to) {
    this.#size += to - from;
    if (this.#size > MAX_EVENT_BYTES) throw new Error("an event of the stream is too large");
    if (to > from) this.#line.push(bytes.slice(from, to));
  }

  #endLine(events) {
    const line = decode(joined(this.#line)).replace(/\r$/, "");
    this.#line = [];
    if (line === "") this.#endEvent(events);
    else if (line.startsWith("data:")) this.#data.push(line.slice(5).replace(/^ /, ""));
  }

  #endEvent(events) {
    if (this.#data.length > 0) events.push(this.#data.join("\n"));
    this.#data = [];
    this.#size = 0;
  }
}

/** Pieces of a body as one. */
export function joined(pieces) {
  if (pieces.length === 1) return pieces[0];
  const all = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
