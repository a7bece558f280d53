// The events of /v1/stream (HTML Living Standard, section 9.2), read with fetch:
// EventSource cannot send a token.

const silence = 45000; // ms without an octet, of which a heartbeat comes every 15 s, after which it is dead
const longestLine = 1 << 20; // characters, as long as no record is

/**
 * @typedef {object} StreamEvent
 * @property {string} name  flow, or lost
 * @property {string} id    that of the last event that had one
 * @property {string} data
 */

/** Makes events of the pieces of a text. */
export class Parser {
  /** @param {(event: StreamEvent) => void} take */
  constructor(take) {
    this.take = take;
    this.rest = "";
    this.id = "";
    this.clear();
  }

  /** Takes the next piece, however it is cut. Throws where a line has no end. */
  feed(text) {
    // A CR at the end may be the first half of a CRLF.
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    if (this.rest.length > longestLine) throw new Error("a line of the stream has no end");
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === "") {
      if (this.data.length > 0) this.take({ name: this.name, id: this.id, data: this.data.join("\n") });
      this.clear();
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "event") this.name = value;
    else if (field === "id") this.id = value;
    else if (field === "data") this.data.push(value);
  }

  clear() {
    this.name = "message";
    this.data = [];
  }
}

/**
 * Reads events until the stream ends or falls silent; rejects where it breaks.
 * @param {ReadableStream<Uint8Array>} body
 * @param {(event: StreamEvent) => void} take
 */
export async function readEvents(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser(take);
  let watch;
  try {
    for (;;) {
      watch = setTimeout(() => reader.cancel().catch(() => {}), silence);
      const { done, value } = await reader.read();
      clearTimeout(watch);
      if (done) return;
      parser.feed(value);
    }
  } finally {
    clearTimeout(watch);
    reader.cancel().catch(() => {}); // it is over, or broken already
  }
}
