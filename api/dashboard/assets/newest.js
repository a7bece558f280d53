// The newest records that fit a question: an answer of /v1/flows, and in front of
// it what /v1/stream has brought since. No more are kept than are shown, and no
// more are parsed.

/** How many records were published before the one of an event, by the event's id. */
export function position(id) {
  return Number(id.slice(id.lastIndexOf("-") + 1));
}

export class Newest {
  /** @param {number} limit  records that are kept */
  constructor(limit) {
    this.limit = limit;
    this.lost = 0; // records that the stream could not bring
    this.answer = null;
    this.end = 0; // the first position that the answer does not have
    this.come = []; // events since, the oldest first: { position, data }
  }

  /** Takes an event of the stream. */
  take({ name, id, data }) {
    if (name === "lost") {
      this.lost += JSON.parse(data).records;
    } else if (name === "flow") {
      const at = position(id);
      if (at < this.end) return;
      this.come.push({ position: at, data });
      // Cut now and then, so that an event costs no move of all the others.
      if (this.come.length >= 2 * this.limit + 64) this.come = this.come.slice(-this.limit);
    }
  }

  /**
   * Begins anew with an answer of /v1/flows that was asked after the stream was
   * open. Events that it has already are left out, whether they came before it or
   * will come after: an answer is of all that was published before its history's end.
   */
  begin(answer) {
    this.end = answer.history.overwritten + answer.history.records;
    this.come = this.come.filter((event) => event.position >= this.end);
    this.answer = answer;
  }

  /** What there is now, as an answer of /v1/flows; null before the first. */
  latest() {
    if (this.answer !== null && this.come.length > 0) {
      const come = this.come.slice(-this.limit).map(({ data }) => JSON.parse(data));
      const all = [...come.reverse(), ...this.answer.flows];
      const more = this.answer.next_cursor !== null || this.come.length > come.length || all.length > this.limit;
      this.answer = { ...this.answer, flows: all.slice(0, this.limit), next_cursor: more ? "" : null };
      this.come = [];
    }
    return this.answer;
  }
}
