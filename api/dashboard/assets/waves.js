// The sequence diagram of a connection: a life-line for each side, its segments
// as slanted arrows, states beside the lines, and between them, on the tap's own
// line, the phases that were measured there.

import { svg } from "./elements.js";
import { duration, endpoint, octets } from "./format.js";
import { layout, scaleBar, sizes } from "./layout.js";
import { cutShort, legs, phases, refusal } from "./phases.js";
import { sequence } from "./sequence.js";
import { owner, verdict } from "./verdict.js";

const top = 84; // of the first point, below the heads of the lines
const tail = 46; // of the life-lines below the last point

/**
 * Draws a flow in `width` px. The words about each phase stand beside the
 * diagram where there is room.
 * @returns {{picture: SVGElement, notes: string[]}} notes say what is not to scale
 */
export function drawWaves(flow, width) {
  const s = sequence(flow);
  const points = pointsOf(s);
  const plan = layout(points, flow.close_kind === "simultaneous");
  const frame = { ...columns(width), points, plan, y: plan.y.map((y) => y + top) };
  frame.bottom = (frame.y[frame.y.length - 1] ?? top) + sizes.slant / 2 + tail;
  const spans = spansOf(flow, frame);
  const words = frame.words ? drawWords(flow, frame, spans) : { group: null, bottom: 0 };
  const bar = scaleBar(plan.pxPerNS);
  const height = Math.max(frame.bottom, words.bottom) + (bar ? 40 : 14);
  const picture = svg(
    "svg",
    {
      class: frame.narrow ? "waves narrow" : "waves",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `Sequence diagram. ${verdict(flow).headline}`,
    },
    drawLines(flow, frame),
    drawCuts(frame),
    drawExchange(flow, frame),
    spans.map((span) => drawSpan(span, frame)),
    drawStates(s.states, "client", frame),
    drawStates(s.states, "server", frame),
    points.map((point, i) => drawPoint(point, frame.y[i], frame)),
    words.group,
    bar && drawScaleBar(bar, frame, height - 16),
  );
  return { picture, notes: notesOf(frame) };
}

// pointsOf are the segments, and the marks of a first and a last one whose
// kind the record does not tell.
function pointsOf(s) {
  const mark = (id, offset) => ({ ids: [id], label: "", from: null, offset, answers: [], repeats: 0, transit: null });
  const points = [...s.segments];
  if (s.start !== null && !points.some((p) => p.offset <= s.start)) points.unshift(mark("start", s.start));
  if (s.end !== null) points.push(mark("end", s.end));
  return points;
}

function columns(width) {
  const narrow = width < 560;
  const words = width >= 780 ? 250 : 0;
  const side = narrow ? 86 : 116;
  const client = side;
  const server = width - words - side;
  return { width, narrow, words, client, server, tap: (client + server) / 2 };
}

function drawLines(flow, frame) {
  const group = svg("g", { class: "lines" });
  for (const side of ["client", "server"]) {
    const x = frame[side];
    const heard = flow[`${side}_tcp_flags`] !== 0;
    group.append(
      svg("text", { class: "head", x, y: 18, "text-anchor": "middle" }, side),
      svg(
        "text",
        { class: "address", x, y: 34, "text-anchor": "middle" },
        endpoint(flow[`${side}_ip`], flow[`${side}_port`]),
      ),
      svg("line", { class: heard ? "life" : "life silent", x1: x, y1: 44, x2: x, y2: frame.bottom }),
    );
  }
  group.append(
    svg("text", { class: "tap-name", x: frame.tap, y: 34, "text-anchor": "middle" }, "tap"),
    svg("line", { class: "tap", x1: frame.tap, y1: 42, x2: frame.tap, y2: frame.bottom }),
  );
  return group;
}

// drawCuts breaks all three lines where time is left out.
function drawCuts(frame) {
  const group = svg("g", { class: "cuts" });
  frame.plan.gaps.forEach((gap, i) => {
    if (gap.fit !== "cut" || gap.height < sizes.least) return;
    const y = (frame.y[i] + frame.y[i + 1]) / 2 + (gap.height > 90 ? 26 : 10);
    for (const x of [frame.client, frame.server]) group.append(drawBreak(x, y));
  });
  return group;
}

function drawBreak(x, y) {
  const zigzag = `M${x - 9} ${y + 1}l6 -6 6 8 6 -6`;
  return svg(
    "g",
    { class: "break" },
    svg("path", { class: "gap", d: `M${x - 9} ${y - 2}l6 -6 6 8 6 -6v6l-6 6 -6 -8 -6 6z` }),
    svg("path", { d: zigzag }),
    svg("path", { d: zigzag, transform: "translate(0 -6)" }),
  );
}

