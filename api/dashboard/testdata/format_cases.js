import { count, digits, duration, endpoint, nanoseconds, octets, percent, short } from "/page/format.js";
import { equal, test } from "./check.js";

test("durations have three digits and one unit", () => {
  const want = [
    [null, "–"],
    [0, "0 s"],
    [1, "1 ns"],
    [340, "340 ns"],
    [999.9, "1 µs"],
    [1000, "1 µs"],
    [1970, "1.97 µs"],
    [41624990, "41.6 ms"],
    [999999999, "1 s"],
    [1e9, "1 s"],
    [30e9, "30 s"],
    [59.9e9, "59.9 s"],
    [59.99e9, "1 min"],
    [60e9, "1 min"],
    [252e9, "4 min 12 s"],
    [3600e9, "1 h"],
    [11520e9, "3 h 12 min"],
    [90000e9, "1 d 1 h"],
  ];
  equal(
    want.map(([ns]) => duration(ns)),
    want.map(([, text]) => text),
  );
});

test("numbers", () => {
  equal([0, 7, 7.5, 12.34, 123.4, 1234].map(digits), ["0", "7", "7.50", "12.3", "123", "1234"]);
  equal([0, 999, 1000, 320299, 1234567].map(count), ["0", "999", "1,000", "320,299", "1,234,567"]);
  equal([0, 12.3, 999, 999.6, 1000, 2e6, 3.21e9].map(short), ["0", "12.3", "999", "1 k", "1 k", "2 M", "3.21 G"]);
  equal([null, 0, 689, 2431, 5e9].map(octets), ["–", "0 B", "689 B", "2.43 kB", "5 GB"]);
});

test("a share that is there is never 0 %, one that is not all never 100 %", () => {
  equal(
    [
      [0, 0],
      [0, 9],
      [1, 1e6],
      [999999, 1e6],
      [1, 3],
      [3, 3],
    ].map(([a, b]) => percent(a, b)),
    ["–", "0 %", "< 0.1 %", "> 99.9 %", "33.3 %", "100 %"],
  );
});

test("times keep their nanoseconds", () => {
  equal(nanoseconds("2026-11-22T09:55:01.391528829Z") - nanoseconds("2026-11-22T09:55:01.391528828Z"), 1n);
  equal(nanoseconds("1970-01-01T00:00:00.000000000Z"), 0n);
  equal(nanoseconds("1970-01-01T00:00:01Z"), 1000000000n);
  equal(nanoseconds(null), null);
});

test("endpoints", () =>
  equal([endpoint("192.0.2.1", 80), endpoint("2001:db8::1", 443)], ["192.0.2.1:80", "[2001:db8::1]:443"]));
