import { duration } from "/page/format.js";
import { layout, sizes } from "/page/layout.js";
import { sequence } from "/page/sequence.js";
import { drawWaves } from "/page/waves.js";
import { equal, test, truth } from "./check.js";
import { everyKind, fourWay, reset, simultaneous } from "./flows.js";

const number = (element, name) => Number(element.getAttribute(name));
const all = (picture, selector) => [...picture.querySelectorAll(selector)];

/** What is drawn of a flow: its arrows, phases and states, in px. */
function drawn(flow, width = 900) {
  const { picture, notes } = drawWaves(flow, width);
  return {
    notes,
    lines: all(picture, ".life").map((line) => number(line, "x1")),
    arrows: all(picture, ".segment").map((segment) => {
      const line = segment.querySelector("line");
      return {
        label: segment.querySelector(".segment-name").firstChild.data,
        seen: number(segment.querySelector(".seen"), "cy"),
        from: { x: number(line, "x1"), y: number(line, "y1") },
        to: { x: number(line, "x2"), y: number(line, "y2") },
      };
    }),
    spans: all(picture, ".span").map((span) => {
      const ends = span.querySelector(".end").getAttribute("d").match(/^M[\d.]+ ([\d.]+)h10M[\d.]+ ([\d.]+)h10$/);
      return { text: span.querySelector(".length").textContent, from: Number(ends[1]), to: Number(ends[2]) };
    }),
    states: all(picture, ".state").map((state) => ({
      state: state.getAttribute("class").replace("state state-", ""),
      side: number(state, "x"),
      from: number(state, "y"),
    })),
  };
}

test("arrows stand as far apart as the layout has them, from their sender down to their receiver", () => {
  for (const [name, make] of Object.entries(everyKind)) {
    const flow = make();
    const { segments, end } = sequence(flow);
    const last = { offset: end, ids: ["end"], answers: [] };
    const { y } = layout(end === null ? segments : [...segments, last], flow.close_kind === "simultaneous");
    const { arrows, lines } = drawn(flow);
    equal([name, arrows.length], [name, segments.length]);
    const [client, server] = lines;
    arrows.forEach((arrow, i) => {
      const told = `${name}: ${arrow.label} at ${JSON.stringify(arrow)}, lines at ${lines}`;
      truth(Math.abs(arrow.seen - arrows[0].seen - y[i]) < 0.01, `${told}, layout ${y[i]}`);
      const [sender, receiver] = segments[i].from === "client" ? [client, server] : [server, client];
      truth(Math.abs(arrow.from.x - sender) < 5 && Math.abs(arrow.to.x - receiver) < 15, told);
      truth(arrow.from.y === arrow.seen - sizes.slant / 2 && arrow.to.y > arrow.seen, told);
    });
  }
});

test("each phase is drawn between its two segments, with the record's own duration", () => {
  const { spans, arrows } = drawn(fourWay());
  const y = arrows.map((arrow) => arrow.seen);
  equal(
    spans.map(({ text, from, to }) => [text, y.indexOf(from), y.indexOf(to)]),
    [
      [duration(4000), 0, 1],
      [duration(40000), 1, 2],
      [duration(40e6), 3, 4],
      [duration(200e6), 4, 5],
      [duration(14000), 5, 6],
    ],
  );
  const cutShort = drawn(reset());
  equal(
    cutShort.spans.map(({ text }) => text).slice(2),
    [duration(1e6), duration(5e6)],
  );
});

test("a state begins where its segment leaves, or where it arrives", () => {
  const { states, arrows, lines } = drawn(fourWay());
  const begins = (state, side) => states.find((s) => s.state === state && Math.abs(s.side - lines[side]) < 5).from;
  const [fin1, ack1, fin2, ack2] = arrows.slice(3).map((arrow) => arrow.seen);
  const half = sizes.slant / 2;
  equal(
    [begins("fin-wait-1", 0), begins("close-wait", 1), begins("fin-wait-2", 0)],
    [fin1 - half, ack1 - half, ack1 + half],
  );
  equal([begins("last-ack", 1), begins("time-wait", 0), begins("closed", 1)], [fin2 - half, ack2 - half, ack2 + half]);
});

test("FINs that crossed cross on paper", () => {
  const [fin1, fin2] = drawn(simultaneous()).arrows.slice(3);
  equal([fin1.label, fin2.label], ["FIN1", "FIN2"]);
  truth(fin2.from.y < fin1.to.y && fin1.from.y < fin2.to.y, JSON.stringify([fin1, fin2]));
});

test("what is cut or drawn longer is said, and nothing where all is to scale", () => {
  const long = drawn(fourWay({ fin2_at: "2023-11-14T23:13:20.044000000Z", ack2_at: "2023-11-14T23:13:20.094000000Z" }));
  truth(
    long.notes.some((note) => /^Cut: CLOSE-WAIT of .*, which to scale would be .* long\.$/.test(note)),
    JSON.stringify(long.notes),
  );
  const even = {
    syn_at: null,
    syn_ack_at: null,
    established_at: null,
    fin1_at: "2023-11-14T22:13:20.000000000Z",
    ack1_at: "2023-11-14T22:13:20.040000000Z",
    fin2_at: "2023-11-14T22:13:20.080000000Z",
    ack2_at: "2023-11-14T22:13:20.120000000Z",
    end_at: "2023-11-14T22:13:20.120000000Z",
  };
  equal(drawn(fourWay(even)).notes, []);
});
