import { Newest, position } from "/page/newest.js";
import { Parser, readEvents } from "/page/stream.js";
import { equal, test, truth } from "./check.js";

const events = (...pieces) => {
  const list = [];
  const parser = new Parser((event) => list.push(event));
  for (const piece of pieces) parser.feed(piece);
  return list;
};

const text = ': finwait\n\nid: a-7\nevent: flow\ndata: {"n":1}\n\nevent: lost\ndata: {"records":3}\n\n';
const want = [
  { name: "flow", id: "a-7", data: '{"n":1}' },
  { name: "lost", id: "a-7", data: '{"records":3}' },
];

test("events are the same however the text is cut", () => {
  equal(events(text), want);
  equal(events(...text), want);
  for (const end of ["\r\n", "\r"]) {
    const other = `${text}:`.replaceAll("\n", end); // a CR is over when something follows
    equal(events(other), want);
    equal(events(...other), want);
  }
});

test("what an event may be besides", () => {
  equal(events("data:a\ndata: b\ndata\n\n"), [{ name: "message", id: "", data: "a\nb\n" }]);
  equal(events("event: flow\n\n", "data: 1\n\n"), [{ name: "message", id: "", data: "1" }]);
  equal(events("data: cut off"), []);
});

test("a line without an end is given up", () => {
  let failed = false;
  try {
    events(...Array(20).fill("x".repeat(1 << 16)));
  } catch {
    failed = true;
  }
  truth(failed, "it was kept");
});

test("a stream is read to its end, and characters that are cut too", async () => {
  const octets = new TextEncoder().encode("data: é\n\ndata: 2\n\n");
  const body = new ReadableStream({
    start(controller) {
      for (const octet of octets) controller.enqueue(Uint8Array.of(octet));
      controller.close();
    },
  });
  const list = [];
  await readEvents(body, ({ data }) => list.push(data));
  equal(list, ["é", "2"]);
});

const record = (n) => ({ flow_id: String(n) });
const page = (from, to, more = null, overwritten = 0) => ({
  flows: Array.from({ length: to - from }, (_, i) => record(to - 1 - i)),
  next_cursor: more,
  history: { overwritten, records: to - overwritten },
});
const bring = (newest, from, to) => {
  for (let n = from; n < to; n++) newest.take({ name: "flow", id: `h-${n}`, data: JSON.stringify(record(n)) });
};
const shown = (newest) => newest.latest().flows.map((f) => Number(f.flow_id));

test("positions are at the end of ids", () => equal(["1abc-0", "z-4712"].map(position), [0, 4712]));

test("an answer and its stream have neither a gap nor a record twice", () => {
  const newest = new Newest(5);
  equal(newest.latest(), null);
  bring(newest, 2, 5); // the answer has the first two of them
  newest.begin(page(0, 4, null, 0));
  equal(shown(newest), [4, 3, 2, 1, 0]);
  equal(newest.latest().next_cursor, null);
  bring(newest, 5, 7);
  equal(shown(newest), [6, 5, 4, 3, 2]);
  truth(newest.latest().next_cursor !== null, "two records have no room, and nothing tells so");
});

test("events that come after an answer that has them are not shown twice", () => {
  const newest = new Newest(5);
  newest.begin(page(2, 9, "c", 1));
  bring(newest, 7, 11);
  equal(shown(newest), [10, 9, 8, 7, 6]);
});

test("no more is kept than is shown, and what was lost is counted", () => {
  const newest = new Newest(3);
  newest.begin(page(0, 0));
  bring(newest, 0, 100000);
  truth(newest.come.length < 100, `${newest.come.length} are kept`);
  newest.take({ name: "lost", id: "", data: '{"records":40}' });
  newest.take({ name: "lost", id: "", data: '{"records":2}' });
  equal([shown(newest), newest.lost], [[99999, 99998, 99997], 42]);
  equal(newest.latest() === newest.latest(), true);
});
