// A provider in JavaScript that is the one of guest-sdk/javascript, unless its model is named after a crime.

import log from "pg-llm:guest/log@1.0.0";
import environment from "wasi:cli/environment@0.2.12";
import exit from "wasi:cli/exit@0.2.12";
import stderr from "wasi:cli/stderr@0.2.12";
import stdin from "wasi:cli/stdin@0.2.12";
import stdout from "wasi:cli/stdout@0.2.12";
import clock from "wasi:clocks/monotonic-clock@0.2.12";
import preopens from "wasi:filesystem/preopens@0.2.12";
import poll from "wasi:io/poll@0.2.12";
import random from "wasi:random/random@0.2.12";
import { encode } from "../../guest-sdk/javascript/bytes.mjs";
import { answering } from "../../guest-sdk/javascript/failure.mjs";
import { chat as honest, describe } from "../../guest-sdk/javascript/openai.mjs";

const SECOND = 1e9;

const print = (stream, text) => stream.blockingWriteAndFlush(encode(text));

const crimes = {
  "endless-loop": () => {
    for (;;);
  },
  "memory-bomb": () => {
    const hoard = [];
    for (;;) hoard.push(new Uint8Array(1 << 20).fill(1));
  },
  recursion: () => {
    const down = (depth) => 1 + down(depth + 1);
    return down(0);
  },
  sleep: () => poll.poll([clock.subscribeDuration(3600 * SECOND)]),
  "sleep-in-block": () => clock.subscribeDuration(3600 * SECOND).block(),
  nap: () => `woke by ${poll.poll([clock.subscribeDuration(3600 * SECOND), clock.subscribeDuration(SECOND / 1000)])}`,
  "no-nap": () => `woke by ${poll.poll([clock.subscribeDuration(3600 * SECOND), stdout.getStdout().subscribe()])}`,
  "polls-nothing": () => poll.poll([]),
  "poll-flood": () => poll.poll(Array(100000).fill(clock.subscribeDuration(SECOND))),
  "clock-flood": () => {
    const hoard = [];
    for (;;) hoard.push(clock.subscribeDuration(SECOND));
  },
  environment: () => JSON.stringify([environment.getEnvironment(), environment.getArguments(), environment.initialCwd()]),
  directories: () => JSON.stringify(preopens.getDirectories()),
  input: () => {
    try {
      return `read ${stdin.getStdin().blockingRead(10).length}`;
    } catch (error) {
      return `refused: ${error.payload.tag}`;
    }
  },
  prints: () => {
    print(stdout.getStdout(), "first line\nsecond ");
    print(stdout.getStdout(), "line\nno end");
    print(stderr.getStderr(), "to stderr\n");
    log.log("info", "to the log");
    return "printed";
  },
  "print-flood": () => {
    const out = stdout.getStdout();
    for (let line = 0; line < 5000; line++) print(out, `line ${line}\n`);
    return "printed";
  },
  "bad-text": () => {
    stdout.getStdout().blockingWriteAndFlush(new Uint8Array([0xff, 0xfe, 7, 10]));
    return "printed";
  },
  exits: () => {
    print(stderr.getStderr(), "enough of this\n");
    exit.exit({ tag: "err" });
  },
  random: () => JSON.stringify(Array.from(random.getRandomBytes(16))),
  "random-bomb": () => random.getRandomBytes(1e12).length,
  clocks: () => Date.now(),
  throws: () => {
    throw new TypeError("a mistake of the adapter's");
  },
};

const confession = (text) => ({ id: null, model: null, parts: [{ tag: "text", val: String(text) }], finishReason: { tag: "stop" }, usage: null, logprobs: [], raw: null });

export { describe };
export const chat = {
  complete: (request) => (request.model in crimes ? answering(() => confession(crimes[request.model]())) : honest.complete(request)),
  stream: honest.stream,
  AnswerStream: honest.AnswerStream,
};
