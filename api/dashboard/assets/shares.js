// How connections end, over time: one bar for each interval, shared out among
// the ways to end.

import { Alternative } from "./alternative.js";
import { html, replace, svg } from "./elements.js";
import { count, dateTime, nanoseconds } from "./format.js";
import { linear, timeTicks } from "./scale.js";

const ways = [
  { name: "in order", look: "quiet", kinds: ["four_way", "three_way", "simultaneous"] },
  { name: "half closed", look: "application", kinds: ["half_closed"] },
  { name: "reset or refused", look: "reset", kinds: ["reset", "refused"] },
  { name: "no answer", look: "network", kinds: ["unanswered", "half_open"] },
  { name: "still open", look: "plain", kinds: ["open"] },
];
const [height, bottom] = [92, 22];

/** The bars of /v1/series. */
export class Shares {
  constructor(holder) {
    this.legend = html("p", { class: "legend" });
    this.picture = svg("svg", { class: "chart shares", role: "img", "aria-label": "Ways to end, over time" });
    this.table = new Alternative("Ways to end, over time", () => this.figures());
    holder.append(this.legend, this.picture, this.table.element);
    new ResizeObserver(([entry]) => {
      this.width = Math.floor(entry.contentRect.width);
      this.draw();
    }).observe(holder);
  }

  update(series) {
    this.points = series.points.map((p) => ({
      at: Number(nanoseconds(p.at) / 1000000n),
      values: ways.map(({ kinds }) => kinds.reduce((sum, kind) => sum + p.kinds[kind], 0)),
    }));
    this.interval = series.interval_ns / 1e6;
    this.used = ways.map((_, i) => this.points.some((p) => p.values[i] > 0));
    replace(
      this.legend,
      ways
        .filter((_, i) => this.used[i])
        .map(({ name, look }) => html("span", { class: `entry ${look} key-only` }, name)),
    );
    this.draw();
    this.table.update();
  }

  draw() {
    if (!this.points || !this.width) return;
    const from = this.points[0].at;
    const to = this.points[this.points.length - 1].at + this.interval;
    const x = linear([from, to], [0, this.width]);
    this.picture.setAttribute("width", this.width);
    this.picture.setAttribute("height", height);
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    const ticks = timeTicks(from, to, Math.max(2, Math.floor(this.width / 90)));
    this.picture.replaceChildren(
      ...this.points.map((point) => drawBar(point, x(point.at), x(point.at + this.interval))),
      svg(
        "g",
        { class: "axes" },
        ticks
          .filter(({ at }) => x(at) > 20 && x(at) < this.width - 20)
          .map(({ at, text }) => svg("text", { x: x(at), y: height - 5, "text-anchor": "middle" }, text)),
      ),
    );
  }

  figures() {
    if (!this.points) return null;
    const shown = (list) => list.filter((_, i) => this.used[i]);
    return {
      heads: ["From", ...shown(ways).map((way) => way.name)],
      rows: this.points.map((p) => [dateTime(p.at), ...shown(p.values).map(count)]).reverse(),
    };
  }
}

function drawBar({ values }, from, to) {
  const total = values.reduce((sum, n) => sum + n, 0);
  let y = height - bottom;
  const group = svg("g");
  values.forEach((n, i) => {
    if (n === 0) return;
    const size = ((height - bottom) * n) / total;
    y -= size;
    group.append(svg("rect", { class: ways[i].look, x: from, y, width: Math.max(to - from - 0.6, 0.6), height: size }));
  });
  return group;
}
