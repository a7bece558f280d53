import { layout, scaleBar, sizes } from "/page/layout.js";
import { drawWaves } from "/page/waves.js";
import { sequence } from "/page/sequence.js";
import { parts } from "/page/strip.js";
import { equal, test, truth } from "./check.js";
import { everyKind, fourWay, simultaneous } from "./flows.js";

const plan = (f) => layout(sequence(f).segments, f.close_kind === "simultaneous");
const withWaits = (fin, close, last) => {
  const f = fourWay();
  const start = BigInt(1700000000) * 1000000000n;
  const text = (ns) => {
    const all = start + BigInt(ns);
    return `${new Date(Number(all / 1000000000n) * 1000).toISOString().slice(0, 19)}.${String(all % 1000000000n).padStart(9, "0")}Z`;
  };
  const fin1 = 4e6;
  return {
    ...f,
    ack1_at: text(fin1 + fin),
    fin2_at: text(fin1 + fin + close),
    ack2_at: text(fin1 + fin + close + last),
    fin_wait_1_ns: fin,
    close_wait_ns: close,
    last_ack_ns: last,
  };
};

test("what is to scale is so exactly", () => {
  const { gaps, pxPerNS } = plan(fourWay());
  truth(pxPerNS > 0, "no scale");
  const exact = gaps.filter((g) => g.fit === "scale");
  truth(exact.length > 0, "nothing to scale");
  for (const g of exact)
    truth(Math.abs(g.ns * pxPerNS - g.height) <= 0.5, `${g.ns} ns are ${g.height} px, not ${g.ns * pxPerNS}`);
});

test("of two waits the longer is never drawn the shorter, from 1 ns to days", () => {
  const lengths = [1, 50e3, 40e6, 30e9, 86400e9];
  for (const a of lengths)
    for (const b of lengths)
      for (const c of lengths) {
        const gaps = plan(withWaits(a, b, c)).gaps.slice(3);
        for (const x of gaps)
          for (const y of gaps) {
            truth(
              !(x.ns > y.ns) || x.height >= y.height - 0.01,
              `${a} ${b} ${c}: ${x.ns} ns ${x.height} px, ${y.ns} ns ${y.height} px`,
            );
            truth(x.height >= sizes.least - 0.01 && x.height <= sizes.cut * 1.6, `${a} ${b} ${c}: ${x.height} px`);
          }
      }
});

test("thirty seconds beside microseconds leave both legible, and say how", () => {
  const gaps = plan(withWaits(50e3, 30e9, 60e3)).gaps.slice(3);
  truth(
    gaps.every((g) => g.height >= sizes.least),
    JSON.stringify(gaps),
  );
  truth(gaps[1].height > 2 * gaps[0].height, JSON.stringify(gaps));
  truth(
    gaps.some((g) => g.fit !== "scale"),
    "all claim to be to scale",
  );
});

test("an answer leaves below the arrival of what it answers", () => {
  for (const make of Object.values(everyKind)) {
    const f = make();
    const s = sequence(f).segments;
    const { y } = layout(s, f.close_kind === "simultaneous");
    s.forEach((answer, i) =>
      s.forEach((asked, j) => {
        if (j < i && answer.from !== asked.from && asked.ids.some((id) => answer.answers.includes(id))) {
          truth(
            y[i] - sizes.slant / 2 >= y[j] + sizes.slant / 2,
            `${f.close_kind}: ${answer.label} leaves before ${asked.label} arrives`,
          );
        }
      }),
    );
  }
});

test("FINs that crossed are drawn crossing", () => {
  const s = sequence(simultaneous()).segments;
  const { y } = layout(s, true);
  const [fin1, fin2] = ["fin1", "fin2"].map((id) => y[s.findIndex((x) => x.ids.includes(id))]);
  truth(fin2 - sizes.slant / 2 < fin1 + sizes.slant / 2, `FIN1 at ${fin1}, FIN2 at ${fin2}`);
});

test("a scale bar is round and not longer than wanted", () => {
  equal(scaleBar(0), null);
  const bar = scaleBar(1e-6, 70);
  equal(bar, { ns: 5e7, px: 50 });
});

test("every kind of close is drawn, wide and narrow, within its width", () => {
  for (const [name, make] of Object.entries(everyKind))
    for (const width of [300, 390, 600, 900]) {
      const { picture } = drawWaves(make(), width);
      equal([name, picture.getAttribute("width")], [name, String(width)]);
      equal([name, picture.querySelectorAll(".segment").length], [name, sequence(make()).segments.length]);
      truth(
        !/NaN|undefined|null/.test(picture.outerHTML),
        `${name}: ${picture.outerHTML.match(/.{40}(NaN|undefined|null).{20}/)?.[0]}`,
      );
      document.body.append(picture);
      for (const text of picture.querySelectorAll("text")) {
        const box = text.getBBox();
        truth(
          box.x >= -1 && box.x + box.width <= width + 1,
          `${name} at ${width} px: "${text.textContent}" from ${box.x} to ${box.x + box.width}`,
        );
      }
      picture.remove();
    }
});

test("a strip is shared out in proportion, and nothing vanishes", () => {
  const list = parts(fourWay());
  equal(
    list.map((p) => p.culprit),
    ["network", "application", "kernel"],
  );
  truth(Math.abs(list.reduce((sum, p) => sum + p.width, 0) - 96) < 1e-9, "the parts are not the whole");
  truth(list[2].width === 2 && list[1].width > 4 * list[0].width, JSON.stringify(list));
  equal(parts({ ...fourWay(), fin_wait_1_ns: null, close_wait_ns: null, last_ack_ns: 0 }), []);
});
