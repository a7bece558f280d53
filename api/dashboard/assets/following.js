// The table's stream: opened for a question, ended when nobody looks, and not
// asked for again too soon where it cannot be had. Whoever asks the questions
// polls meanwhile.

import { Gone, Problem, openStream } from "./api.js";
import { Newest } from "./newest.js";
import { readEvents } from "./stream.js";

const drawInterval = 300; // ms between two drawings
const answerInterval = 60000; // ms after which an answer is asked for anew: records leave the time that is shown
const longLife = 30000; // ms after which a stream that ends was none that cannot be had
const slowest = 60000; // ms between two attempts at most

export class Following {
  /**
   * @param {(newest: Newest) => boolean} show  draws it; false where it cannot now, and is to be asked again
   * @param {() => void} ended  is told that a stream that was open is over
   */
  constructor(show, ended) {
    Object.assign(this, { show, ended, question: "", failures: 0, notBefore: 0 });
    this.stop();
  }

  /** Whether events come for the question that was opened last. */
  get live() {
    return this.open;
  }

  /** Whether the table is up to date by itself: nothing has to be asked. */
  get current() {
    return this.open && Date.now() - this.answeredAt < answerInterval;
  }

  /**
   * Opens the stream of filters, in place of one of others, and resolves once it
   * is open or cannot be had.
   * @param {URLSearchParams} filters
   * @param {number} limit  records that are kept
   */
  begin(filters, limit) {
    const question = `${filters} ${limit}`;
    if (question !== this.question) {
      this.stop();
      Object.assign(this, { question, failures: 0, notBefore: 0 });
    }
    if (this.running === null && Date.now() >= this.notBefore) {
      this.running = new AbortController();
      this.newest = new Newest(limit);
      this.opening = this.run(filters, this.newest, this.running.signal);
    }
    return this.opening;
  }

  /** Ends the stream; the next begin opens one at once. */
  stop() {
    this.running?.abort();
    this.over();
    this.notBefore = 0;
  }

  over() {
    clearTimeout(this.timer);
    Object.assign(this, { running: null, opening: null, open: false, answeredAt: 0, timer: null });
  }

  /** Shows an answer of /v1/flows that was asked while the stream was open, and goes on from it. */
  answered(answer) {
    this.newest.begin(answer);
    this.answeredAt = Date.now();
    this.show(this.newest, true);
  }

  async run(filters, newest, signal) {
    const begun = Date.now();
    let body;
    try {
      body = await openStream("/v1/stream", filters, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.fail(begun);
      if (!(error instanceof Problem || error instanceof Gone)) throw error;
      return;
    }
    if (signal.aborted) return;
    this.open = true;
    const take = (event) => {
      newest.take(event);
      if (!signal.aborted) this.schedule(newest);
    };
    readEvents(body, take)
      .catch(() => {}) // it broke: an end like another
      .then(() => {
        if (signal.aborted) return;
        this.fail(begun);
        this.ended();
      });
  }

  fail(begun) {
    this.failures = Date.now() - begun > longLife ? 1 : this.failures + 1;
    this.over();
    this.notBefore = Date.now() + Math.min(1000 * 2 ** this.failures, slowest);
  }

  schedule(newest) {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      if (this.answeredAt > 0 && !this.show(newest, false)) this.schedule(newest);
    }, drawInterval);
  }
}
