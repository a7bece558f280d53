import { sequence } from "/page/sequence.js";
import { equal, test } from "./check.js";
import {
  at,
  everyKind,
  fourWay,
  flow,
  halfClosed,
  midstream,
  open,
  refused,
  reset,
  simultaneous,
  threeWay,
  unanswered,
} from "./flows.js";

const segments = (f) => sequence(f).segments.map((s) => `${s.label} ${s.from}`);
const states = (f, side) => sequence(f).states[side].map((s) => s.state);

test("segments stand in the order of their times, with who sent them", () => {
  equal(segments(fourWay()), [
    "SYN client",
    "SYN-ACK server",
    "ACK client",
    "FIN1 client",
    "ACK1 server",
    "FIN2 server",
    "ACK2 client",
  ]);
  equal(segments(simultaneous()), [
    "SYN client",
    "SYN-ACK server",
    "ACK client",
    "FIN1 client",
    "FIN2 server",
    "ACK2 client",
    "ACK1 server",
  ]);
  equal(segments(refused()), ["SYN client", "RST server"]);
  equal(segments(reset()).at(-1), "RST server");
});

test("a FIN that is the ACK is one segment", () =>
  equal(segments(threeWay()).slice(3), ["FIN1 server", "ACK1 + FIN2 client", "ACK2 server"]));

test("both sides go through the states of RFC 9293", () => {
  equal(states(fourWay(), "client"), ["CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]);
  equal(states(fourWay(), "server"), ["LISTEN", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]);
  equal(states(threeWay(), "server"), ["LISTEN", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "TIME-WAIT"]);
  equal(states(threeWay(), "client"), ["CLOSED", "SYN-SENT", "ESTABLISHED", "LAST-ACK", "CLOSED"]);
  equal(states(simultaneous(), "client"), ["CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "CLOSING", "TIME-WAIT"]);
  equal(states(simultaneous(), "server"), [
    "LISTEN",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "CLOSING",
    "TIME-WAIT",
  ]);
  equal(states(refused(), "client"), ["CLOSED", "SYN-SENT", "CLOSED"]);
  equal(states(refused(), "server"), ["CLOSED"]);
  equal(states(reset(), "server"), ["LISTEN", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "CLOSED"]);
  equal(states(halfClosed(), "server").at(-1), "CLOSE-WAIT");
  equal(states(open(), "client").at(-1), "ESTABLISHED");
  equal(states(unanswered(), "client"), ["CLOSED", "SYN-SENT"]);
});

test("the states end where the record says", () => {
  for (const [name, make] of Object.entries(everyKind)) {
    const f = make();
    for (const side of ["client", "server"])
      equal([name, side, states(f, side).at(-1)], [name, side, f[`${side}_state`]]);
  }
});

test("a RST cuts both sides off: its sender when it leaves, the other when it arrives", () => {
  const f = reset();
  const { segments, states: of } = sequence(f);
  const last = segments.length - 1;
  equal(of.server.at(-1), { state: "CLOSED", segment: last, receives: false });
  equal(of.client.at(-1), { state: "CLOSED", segment: last, receives: true });
});

test("every state but the first is that of a segment, where the record has them all", () => {
  for (const f of [fourWay(), threeWay(), simultaneous(), reset(), refused(), unanswered(), halfClosed(), open()])
    for (const list of Object.values(sequence(f).states))
      equal([f.close_kind, list.slice(1).filter((s) => s.segment === null)], [f.close_kind, []]);
});

test("what was joined midway begins with a mark, and says what is missing", () => {
  const s = sequence(midstream());
  equal(s.start, 0);
  equal(states(midstream(), "client"), ["ESTABLISHED", "LAST-ACK", "CLOSED"]);
  equal(s.missing, ["the opening: finwait joined midway", "the acknowledgement of the first FIN"]);
});

test("what came after the last known segment has a mark where it did not close", () => {
  equal(sequence(unanswered()).end, 7e9);
  equal(sequence(halfClosed()).end, 9e9);
  equal(sequence(fourWay({ end_at: at(245e6) })).end, null);
});

test("a RST after both FINs changes no state", () => {
  equal(states(fourWay({ rst_at: at(244020000), rst_by: "client" }), "client").at(-1), "TIME-WAIT");
});

test("a record without any moment is drawn all the same", () => {
  const s = sequence(flow({ end_at: at(1e6), client_state: "ESTABLISHED", server_state: "ESTABLISHED" }));
  equal([s.segments.length, s.start, s.end], [0, 0, 1e6]);
});

test("what a gateway took to pass a segment on stays with it", () => {
  equal(
    sequence(fourWay({ fin1_transit_ns: 12000 })).segments.map((s) => s.transit),
    [null, null, null, 12000, null, null, null],
  );
});
