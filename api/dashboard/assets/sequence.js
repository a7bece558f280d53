// What a record says of a connection as a sequence: its segments in the order
// of their times, and the RFC 9293 states of both sides between them.

import { nanoseconds } from "./format.js";

/** @typedef {"client" | "server"} Side */

/**
 * A segment, or several of a record's moments that one segment was.
 * @typedef {object} Segment
 * @property {string[]} ids   syn, syn_ack, established, fin1, ack1, fin2, ack2, rst
 * @property {string} label   as it is drawn
 * @property {Side} from
 * @property {number} offset  ns since the first moment
 * @property {string[]} answers  ids of what it cannot have been sent before
 * @property {number} repeats how often it was sent again
 * @property {?number} transit ns that a gateway took to pass it on; null where there is none
 */

export const opposite = (side) => (side === "client" ? "server" : "client");

/**
 * The sequence of a flow.
 * @returns {{segments: Segment[], origin: bigint, states: Object, start: ?number, end: ?number, missing: string[]}}
 * `start` is the offset of the first segment where the opening was not seen,
 * `end` that of the last one where more came after the segments that are drawn.
 */
export function sequence(flow) {
  const moments = momentsOf(flow).filter((m) => m.at !== null);
  moments.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.order - b.order));
  const startAt = nanoseconds(flow.start_at);
  const endAt = nanoseconds(flow.end_at);
  const joined = flow.syn_at == null && flow.syn_ack_at == null;
  const first = moments.length > 0 && moments[0].at < startAt ? moments[0].at : startAt;
  const segments = merge(moments, first);
  const last = segments.length > 0 ? segments[segments.length - 1].offset : 0;
  const after = Number(endAt - first);
  return {
    origin: first,
    segments,
    start: joined ? 0 : null,
    end: after > last && (!flow.close_complete || segments.length === 0) ? after : null,
    states: statesOf(flow, segments),
    missing: missingOf(flow),
  };
}

function momentsOf(flow) {
  const initiator = flow.close_initiator || "client";
  const other = opposite(initiator);
  const crossed = flow.close_kind === "simultaneous";
  const fins = { client: flow.client_fin_retransmits, server: flow.server_fin_retransmits };
  const moment = (id, label, from, at, answers = [], repeats = 0) => ({
    id,
    label,
    from,
    at: nanoseconds(at),
    answers,
    repeats,
    transit: flow[`${id}_transit_ns`] ?? null,
  });
  return [
    moment("syn", "SYN", "client", flow.syn_at, [], flow.client_syn_retransmits),
    moment("syn_ack", "SYN-ACK", "server", flow.syn_ack_at, ["syn"], flow.server_syn_ack_retransmits),
    moment("established", "ACK", "client", flow.established_at, ["syn_ack"]),
    moment("fin1", "FIN1", initiator, flow.fin1_at, ["established"], fins[initiator]),
    moment("ack1", "ACK1", other, flow.ack1_at, ["fin1"]),
    moment("fin2", "FIN2", other, flow.fin2_at, crossed ? [] : ["fin1"], fins[other]),
    moment("ack2", "ACK2", initiator, flow.ack2_at, ["fin2"]),
    moment("rst", "RST", flow.rst_by || "server", flow.rst_at, flow.close_kind === "refused" ? ["syn"] : []),
  ].map((m, order) => ({ ...m, order }));
}

// merge makes one segment of moments that are the same time of the same side.
function merge(moments, first) {
  const segments = [];
  for (const m of moments) {
    const offset = Number(m.at - first);
    const same = segments.find((s) => s.from === m.from && s.offset === offset);
    if (same) {
      same.ids.push(m.id);
      same.label += ` + ${m.label}`;
      same.answers.push(...m.answers);
      same.repeats = Math.max(same.repeats, m.repeats);
      same.transit ??= m.transit;
    } else {
      segments.push({
        ids: [m.id],
        label: m.label,
        from: m.from,
        offset,
        answers: [...m.answers],
        repeats: m.repeats,
        transit: m.transit,
      });
    }
  }
  return segments;
}

/**
 * The states of both sides: each begins with a segment, at its sender or at its
 * receiver. The first of a side begins with none; so does a last one that the
 * record has, and that no segment explains. What a tap knows of a state is what
 * the side has sent, and what the other has acknowledged.
 * @returns {{client: {state: string, segment: ?number, receives: boolean}[], server: Object[]}}
 */