// drawExchange says what went both ways between opening and closing.
function drawExchange(flow, frame) {
  const i = frame.plan.gaps.findIndex(
    (gap, n) => gap.exchange && ["established", "start"].some((id) => frame.points[n].ids.includes(id)),
  );
  if (i < 0 || frame.plan.gaps[i].height < 40 || flow.client_payload_bytes + flow.server_payload_bytes === 0)
    return null;
  const y = (frame.y[i] + frame.y[i + 1]) / 2 + 4;
  const shift = frame.plan.gaps[i].fit === "cut" ? -8 : 0;
  return svg(
    "text",
    { class: "exchange", x: frame.tap, y: y + shift, "text-anchor": "middle" },
    `${octets(flow.client_payload_bytes)} →   ← ${octets(flow.server_payload_bytes)}`,
  );
}

// spansOf are the legs and phases that are known, in lanes so that those that
// overlap stand beside each other.
function spansOf(flow, frame) {
  const at = (id) => frame.points.findIndex((p) => p.ids.includes(id));
  const lanes = [];
  const spans = [];
  const abrupt = { reset: [cutShort], refused: [refusal] }[flow.close_kind] ?? [];
  for (const part of [...legs, ...phases, ...abrupt]) {
    const [from, to] = [at(part.from), at(part.to)];
    if (from < 0 || to <= from) continue;
    const ns = part.field ? flow[part.field] : frame.points[to].offset - frame.points[from].offset;
    if (ns == null) continue;
    const [y1, y2] = [frame.y[from], frame.y[to]];
    let lane = lanes.findIndex((end) => end <= y1 + 1);
    if (lane < 0) lane = lanes.length;
    lanes[lane] = y2;
    const gaps = frame.plan.gaps
      .slice(from, to)
      .map((gap, i) => ({ ...gap, middle: (frame.y[from + i] + frame.y[from + i + 1]) / 2 }));
    const cut = gaps.find((gap) => gap.fit === "cut" && gap.height >= sizes.least);
    const tallest = gaps.reduce((a, b) => (b.height > a.height ? b : a));
    const fit = cut ? "cut" : gaps.some((gap) => gap.fit === "stretched") ? "stretched" : "scale";
    spans.push({
      ...part,
      ns,
      y1,
      y2,
      lane,
      fit,
      label: tallest.middle,
      middle: (cut ?? tallest).middle,
      sender: frame.points[from].from,
    });
  }
  const overlaps = (a, b) => a !== b && a.y1 < b.y2 - 1 && b.y1 < a.y2 - 1;
  for (const span of spans) {
    // The wedge between a segment and its answer is open where the segment began.
    span.left = spans.some((other) => overlaps(span, other)) ? span.lane === 0 : span.sender === "client";
  }
  return spans;
}

// drawSpan is a dimension line on the tap's line, with its duration.
function drawSpan(span, frame) {
  const x = frame.tap + 12 * span.lane;
  const { left, middle } = span;
  const cut = span.fit === "cut";
  return svg(
    "g",
    { class: `span ${span.culprit} ${span.fit}` },
    svg("path", {
      class: "dimension",
      d: cut ? `M${x} ${span.y1}V${middle - 12}M${x} ${middle + 12}V${span.y2}` : `M${x} ${span.y1}V${span.y2}`,
    }),
    svg("path", { class: "end", d: `M${x - 5} ${span.y1}h10M${x - 5} ${span.y2}h10` }),
    cut && svg("path", { class: "end", d: `M${x - 5} ${middle - 9}l10 -6M${x - 5} ${middle + 15}l10 -6` }),
    svg(
      "text",
      { class: "length", x: x + (left ? -12 : 12), y: span.label + 4, "text-anchor": left ? "end" : "start" },
      duration(span.ns),
    ),
  );
}

function drawStates(states, side, frame) {
  const x = frame[side];
  const out = side === "client" ? -1 : 1;
  const group = svg("g", { class: "states" });
  const list = states[side];
  const begins = list.map((s, i) => {
    if (s.segment === null) return i === 0 ? 46 : frame.bottom - 14;
    const index = frame.points.findIndex((p) => p === frame.points.filter((q) => q.from !== null)[s.segment]);
    return frame.y[index] + (s.receives ? sizes.slant / 2 : -sizes.slant / 2);
  });
  let free = 0;
  list.forEach((s, i) => {
    const end = begins[i + 1] ?? frame.bottom;
    const name = s.state.toLowerCase();
    group.append(
      svg("rect", {
        class: `state state-${name}`,
        x: x - 3,
        y: begins[i],
        width: 6,
        height: Math.max(end - begins[i], 1),
      }),
    );
    const y = Math.max(begins[i] + 11, free);
    free = y + 12;
    group.append(
      svg(
        "text",
        { class: `state-name name-${name}`, x: x + out * 10, y, "text-anchor": out < 0 ? "end" : "start" },
        s.state,
      ),
    );
  });
  return group;
}

