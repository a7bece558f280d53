// The phases of a connection, and whose time each is. Every chart, table and
// diagram takes names and colours from here, so that they mean the same
// throughout the page.

/**
 * @typedef {"network" | "application" | "kernel"} Culprit
 * The colour of each is --network, --application or --kernel in theme.css.
 */

/**
 * The phases of a teardown. `field` is the record's, `stats` that of the
 * percentiles; `from` and `to` are the waves that bound it.
 */
export const phases = [
  {
    field: "fin_wait_1_ns",
    stats: "fin_wait_1",
    name: "FIN-WAIT-1",
    culprit: "network",
    from: "fin1",
    to: "ack1",
    short: "the network and the other’s kernel",
  },
  {
    field: "close_wait_ns",
    stats: "close_wait",
    name: "CLOSE-WAIT",
    culprit: "application",
    from: "ack1",
    to: "fin2",
    short: "the application that has not closed",
  },
  {
    field: "last_ack_ns",
    stats: "last_ack",
    name: "LAST-ACK",
    culprit: "kernel",
    from: "fin2",
    to: "ack2",
    short: "the network and the initiator’s kernel",
  },
];

/** The teardown as a whole, where a RST cut it off. */
export const cutShort = { field: "teardown_ns", name: "FIN to RST", culprit: "reset", from: "fin1", to: "rst" };

/** The answer to a SYN that is a RST; the record has no field of it. */
export const refusal = { name: "SYN to RST", culprit: "network", from: "syn", to: "rst" };

/** The legs of the handshake: how far the tap is from either side. */
export const legs = [
  { field: "server_handshake_ns", name: "SYN to SYN-ACK", culprit: "network", from: "syn", to: "syn_ack" },
  { field: "client_handshake_ns", name: "SYN-ACK to ACK", culprit: "network", from: "syn_ack", to: "established" },
];

/** Kinds of close in the order in which they are listed, with what each means. */
export const closeKinds = [
  ["four_way", "FIN, ACK, FIN, ACK"],
  ["three_way", "the second FIN carried the ACK"],
  ["simultaneous", "both FINs crossed"],
  ["half_closed", "one FIN only"],
  ["reset", "a RST cut it off"],
  ["refused", "a RST answered the SYN"],
  ["unanswered", "nothing answered the SYN"],
  ["half_open", "nothing answered the SYN-ACK"],
  ["open", "it did not close"],
];

/**
 * The culprit of the longest phase of a flow, null where no phase is known.
 * @returns {?Culprit}
 */
export function longest(flow) {
  let found = null;
  for (const phase of phases) {
    const ns = flow[phase.field];
    if (ns != null && (found === null || ns > flow[found.field])) found = phase;
  }
  return found && found.culprit;
}
