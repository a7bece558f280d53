// The strip of a connection: its teardown as one bar, shared out among those
// whose time it was.

import { svg } from "./elements.js";
import { duration } from "./format.js";
import { phases } from "./phases.js";

const [width, height, least] = [96, 10, 2];

/**
 * The parts of a strip in px, none narrower than can be seen.
 * @returns {{culprit: string, x: number, width: number}[]}
 */
export function parts(flow) {
  const known = phases.filter((p) => flow[p.field] > 0);
  const total = known.reduce((sum, p) => sum + flow[p.field], 0);
  if (total === 0) return [];
  const widths = known.map((p) => Math.max(least, (width * flow[p.field]) / total));
  // What the narrow ones take, the widest gives.
  const widest = widths.indexOf(Math.max(...widths));
  widths[widest] -= widths.reduce((sum, w) => sum + w, 0) - width;
  let x = 0;
  return known.map((p, i) => {
    x += widths[i];
    return { culprit: p.culprit, x: x - widths[i], width: widths[i] };
  });
}

/** Draws a flow's strip; its name lists the phases for those who do not see it. */
export function drawStrip(flow) {
  const list = parts(flow);
  if (list.length === 0) return null;
  const name = phases
    .filter((p) => flow[p.field] != null)
    .map((p) => `${p.name} ${duration(flow[p.field])}`)
    .join(", ");
  return svg(
    "svg",
    { class: "strip", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name },
    list.map((p) => svg("rect", { class: p.culprit, x: p.x, width: Math.max(p.width - 1, 1), height })),
  );
}
