// Lines over time, drawn as SVG in px. The legend has the values: those of the
// last interval, or of the one under the pointer or the keyboard's cursor. Both
// can choose a part of the time: the pointer by dragging, the keyboard by Enter
// at either end.

import { Alternative } from "./alternative.js";
import { html, svg, setText } from "./elements.js";
import { dateTime } from "./format.js";
import { decades, linear, logarithmic, ticks, timeTicks } from "./scale.js";

const margin = { top: 8, right: 8, bottom: 22, left: 52 };

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {string} look   classes: a colour of theme.css, and thin, dashed or area
 *
 * @typedef {object} Data
 * @property {number} from   ms since the epoch
 * @property {number} to
 * @property {number} kept   ms since the epoch from which all is known
 * @property {number} interval  ms
 * @property {number[]} at   the middle of each interval
 * @property {(?number)[][]} values  of each line
 * @property {number[]=} domain  of a logarithmic axis that charts share
 */

export class TimeChart {
  /**
   * @param {Element} holder
   * @param {object} options
   * @param {string} options.label
   * @param {Line[]} options.lines
   * @param {(value: ?number) => string} options.format
   * @param {(from: number, to: number) => void} options.choose  is told of a time that was chosen, in ms
   * @param {boolean=} options.log    a logarithmic axis
   * @param {boolean=} options.whole  ticks at whole numbers
   * @param {number=} options.height  px
   */
  constructor(holder, options) {
    this.options = { height: 190, ...options };
    this.data = null;
    this.cursor = null;
    this.anchor = null; // ms since the epoch at which a choice of time began
    this.values = options.lines.map(() => html("span", { class: "value" }, "–"));
    this.when = html("span", { class: "when" });
    this.picture = svg("svg", {
      class: "chart",
      role: "slider",
      tabindex: "0",
      "aria-label": `${options.label}, over time`,
      "aria-orientation": "horizontal",
    });
    this.table = new Alternative(options.label, () => this.figures());
    const legend = html(
      "p",
      { class: "legend" },
      options.lines.map((line, i) =>
        html(
          "span",
          { class: `entry ${line.look}` },
          html("span", { class: "swatch", "aria-hidden": "true" }),
          `${line.name} `,
          this.values[i],
        ),
      ),
      this.when,
    );
    holder.replaceChildren(legend, this.picture, this.table.element);
    this.listen();
    this.width = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width !== this.width && width > 0) {
        this.width = width;
        this.draw();
      }
    }).observe(holder);
  }

  /** @param {Data} data */
  update(data) {
    this.data = data;
    this.draw();
    this.table.update();
  }

  listen() {
    const follow = (event) => {
      if (!this.data || !this.x) return;
      const box = this.picture.getBoundingClientRect();
      this.moveTo(this.nearest(this.x.invert(event.clientX - box.left)));
    };
    const leave = () => {
      this.anchor = null;
      this.moveTo(null);
    };
    this.picture.addEventListener("pointermove", follow);
    this.picture.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      follow(event);
      this.anchor = this.cursor === null ? null : this.data.at[this.cursor];
    });
    this.picture.addEventListener("pointerup", () => this.choose());
    this.picture.addEventListener("pointerleave", leave);
    this.picture.addEventListener("pointercancel", leave);
    this.picture.addEventListener("blur", leave);
    this.picture.addEventListener("keydown", (event) => this.key(event));
  }

  // choose ends a choice of time that began at the anchor, where it has a length.
  choose() {
    const anchor = this.anchor;
    this.anchor = null;
    if (anchor === null || this.cursor === null) return;
    const [from, to] = [anchor, this.data.at[this.cursor]].sort((a, b) => a - b);
    const half = this.data.interval / 2;
    if (to > from) this.options.choose(from - half, to + half);
    else this.drawCursor();
  }

  key(event) {
    if (!this.data || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && this.cursor !== null) {
      event.preventDefault();
      if (this.anchor !== null) this.choose();
      else this.anchor = this.data.at[this.cursor];
      return;
    }
    if (event.key === "Escape") this.anchor = null;
    const last = this.data.at.length - 1;
    const now = this.cursor ?? this.shown;
    const next = {
      ArrowLeft: now - 1,
      ArrowRight: now + 1,
      PageUp: now - 10,
      PageDown: now + 10,
      Home: 0,
      End: last,
      Escape: null,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.moveTo(next === null ? null : Math.max(0, Math.min(last, next)));
  }

  nearest(ms) {
    let best = null;
    this.data.at.forEach((at, i) => {
      if (best === null || Math.abs(at - ms) < Math.abs(this.data.at[best] - ms)) best = i;
    });
    return best;
  }

  moveTo(index) {
    this.cursor = index;
    if (this.data) this.drawCursor();
  }

  draw() {
    if (!this.data || this.width === 0) return;
    const { height, log, whole } = this.options;
    const { from, to, values } = this.data;
    const known = values.flat().filter((v) => v !== null);
    const range = [height - margin.bottom, margin.top];
    const axis = log ? decades(this.data.domain ?? known) : { ticks: ticks(Math.max(0, ...known), 3, whole) };
    this.y = log ? logarithmic(axis.domain, range) : linear([0, axis.ticks[axis.ticks.length - 1]], range);
    this.x = linear([from, to], [margin.left, this.width - margin.right]);
    this.x.invert = linear([margin.left, this.width - margin.right], [from, to]);
    this.picture.setAttribute("width", this.width);
    this.picture.setAttribute("height", height);
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.marks = svg("g", { class: "cursor" });
    this.picture.replaceChildren(
      this.drawUnkept(),
      this.drawAxes(axis.ticks),
      ...values.map((v, i) => this.drawLine(v, this.options.lines[i])),
      this.marks,
    );
    this.drawCursor();
  }

  // drawUnkept shades the time of which records were overwritten, or before the appliance.
  drawUnkept() {
    const x = Math.min(this.x(this.data.kept), this.width - margin.right);
    if (x <= margin.left + 1) return svg("g");
    return svg(
      "g",
      { class: "unkept" },
      svg("rect", {
        x: margin.left,
        y: margin.top,
        width: x - margin.left,
        height: this.options.height - margin.top - margin.bottom,
      }),
      x - margin.left > 110 && svg("text", { x: margin.left + 8, y: margin.top + 16 }, "no records kept"),
    );
  }

  drawAxes(yTicks) {
    const right = this.width - margin.right;
    const bottom = this.options.height - margin.bottom;
    const labelled = yTicks.length > 6 ? yTicks.filter((_, i) => (yTicks.length - 1 - i) % 2 === 0) : yTicks;
    return svg(
      "g",
      { class: "axes", "aria-hidden": "true" },
      yTicks.map((v) => svg("line", { x1: margin.left, x2: right, y1: this.y(v), y2: this.y(v) })),
      labelled.map((v) =>
        svg("text", { x: margin.left - 8, y: this.y(v) + 4, "text-anchor": "end" }, this.options.format(v)),
      ),
      timeTicks(this.data.from, this.data.to, Math.max(2, Math.floor(this.width / 90))).map(({ at, text }) =>
        svg(
          "g",
          {},
          svg("line", { class: "tick", x1: this.x(at), x2: this.x(at), y1: bottom, y2: bottom + 4 }),
          this.x(at) < right - 14 && svg("text", { x: this.x(at), y: bottom + 17, "text-anchor": "middle" }, text),
        ),
      ),
    );
  }

  drawLine(values, line) {
    let path = "";
    let area = "";
    const alone = [];
    const base = this.options.height - margin.bottom;
    for (let i = 0; i < values.length; i++) {
      if (values[i] === null) continue;
      const begins = i === 0 || values[i - 1] === null;
      const ends = i === values.length - 1 || values[i + 1] === null;
      const point = `${this.x(this.data.at[i]).toFixed(1)} ${this.y(values[i]).toFixed(1)}`;
      path += `${begins ? "M" : "L"}${point}`;
      if (begins) area += `M${this.x(this.data.at[i]).toFixed(1)} ${base}`;
      area += `L${point}`;
      if (ends) area += `V${base}Z`;
      if (begins && ends) alone.push(svg("circle", { cx: this.x(this.data.at[i]), cy: this.y(values[i]), r: 1.8 }));
    }
    return svg(
      "g",
      { class: `line ${line.look}` },
      line.look.includes("area") && svg("path", { class: "fill", d: area }),
      svg("path", { class: "stroke", d: path }),
      alone,
    );
  }

  drawCursor() {
    const { at, values } = this.data;
    // The last interval may have only begun, and then says nothing.
    const latest = values[0].findLastIndex((v) => v !== null);
    const index = Math.min(this.cursor ?? (latest >= at.length - 3 ? latest : at.length - 1), at.length - 1);
    this.shown = index;
    const format = this.options.format;
    values.forEach((v, i) => setText(this.values[i], index < 0 ? "–" : format(v[index])));
    setText(this.when, this.cursor === null || index < 0 ? "" : dateTime(at[index]));
    const said = this.options.lines
      .map((line, i) => `${line.name} ${index < 0 ? "unknown" : format(values[i][index])}`)
      .join(", ");
    this.picture.setAttribute("aria-valuemin", "0");
    this.picture.setAttribute("aria-valuemax", String(Math.max(at.length - 1, 0)));
    this.picture.setAttribute("aria-valuenow", String(Math.max(index, 0)));
    this.picture.setAttribute("aria-valuetext", index < 0 ? "no data" : `${dateTime(at[index])}: ${said}`);
    if (!this.marks) return;
    if (this.cursor === null || index < 0) {
      this.marks.replaceChildren();
      return;
    }
    const x = this.x(at[index]);
    const chosen = this.anchor === null ? x : this.x(this.anchor);
    this.marks.replaceChildren(
      svg("rect", {
        x: Math.min(x, chosen),
        y: margin.top,
        width: Math.abs(x - chosen),
        height: this.options.height - margin.top - margin.bottom,
      }),
      svg("line", { x1: x, x2: x, y1: margin.top, y2: this.options.height - margin.bottom }),
      ...values
        .map(
          (v, i) =>
            v[index] !== null &&
            svg("circle", { class: this.options.lines[i].look, cx: x, cy: this.y(v[index]), r: 3 }),
        )
        .filter(Boolean),
    );
  }

  figures() {
    if (!this.data) return null;
    const { at, values } = this.data;
    return {
      heads: ["Time", ...this.options.lines.map((line) => line.name)],
      rows: at.map((ms, i) => [dateTime(ms), ...values.map((v) => this.options.format(v[i]))]).reverse(),
    };
  }
}
