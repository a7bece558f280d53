// What a case decides in the place of the browser: what time it is, and what the
// appliance answers to a stream that is asked for.

const real = { now: Date.now, setTimeout, clearTimeout, fetch };

/** Lets all that is ready go on: promises, and pieces of streams. */
export async function settle() {
  const { port1, port2 } = new MessageChannel(); // which no browser slows down, as it does timers
  for (let turn = 0; turn < 5; turn++) {
    const turned = new Promise((resolve) => (port2.onmessage = resolve));
    port1.postMessage(null);
    await turned;
  }
  port1.close();
}

/** Waits for what must come; how long that takes decides nothing. */
export async function until(what, message) {
  for (const end = real.now() + 10000; !what(); await settle())
    if (real.now() > end) throw new Error(`it did not come to this: ${message}`);
}

/** A time that stands still until it is passed. */
class Clock {
  constructor() {
    this.now = real.now();
    this.timers = new Map();
    this.last = 0;
  }

  start(call, ms = 0) {
    this.timers.set(++this.last, { call, at: this.now + ms });
    return this.last;
  }

  /** Passes ms, and calls what is due meanwhile at its own time. */
  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const [[id, due] = []] = [...this.timers].filter(([, t]) => t.at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (!due) break;
      this.timers.delete(id);
      this.now = due.at;
      due.call();
    }
    this.now = end;
    await settle();
  }
}

/** One question for a stream, which a case answers. */
class Asked {
  constructor(url, signal) {
    Object.assign(this, { url, signal });
    this.response = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    signal.addEventListener("abort", () => {
      this.reject(signal.reason);
      this.break();
    });
  }

  refuse(status = 503) {
    this.resolve(new Response("{}", { status }));
  }

  fail() {
    this.reject(new TypeError("nobody answers"));
  }

  /** Begins the stream. */
  open() {
    this.resolve(new Response(new ReadableStream({ start: (controller) => (this.controller = controller) })));
    return this;
  }

  send(text) {
    this.controller.enqueue(new TextEncoder().encode(text));
  }

  end() {
    this.controller.close();
  }

  break() {
    try {
      this.controller?.error(new TypeError("broken off"));
    } catch {
      // It was over.
    }
  }
}

/**
 * Runs a body with a clock of its own, and with what is asked of /v1/stream in a
 * list, the oldest first. All else goes to the appliance as before.
 * @param {(clock: Clock, asked: Asked[]) => Promise<void>} body
 */
export async function standIn(body) {
  const clock = new Clock();
  const asked = [];
  Date.now = () => clock.now;
  window.setTimeout = (call, ms) => clock.start(call, ms);
  window.clearTimeout = (id) => clock.timers.delete(id);
  window.fetch = (url, options) => {
    if (!String(url).startsWith("/v1/stream")) return real.fetch.call(window, url, options);
    asked.push(new Asked(url, options.signal));
    return asked.at(-1).response;
  };
  try {
    await body(clock, asked);
  } finally {
    Date.now = real.now;
    Object.assign(window, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout, fetch: real.fetch });
  }
}
