// Scales of axes, and where their ticks stand.

/** Maps domain [a, b] to range [c, d] evenly. */
export function linear([a, b], [c, d]) {
  const k = b === a ? 0 : (d - c) / (b - a);
  return (value) => c + (value - a) * k;
}

/** Maps domain [a, b], both above 0, to range [c, d] by logarithm; what is below a stays at a. */
export function logarithmic([a, b], range) {
  const inner = linear([Math.log10(a), Math.log10(b)], range);
  return (value) => inner(Math.log10(Math.max(value, a)));
}

/** Ticks from 0 to at least max in about `wanted` steps of 1, 2 or 5 times a power of ten. */
export function ticks(max, wanted = 4, whole = false) {
  if (!(max > 0)) return [0, 1];
  const raw = max / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].find((m) => m * power >= raw * 0.999) * power;
  if (whole) step = Math.max(1, step);
  const list = [];
  for (let i = 0; i * step < max * 1.0001 + step * 0.999; i++) list.push(Number((i * step).toPrecision(12)));
  return list;
}

/**
 * The ends of a logarithmic axis in whole decades around the values, which are
 * above 0, and a tick at each decade.
 */
export function decades(values) {
  const known = values.filter((v) => v > 0);
  if (known.length === 0) return { domain: [1e3, 1e9], ticks: [1e3, 1e6, 1e9] };
  let low = Math.floor(Math.log10(Math.min(...known)));
  let high = Math.ceil(Math.log10(Math.max(...known)));
  if (high - low < 2) high = low + 2;
  const list = [];
  for (let e = low; e <= high; e++) list.push(Number(`1e${e}`));
  return { domain: [list[0], list[list.length - 1]], ticks: list };
}

const timeSteps = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
];

/**
 * Ticks of a time axis in ms since the epoch, at whole steps of local time, at
 * most `most` of them.
 * @returns {{at: number, text: string}[]}
 */
export function timeTicks(from, to, most = 6) {
  const step = 1000 * (timeSteps.find((s) => (to - from) / 1000 / s <= most) ?? timeSteps[timeSteps.length - 1]);
  const offset = new Date(from).getTimezoneOffset() * 60000;
  const list = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step)
    list.push({ at, text: tickText(at, step) });
  return list;
}

function tickText(at, step) {
  const t = new Date(at);
  const two = (n) => String(n).padStart(2, "0");
  const midnight = t.getHours() === 0 && t.getMinutes() === 0 && t.getSeconds() === 0;
  if (step >= 86400000 || (midnight && step >= 3600000)) return `${two(t.getMonth() + 1)}-${two(t.getDate())}`;
  const text = `${two(t.getHours())}:${two(t.getMinutes())}`;
  return step < 60000 ? `${text}:${two(t.getSeconds())}` : text;
}
