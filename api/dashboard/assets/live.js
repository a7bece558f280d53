// The clock of the page: everything is asked anew at intervals, while somebody
// looks, unless paused; when the appliance is gone, until it is back.

import { Gone } from "./api.js";

const interval = 5000; // ms between two rounds
const slowest = 20000; // ms between two attempts to find an appliance that is gone

/**
 * @typedef {object} State
 * @property {"live" | "paused" | "gone"} phase
 * @property {?number} since  when the last round was complete, ms since the epoch
 * @property {number} next    when the next attempt is made, where gone
 */

export class Live {
  /**
   * @param {(signal: AbortSignal) => Promise<void>} round asks for everything
   * @param {(state: State) => void} show is told of every change
   */
  constructor(round, show) {
    this.round = round;
    this.show = show;
    this.paused = false;
    this.gone = 0; // attempts since the last answer
    this.since = null;
    this.next = 0;
    this.running = null;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.paused) this.now();
    });
  }

  /** Begins a round at once, in place of one that is under way. */
  now() {
    clearTimeout(this.timer);
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    this.turn(running.signal);
  }

  /** Stops and goes on; paused, only what the reader does asks anything. */
  pause(paused) {
    this.paused = paused;
    if (paused) clearTimeout(this.timer);
    else this.now();
    this.tell();
  }

  async turn(signal) {
    try {
      await this.round(signal);
      if (signal.aborted) return;
      this.gone = 0;
      this.since = Date.now();
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Gone)) throw error;
      this.gone++;
    }
    const wait = this.gone === 0 ? interval : Math.min(1000 * 2 ** (this.gone - 1), slowest);
    this.next = Date.now() + wait;
    this.tell();
    if (!this.paused || this.gone > 0) {
      this.timer = setTimeout(() => {
        if (!document.hidden) this.now();
      }, wait);
    }
  }

  tell() {
    this.show({ phase: this.gone > 0 ? "gone" : this.paused ? "paused" : "live", since: this.since, next: this.next });
  }
}
