// Numbers, durations and times as the page writes them. No locale: figures
// look the same for everybody who compares two screens.

const durationUnits = [
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
  [1, "ns"],
];

/** A number of three significant digits without an exponent; none behind the point where all are 0. */
export function digits(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2).replace(/\.0+$/, "");
}

/** A duration of ns, such as 41.6 ms or 3 h 12 min; a dash for null. */
export function duration(ns) {
  if (ns == null) return "–";
  if (ns === 0) return "0 s";
  const seconds = ns / 1e9;
  if (seconds >= 59.95) return longDuration(Math.round(seconds));
  for (const [size, unit] of durationUnits) {
    // 999.9 µs rounds to 1000 µs, which is 1 ms.
    if (ns >= size * 0.9995 || unit === "ns") return `${digits(ns / size)} ${unit}`;
  }
}

function longDuration(seconds) {
  const parts = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = parts.findIndex(([size]) => seconds >= size);
  const text = [];
  for (const [size, unit] of parts.slice(first, first + 2)) {
    const whole = Math.floor(seconds / size);
    seconds -= whole * size;
    if (whole > 0) text.push(`${whole} ${unit}`);
  }
  return text.join(" ");
}

/** A whole number with commas. */
export function count(n) {
  return n == null ? "–" : String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A number with the prefix of its unit, such as 1.2 k. */
export function short(n) {
  for (const [size, unit] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ]) {
    if (Math.abs(n) >= size * 0.9995) return `${digits(n / size)} ${unit}`;
  }
  return digits(n);
}

/** Octets in powers of 1000, such as 2.11 kB. */
export function octets(n) {
  return n == null ? "–" : short(n).replace(/( ?)([kMG]?)$/, " $2B");
}

/** A share of a whole; what is there never rounds to 0, what is missing never to 100. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  if (part > 0 && share < 0.1) return "< 0.1 %";
  if (part < whole && share > 99.9) return "> 99.9 %";
  return `${share >= 99.95 || share === 0 ? share.toFixed(0) : share.toFixed(1)} %`;
}

/**
 * Nanoseconds since the epoch of an RFC 3339 time in UTC, exactly.
 * @returns {?bigint}
 */
export function nanoseconds(text) {
  if (text == null) return null;
  const [whole, fraction = ""] = text.replace(/Z$/, "").split(".");
  return BigInt(Date.parse(`${whole}Z`)) * 1000000n + BigInt(fraction.padEnd(9, "0").slice(0, 9) || "0");
}

const two = (n) => String(n).padStart(2, "0");

/** The local time of day of an RFC 3339 time, with milliseconds. */
export function timeOfDay(text) {
  const t = new Date(text);
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}.${String(t.getMilliseconds()).padStart(3, "0")}`;
}

/** The local date and time of ms since the epoch, to the second. */
export function dateTime(ms) {
  const t = new Date(ms);
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

/** An address and a port, IPv6 in brackets. */
export function endpoint(address, port) {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
