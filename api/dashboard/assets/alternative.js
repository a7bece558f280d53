// The table below a chart, for those who do not see it or want its figures.

import { html, replace } from "./elements.js";

export class Alternative {
  /**
   * @param {string} label
   * @param {() => ?{heads: string[], rows: string[][]}} read  what the table has, asked for while it is open;
   * the first cell of a row names it
   */
  constructor(label, read) {
    this.label = label;
    this.read = read;
    this.table = html("div", { class: "scroll" });
    const summary = html("summary", {}, "As a table");
    this.element = html("details", { class: "as-table", ontoggle: () => this.update() }, summary, this.table);
  }

  /** Shows what there is now. */
  update() {
    const found = this.element.open ? this.read() : null;
    if (found === null) return;
    const heads = found.heads.map((head) => html("th", { scope: "col" }, head));
    const rows = found.rows.map(([name, ...cells]) =>
      html(
        "tr",
        {},
        html("th", { scope: "row" }, name),
        cells.map((cell) => html("td", {}, cell)),
      ),
    );
    const caption = html("caption", { class: "unseen" }, this.label);
    const head = html("thead", {}, html("tr", {}, heads));
    replace(this.table, html("table", { class: "plain-table" }, caption, head, html("tbody", {}, rows)));
  }
}
