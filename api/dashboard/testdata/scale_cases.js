import { decades, linear, logarithmic, ticks, timeTicks } from "/page/scale.js";
import { equal, test, truth } from "./check.js";

test("a linear scale meets its ends, and one of no extent does not divide by it", () => {
  const scale = linear([10, 20], [100, 0]);
  equal([scale(10), scale(15), scale(20)], [100, 50, 0]);
  equal(linear([5, 5], [0, 100])(5), 0);
});

test("a logarithmic scale has equal decades and holds what is below", () => {
  const scale = logarithmic([1e3, 1e9], [0, 60]);
  equal(
    [1e3, 1e6, 1e9].map((v) => Math.round(scale(v))),
    [0, 30, 60],
  );
  equal([scale(0), scale(1)], [0, 0]);
});

test("ticks reach the largest value in steps of 1, 2 or 5", () => {
  equal(ticks(10, 4), [0, 5, 10]);
  equal(ticks(97, 4), [0, 50, 100]);
  equal(ticks(0.3, 3), [0, 0.1, 0.2, 0.3]);
  equal(ticks(2, 4, true), [0, 1, 2]);
  equal(ticks(0), [0, 1]);
  for (let max = 0.001; max < 1e9; max *= 1.7) {
    const list = ticks(max);
    truth(list[list.length - 1] >= max * 0.999 && list.length <= 7, `ticks of ${max}: ${list}`);
  }
});

test("decades enclose what is there, two at least", () => {
  equal(decades([1500, 2e6]), { domain: [1e3, 1e7], ticks: [1e3, 1e4, 1e5, 1e6, 1e7] });
  equal(decades([5000]).domain, [1e3, 1e5]);
  equal(decades([]).ticks.length > 1, true);
  equal(decades([0, 5000]).domain, [1e3, 1e5]);
});

test("ticks of time stand at whole steps, and are not too many", () => {
  const from = new Date(2026, 0, 31, 23, 50, 7).getTime();
  for (const span of [30e3, 60e3, 900e3, 3600e3, 86400e3, 604800e3]) {
    const list = timeTicks(from, from + span, 6);
    truth(list.length >= 1 && list.length <= 7, `${span}: ${list.length} ticks`);
    truth(
      list.every(({ at }) => at >= from && at <= from + span),
      `${span}: outside`,
    );
  }
  equal(
    timeTicks(from, from + 900e3, 3).map((t) => t.text),
    ["23:50", "23:55", "00:00", "00:05"].filter((t) => timeTicks(from, from + 900e3, 3).some((x) => x.text === t)),
  );
  equal(timeTicks(from, from + 30e3, 6).map((t) => t.text)[0], "23:50:10");
});