function statesOf(flow, segments) {
  const opening = flow.syn_at != null || flow.syn_ack_at != null;
  const first = {
    client: opening ? "CLOSED" : "ESTABLISHED",
    server: !opening ? "ESTABLISHED" : flow.syn_ack_at != null ? "LISTEN" : "CLOSED",
  };
  const machine = new Machine(flow);
  const states = {};
  for (const side of ["client", "server"]) {
    states[side] = [{ state: first[side], segment: null, receives: false }];
  }
  segments.forEach((segment, index) => {
    for (const id of segment.ids) machine.take(id, segment);
    for (const side of ["client", "server"]) {
      const state = machine.state(side) ?? first[side];
      const list = states[side];
      if (list[list.length - 1].state !== state) list.push({ state, segment: index, receives: side !== segment.from });
    }
    if (segment.ids.includes("fin2") && machine.metFIN(segment.from)) {
      const first = segments.findIndex((s) => s.ids.includes("fin1"));
      states[segment.from].push({ state: machine.state(segment.from), segment: first, receives: true });
    }
  });
  for (const side of ["client", "server"]) {
    const list = states[side];
    const written = flow[`${side}_state`];
    if (segments.length === 0) list[0].state = written;
    else if (list[list.length - 1].state !== written) list.push({ state: written, segment: null, receives: false });
  }
  return states;
}

// Machine holds what is known of both sides. The state of each follows from it.
class Machine {
  constructor(flow) {
    this.crossed = flow.close_kind === "simultaneous";
    this.inOrder = flow.close_kind === "four_way" || flow.close_kind === "three_way";
    this.answered = {
      [flow.close_initiator]: flow.ack2_at != null,
      [opposite(flow.close_initiator)]: flow.ack1_at != null,
    };
    this.opened = { client: null, server: null };
    this.sides = { client: new Half(), server: new Half() };
    this.cut = false;
  }

  take(id, { from, ids }) {
    const own = this.sides[from];
    const other = this.sides[opposite(from)];
    switch (id) {
      case "syn":
        this.opened.client ??= "SYN-SENT";
        break;
      case "syn_ack":
        this.opened.server = "SYN-RECEIVED";
        this.opened.client ??= "SYN-SENT";
        break;
      case "established":
        this.opened = { client: "ESTABLISHED", server: "ESTABLISHED" };
        break;
      case "fin1":
      case "fin2":
        own.fin = true;
        // The kind tells that the first FIN was acknowledged, though that was not seen.
        if (id === "fin2" && this.inOrder && !own.heard) own.heard = own.heardFirst = other.acknowledged = true;
        // The first FIN's sender meets the second, which crossed it, on its arrival.
        if (id === "fin2" && this.crossed && this.answered[opposite(from)]) other.heard = true;
        break;
      case "ack1":
      case "ack2":
        own.heardFirst ||= !own.fin && !own.heard;
        own.heard = true;
        other.acknowledged = true;
        // A FIN that carries the ACK leads past FIN-WAIT-2 (RFC 9293, 3.10.7.4).
        other.bothAtOnce = ids.includes("fin2");
        break;
      case "rst":
        this.cut ||= !(this.sides.client.acknowledged && this.sides.server.acknowledged);
        break;
    }
  }

  // metFIN tells, of the second FIN's sender, whether it met the first, which
  // crossed it and arrives after it was sent.
  metFIN(side) {
    if (!this.crossed || !this.answered[side]) return false;
    this.sides[side].heard = true;
    return true;
  }

  state(side) {
    if (this.cut) return "CLOSED";
    return this.sides[side].state() ?? this.opened[side];
  }
}

// Half is one side's closing: whether it has sent its FIN, that was
// acknowledged, and it has acknowledged the other's.
class Half {
  constructor() {
    this.fin = this.acknowledged = this.heard = this.heardFirst = this.bothAtOnce = false;
  }

  state() {
    if (!this.fin) return this.heard ? "CLOSE-WAIT" : null;
    if (!this.heard) return this.acknowledged && !this.bothAtOnce ? "FIN-WAIT-2" : "FIN-WAIT-1";
    if (this.heardFirst) return this.acknowledged ? "CLOSED" : "LAST-ACK";
    return this.acknowledged ? "TIME-WAIT" : "CLOSING";
  }
}

// missingOf lists what the record lacks of the way the connection went.
function missingOf(flow) {
  const list = [];
  if (flow.syn_at == null) list.push(flow.syn_ack_at == null ? "the opening: finwait joined midway" : "the SYN");
  else if (flow.syn_ack_at == null && !["unanswered", "refused", "reset"].includes(flow.close_kind))
    list.push("the SYN-ACK");
  if (flow.fin1_at != null && flow.fin2_at != null) {
    if (flow.ack1_at == null) list.push("the acknowledgement of the first FIN");
    if (flow.ack2_at == null && flow.rst_at == null) list.push("the acknowledgement of the second FIN");
  }
  return list;
}
