// The smallest harness that does: named cases, and comparison by value.

const cases = [];

export function test(name, body) {
  cases.push({ name, body });
}

/** Throws unless both are the same as text; bigint and undefined are told apart. */
export function equal(got, want) {
  const text = (value) =>
    JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v === undefined ? "undefined" : v));
  if (text(got) !== text(want)) throw new Error(`got ${text(got)}, want ${text(want)}`);
}

export function truth(what, message) {
  if (!what) throw new Error(message);
}

/** Runs all cases, one after the other. @returns {Promise<{ran: number, failures: string[]}>} */
export async function run() {
  const failures = [];
  for (const { name, body } of cases) {
    try {
      await body();
    } catch (error) {
      failures.push(`${name}: ${error.message}`);
    }
  }
  return { ran: cases.length, failures };
}
