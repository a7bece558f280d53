// A table of many rows of which only those in view are in the document: ten
// thousand cost what forty do. Rows are of one height, --row in table.css.

import { html } from "./elements.js";

const beyond = 24; // rows above and below those in view

export class Rows {
  /**
   * @param {HTMLElement} scroller  what scrolls; its table's body is `body`
   * @param {HTMLElement} body
   * @param {(item: Object) => HTMLElement} make  the row of an item, with one link
   * @param {(item: Object) => string} identify
   */
  constructor(scroller, body, make, identify) {
    Object.assign(this, { scroller, body, make, identify, items: [] });
    this.above = html("div", { class: "spacer", role: "presentation" });
    this.below = html("div", { class: "spacer", role: "presentation" });
    this.made = new Map(); // rows in the document, by index, without gaps
    this.first = this.last = 0; // of what is made, the last left out
    body.append(this.above, this.below);
    scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(scroller);
    body.addEventListener("keydown", (event) => this.key(event));
  }

  /**
   * Shows other items. Where they are the same objects with others in front, rows
   * that are in the document stay, and so does what the reader looks at. The row that
   * has the focus keeps it, where it is still there.
   */
  update(items) {
    const focused = this.body.contains(document.activeElement) && document.activeElement.closest("[data-id]");
    const shift = this.shiftTo(items);
    this.items = items;
    if (shift !== null) this.shiftBy(shift, focused);
    else this.drawAnew();
    if (focused && !focused.isConnected) this.refocus(focused.dataset);
  }

  // refocus gives the focus to the row that was made anew, and moves what is in view
  // along with it.
  refocus({ id, index }) {
    const now = this.items.findIndex((item) => this.identify(item) === id);
    if (now < 0) return;
    this.scroller.scrollTop += (now - index) * this.height;
    this.draw();
    this.linkOf(now)?.focus({ preventScroll: true });
  }

  // shiftTo is by how much the rows that are made move in other items, null where
  // these are not the same.
  shiftTo(items) {
    if (this.made.size === 0) return null;
    const shift = items.indexOf(this.items[this.first]) - this.first;
    if (shift < 0) return null;
    const same = (index) => index + shift >= items.length || items[index + shift] === this.items[index];
    return [...this.made.keys()].every(same) ? shift : null;
  }

  shiftBy(shift, focused) {
    const before = this.made;
    this.made = new Map();
    for (const [index, row] of before) this.place(row, index + shift);
    const y = this.scroller.scrollTop;
    if (shift > 0 && (y > 0 || focused)) {
      this.above.style.height = `${(this.first + shift) * this.height}px`;
      this.scroller.scrollTop = y + shift * this.height;
    }
    this.first = this.last = 0; // so that all is drawn that has come near
    this.draw();
  }

  place(row, index) {
    row.dataset.index = index;
    row.setAttribute("aria-rowindex", String(index + 2)); // the first is the head
    this.made.set(index, row);
  }

  // measure takes the height of rows, which a narrow screen changes.
  measure() {
    const height = parseFloat(getComputedStyle(this.scroller).getPropertyValue("--row"));
    if (height === this.height) {
      this.schedule();
      return;
    }
    this.height = height;
    this.drawAnew();
  }

  schedule() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.draw();
    });
  }

  drawAnew() {
    for (const row of this.made.values()) row.remove();
    this.made.clear();
    if (this.height > 0) this.draw();
  }

  // draw makes the rows that have come near, and lets those go that are far.
  draw() {
    const from = Math.min(Math.floor(this.scroller.scrollTop / this.height), Math.max(0, this.items.length - 1));
    const to = Math.min(this.items.length, from + Math.ceil(this.scroller.clientHeight / this.height) + 1);
    if (this.made.size > 0 && this.first <= from && to <= this.last) return;
    this.first = Math.max(0, from - beyond);
    this.last = Math.min(this.items.length, to + beyond);
    for (const [index, row] of this.made) {
      if (index >= this.first && index < this.last) continue;
      row.remove();
      this.made.delete(index);
    }
    const kept = this.made.size > 0 ? Math.min(...this.made.keys()) : this.last;
    this.above.after(...this.makeRows(this.first, kept));
    this.below.before(...this.makeRows(kept, this.last));
    this.above.style.height = `${this.first * this.height}px`;
    this.below.style.height = `${(this.items.length - this.last) * this.height}px`;
  }

  // makeRows makes those rows between two indices that are not there.
  makeRows(from, to) {
    const rows = [];
    for (let index = from; index < to; index++) {
      if (this.made.has(index)) continue;
      const row = this.make(this.items[index]);
      row.dataset.id = this.identify(this.items[index]);
      this.place(row, index);
      rows.push(row);
    }
    return rows;
  }

  key(event) {
    const row = event.target.closest("[data-index]");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = Number(row.dataset.index);
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.height) - 1);
    const next = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + page,
      PageUp: index - page,
      Home: 0,
      End: this.items.length - 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(this.items.length - 1, next)));
  }

  /** Gives the focus to the link of a row, and brings it into view. */
  focus(index) {
    const height = this.height;
    const head = this.scroller.querySelector(".head-row")?.offsetHeight ?? 0;
    const y = index * height;
    if (y < this.scroller.scrollTop) this.scroller.scrollTop = y;
    else if (y + height + head > this.scroller.scrollTop + this.scroller.clientHeight)
      this.scroller.scrollTop = y + height + head - this.scroller.clientHeight;
    this.draw();
    this.linkOf(index)?.focus({ preventScroll: true });
  }

  linkOf(index) {
    return this.body.querySelector(`[data-index="${index}"] a`);
  }
}
