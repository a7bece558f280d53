// A table of many rows of which only those in view are in the document: ten
// thousand cost what forty do. Rows are of one height, --row in table.css.

import { html } from "./elements.js";

const beyond = 12; // rows above and below those in view

export class Rows {
  /**
   * @param {HTMLElement} scroller  what scrolls; its table's body is `body`
   * @param {HTMLElement} body
   * @param {(item: Object, index: number) => HTMLElement} make  the row of an item, with one link
   * @param {(item: Object) => string} identify
   */
  constructor(scroller, body, make, identify) {
    Object.assign(this, { scroller, body, make, identify, items: [] });
    this.above = html("div", { class: "spacer", role: "presentation" });
    this.below = html("div", { class: "spacer", role: "presentation" });
    scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(scroller);
    body.addEventListener("keydown", (event) => this.key(event));
  }

  /** Shows other items. The row that has the focus keeps it, where it is still there. */
  update(items) {
    this.items = items;
    this.drawn = null;
    this.draw();
  }

  schedule() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.draw();
    });
  }

  get height() {
    return parseFloat(getComputedStyle(this.scroller).getPropertyValue("--row")) || 36;
  }

  draw() {
    const height = this.height;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / height) - beyond);
    const last = Math.min(
      this.items.length,
      Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / height) + beyond,
    );
    if (this.drawn?.first === first && this.drawn.last === last && this.drawn.height === height) return;
    this.drawn = { first, last, height };
    const focused = this.body.contains(document.activeElement)
      ? document.activeElement.closest("[data-id]")?.dataset.id
      : null;
    this.above.style.height = `${first * height}px`;
    this.below.style.height = `${(this.items.length - last) * height}px`;
    const rows = this.items.slice(first, last).map((item, i) => {
      const row = this.make(item, first + i);
      row.dataset.id = this.identify(item);
      row.dataset.index = first + i;
      return row;
    });
    this.body.replaceChildren(this.above, ...rows, this.below);
    if (focused)
      this.linkOf(this.items.findIndex((item) => this.identify(item) === focused))?.focus({ preventScroll: true });
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
