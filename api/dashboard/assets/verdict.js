// What a record says in words: where the time went, and whose it was.

import { phases } from "./phases.js";
import { opposite } from "./sequence.js";
import { count, duration, nanoseconds, percent } from "./format.js";

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const times = (n) => (n === 1 ? "once" : n === 2 ? "twice" : `${count(n)} times`);

/**
 * The finding of a flow in one sentence, a culprit for its colour where there
 * is one, and remarks of what to mind. `now`, in ns since the epoch, is for a
 * connection that is still followed.
 * @param {?bigint} now
 * @returns {{culprit: ?import("./phases.js").Culprit, headline: string, remarks: string[]}}
 */
export function verdict(flow, now = null) {
  const kinds = { refused, reset, unanswered, half_open: halfOpen, half_closed: halfClosed, open };
  const found = (kinds[flow.close_kind] ?? closed)(flow, now);
  return { ...found, remarks: [...(found.remarks ?? []), ...remarks(flow)] };
}

/** Whose time each phase is, for the sides of this flow. */
export function owner(field, flow) {
  const initiator = flow.close_initiator || "client";
  const other = opposite(initiator);
  return (
    {
      server_handshake_ns: "the network and the server’s kernel",
      client_handshake_ns: "the network and the client’s kernel",
      fin_wait_1_ns: `the network and the ${other}’s kernel`,
      close_wait_ns: `the ${other}’s application`,
      last_ack_ns: `the network and the ${initiator}’s kernel`,
      teardown_ns: `until the ${flow.rst_by} cut it off`,
    }[field] ?? "the network and the server’s kernel"
  );
}

function closed(flow) {
  const known = phases.filter((p) => flow[p.field] != null);
  const how = { four_way: "in four waves", three_way: "in three segments", simultaneous: "by both sides at once" }[
    flow.close_kind
  ];
  if (known.length === 0)
    return { culprit: null, headline: `Closed by the ${flow.close_initiator} ${how}; no phase could be measured.` };
  const most = known.reduce((a, b) => (flow[b.field] > flow[a.field] ? b : a));
  const total = flow.teardown_ns;
  const share = total > 0 && flow[most.field] <= total ? shareOf(flow[most.field], total) : "";
  const ending = flow.close_complete ? "" : " The last FIN was not acknowledged before the record was written.";
  const who = owner(most.field, flow);
  return {
    culprit: most.culprit,
    headline: `${capital(who)} took ${duration(flow[most.field])} in ${most.name}${share && `, ${share}`}.${ending}`,
  };
}

function shareOf(ns, total) {
  return ns / total > 0.999
    ? "nearly all of the teardown"
    : `${percent(ns, total)} of the teardown’s ${duration(total)}`;
}

function refused() {
  return {
    culprit: "application",
    headline: "The server refused the connection: nothing listens on its port, or a firewall answers so.",
  };
}

function reset(flow) {
  const by = flow.rst_by;
  if (flow.fin1_at == null) {
    const early = flow.established_at == null ? " before the handshake was complete" : " without a FIN";
    return {
      culprit: "application",
      headline: `The ${by} cut the connection off with a RST${early}.`,
      remarks: [
        "A RST is sent by an application that closes with data unread or with SO_LINGER 0, by a kernel that knows of no such connection, or by a middlebox.",
      ],
    };
  }
  const own = by === flow.close_initiator;
  const after = flow.teardown_ns == null ? "" : ` ${duration(flow.teardown_ns)} after`;
  return {
    culprit: "application",
    headline: `The ${by} reset the connection${after || " after"} ${own ? "its own" : `the ${flow.close_initiator}’s`} FIN.`,
    remarks: [
      own
        ? "Typical of an application that closed its socket while the other side sent on: its kernel answers that data with a RST."
        : "Typical of an application that closes with data unread, or with SO_LINGER 0.",
    ],
  };
}

function unanswered(flow) {
  const again = flow.client_syn_retransmits;
  return {
    culprit: "network",
    headline: `Nothing answered the client’s SYN${again ? `, which was sent again ${times(again)}` : ""}.`,
    remarks: ["The network lost it, a firewall drops it, or there is no such host."],
  };
}

function halfOpen(flow) {
  const again = flow.server_syn_ack_retransmits;
  return {
    culprit: "network",
    headline: `The client never answered the SYN-ACK${again ? `, which was sent again ${times(again)}` : ""}.`,
    remarks: [
      "The SYN-ACK did not reach the client, or the SYN was not meant to be answered, as in a scan or a flood.",
    ],
  };
}

function halfClosed(flow, now) {
  const initiator = flow.close_initiator;
  const other = opposite(initiator);
  if (flow.ack1_at == null) {
    return {
      culprit: "network",
      headline: `The ${initiator}’s FIN was not acknowledged: the network, or the ${other}’s kernel.`,
    };
  }
  if (flow.end_reason !== "") {
    return {
      culprit: "application",
      headline: `The ${other}’s application had not closed when the record was written: it sat in CLOSE-WAIT.`,
    };
  }
  const waited = now === null ? "" : ` for ${duration(Math.max(0, Number(now - nanoseconds(flow.ack1_at))))}`;
  return {
    culprit: "application",
    headline: `The ${other}’s application has not closed yet: it sits in CLOSE-WAIT${waited}.`,
  };
}

function open(flow) {
  return {
    culprit: null,
    headline:
      flow.end_reason === "" ? "The connection is open." : "The connection was still open when the record was written.",
  };
}

const reasons = {
  idle_timeout: "The record was written because nothing came for the idle timeout.",
  active_timeout: "This is a slice of a long connection, which goes on.",
  reused: "A new connection began on the same addresses and ports.",
  evicted: "The flow table was full, and this connection had to make room.",
  shutdown: "The record was written because the appliance stopped.",
  capture_end: "The record was written because the capture ended.",
};

const evidences = {
  lossy: "finwait lost segments that may belong to this connection: read it with care.",
  one_sided: "Only one side was seen to send.",
  midstream: "The opening was not seen: who is client and who is server may be the other way round.",
};

function remarks(flow) {
  const list = [];
  const fins = flow.client_fin_retransmits + flow.server_fin_retransmits;
  if (fins > 0)
    list.push(
      `A FIN was sent again ${times(fins)}: either it or its ACK was lost, and FIN-WAIT-1 and LAST-ACK are ambiguous.`,
    );
  if (flow.half_close_payload_bytes > 0 && flow.close_initiator) {
    list.push(
      `The ${opposite(flow.close_initiator)} sent ${count(flow.half_close_payload_bytes)} octets of payload after the first FIN.`,
    );
  }
  if (flow.reuse_after_ns != null)
    list.push(
      `The same addresses and ports had closed ${duration(flow.reuse_after_ns)} before this SYN${flow.reuse_after_ns < 60e9 ? ", inside TIME-WAIT" : ""}.`,
    );
  if (flow.rst_at != null && !["reset", "refused"].includes(flow.close_kind))
    list.push(`The ${flow.rst_by} sent a RST after both FINs were acknowledged, which changed nothing.`);
  if (evidences[flow.evidence] && !(flow.evidence === "one_sided" && flow.close_kind === "unanswered"))
    list.push(evidences[flow.evidence]);
  if (reasons[flow.end_reason]) list.push(reasons[flow.end_reason]);
  return list;
}