function drawPoint(point, y, frame) {
  if (point.from === null) return drawMark(point, y, frame);
  const out = point.from === "client" ? 1 : -1;
  const [from, to] = out > 0 ? [frame.client + 3, frame.server - 4] : [frame.server - 3, frame.client + 4];
  const [y1, y2] = [y - sizes.slant / 2, y + sizes.slant / 2];
  const slope = (y2 - y1) / Math.abs(to - from);
  const labelX = from + out * (frame.narrow ? 8 : 18);
  const kind = point.ids.includes("rst") ? "segment reset" : "segment";
  return svg(
    "g",
    { class: kind },
    svg("line", { x1: from, y1, x2: to - out * 7, y2: y2 - 7 * slope }),
    svg("path", { class: "tip", d: `M${to} ${y2}l${-out * 10} ${-4 - 10 * slope} ${out * 2.5} 4 ${-out * 2.5} 4z` }),
    svg("circle", { class: "seen", cx: frame.tap, cy: y, r: 2.5 }),
    svg(
      "text",
      {
        class: "segment-name",
        x: labelX,
        y: y1 + Math.abs(labelX - from) * slope - 4,
        "text-anchor": out > 0 ? "start" : "end",
      },
      point.label,
      point.repeats > 0 && svg("tspan", { class: "repeats" }, ` sent ${point.repeats + 1}×`),
      !frame.narrow &&
        svg("tspan", { class: "offset" }, `  ${point.offset === 0 ? "0" : `+${duration(point.offset)}`}`),
      !frame.narrow &&
        point.transit !== null &&
        svg("tspan", { class: "offset" }, `, ${duration(point.transit)} in the gateway`),
    ),
  );
}

// drawMark is a segment of which only the time is known.
function drawMark(point, y, frame) {
  const text = point.ids[0] === "start" ? "first segment seen" : `last segment seen, +${duration(point.offset)}`;
  return svg(
    "g",
    { class: "mark" },
    svg("line", { x1: frame.client + 4, y1: y, x2: frame.server - 4, y2: y }),
    svg("text", { x: frame.tap, y: y - 6, "text-anchor": "middle" }, text),
  );
}

// drawWords says beside the diagram whose time each phase is.
function drawWords(flow, frame, spans) {
  const x = frame.width - frame.words + 24;
  const group = svg("g", { class: "words", "aria-hidden": "true" });
  let free = 0;
  const inOrder = spans.toSorted((a, b) => a.y1 + a.y2 - b.y1 - b.y2);
  for (const span of inOrder) {
    const middle = (span.y1 + span.y2) / 2;
    const y = Math.max(middle - 3, free);
    free = y + 36;
    const inset = 6 * span.lane;
    group.append(
      svg(
        "g",
        { class: span.culprit },
        svg("path", {
          class: "bracket",
          d: `M${x - 16 - inset} ${span.y1 + 2}h6V${span.y2 - 2}h-6M${x - 10 - inset} ${middle}L${x - 4} ${y + 3}`,
        }),
        svg("text", { class: "phase", x, y }, `${span.name}  `, svg("tspan", { class: "value" }, duration(span.ns))),
        svg("text", { class: "owner", x, y: y + 15 }, owner(span.field, flow)),
      ),
    );
  }
  return { group, bottom: free };
}

function drawScaleBar(bar, frame, y) {
  const x = frame.client;
  return svg(
    "g",
    { class: "scale-bar" },
    svg("path", { d: `M${x} ${y - 4}v8M${x} ${y}h${bar.px}M${x + bar.px} ${y - 4}v8` }),
    svg("text", { x: x + bar.px + 8, y: y + 4 }, `${duration(bar.ns)}, down the page`),
  );
}

// notesOf says what is not to scale, and by how much.
function notesOf(frame) {
  const gaps = frame.plan.gaps.map((gap, i) => ({ ...gap, name: gapName(frame.points[i], frame.points[i + 1]) }));
  const notes = gaps
    .filter((g) => g.fit === "cut")
    .map(
      (g) => `Cut: ${g.name} of ${duration(g.ns)}, which to scale would be ${length(g.ns * frame.plan.pxPerNS)} long.`,
    );
  if (gaps.some((g) => g.fit === "stretched" && g.ns > 0)) {
    notes.push(
      frame.plan.pxPerNS > 0
        ? "Solid stretches are to scale, dotted ones are drawn longer than they would be."
        : "Nothing here is to scale.",
    );
  }
  return notes;
}

function gapName(from, to) {
  const part = [...legs, ...phases, cutShort, refusal].find((p) => from.ids.includes(p.from) && to.ids.includes(p.to));
  if (part) return part.name;
  const name = (point) => ({ start: "the first segment", end: "the last segment" })[point.ids[0]] ?? point.label;
  return `${name(from)} to ${name(to)}`;
}

// length of px on paper: a CSS px is 1/96 inch.
function length(px) {
  const m = (px * 0.0254) / 96;
  if (m >= 1000) return `${(m / 1000).toFixed(m < 10000 ? 1 : 0)} km`;
  if (m >= 1) return `${m.toFixed(m < 10 ? 1 : 0)} m`;
  return `${(m * 100).toFixed(0)} cm`;
}
