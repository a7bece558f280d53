// Records for the cases.

const base = 1700000000000;

/** The time of ns after the first segment. */
export function at(ns) {
  const whole = Math.floor(ns / 1e9);
  return `${new Date(base + whole * 1000).toISOString().slice(0, 19)}.${String(ns - whole * 1e9).padStart(9, "0")}Z`;
}

/** A record of a connection of which nothing but its ends was seen, with changes. */
export function flow(changes) {
  return {
    flow_id: "id",
    client_ip: "192.0.2.1",
    client_port: 40000,
    server_ip: "192.0.2.2",
    server_port: 443,
    evidence: "full",
    interface: "eth1",
    start_at: at(0),
    end_at: at(0),
    client_packets: 7,
    server_packets: 5,
    client_bytes: 700,
    server_bytes: 500,
    client_payload_bytes: 100,
    server_payload_bytes: 200,
    client_tcp_flags: 27,
    server_tcp_flags: 27,
    syn_at: null,
    syn_ack_at: null,
    established_at: null,
    client_syn_retransmits: 0,
    server_syn_ack_retransmits: 0,
    server_handshake_ns: null,
    client_handshake_ns: null,
    fin1_at: null,
    ack1_at: null,
    fin2_at: null,
    ack2_at: null,
    rst_at: null,
    rst_by: "",
    fin_wait_1_ns: null,
    close_wait_ns: null,
    last_ack_ns: null,
    teardown_ns: null,
    half_close_payload_bytes: null,
    client_fin_retransmits: 0,
    server_fin_retransmits: 0,
    reuse_after_ns: null,
    client_state: "CLOSED",
    server_state: "CLOSED",
    close_initiator: "",
    close_kind: "open",
    close_complete: false,
    end_reason: "closed",
    slice: 0,
    ...changes,
  };
}

const opened = {
  syn_at: at(0),
  syn_ack_at: at(4000),
  established_at: at(44000),
  server_handshake_ns: 4000,
  client_handshake_ns: 40000,
};

export const fourWay = (change = {}) =>
  flow({
    ...opened,
    fin1_at: at(4e6),
    ack1_at: at(44e6),
    fin2_at: at(244e6),
    ack2_at: at(244014000),
    end_at: at(244014000),
    fin_wait_1_ns: 40e6,
    close_wait_ns: 200e6,
    last_ack_ns: 14000,
    teardown_ns: 240014000,
    half_close_payload_bytes: 0,
    close_initiator: "client",
    close_kind: "four_way",
    close_complete: true,
    client_state: "TIME-WAIT",
    ...change,
  });

export const threeWay = () =>
  flow({
    ...opened,
    fin1_at: at(4e6),
    ack1_at: at(4014000),
    fin2_at: at(4014000),
    ack2_at: at(4020000),
    end_at: at(4020000),
    fin_wait_1_ns: 14000,
    close_wait_ns: 0,
    last_ack_ns: 6000,
    teardown_ns: 20000,
    close_initiator: "server",
    close_kind: "three_way",
    close_complete: true,
    server_state: "TIME-WAIT",
  });

export const simultaneous = () =>
  flow({
    ...opened,
    fin1_at: at(4e6),
    fin2_at: at(5e6),
    ack2_at: at(6e6),
    ack1_at: at(7e6),
    end_at: at(7e6),
    fin_wait_1_ns: 3e6,
    last_ack_ns: 1e6,
    teardown_ns: 2e6,
    close_initiator: "client",
    close_kind: "simultaneous",
    close_complete: true,
    client_state: "TIME-WAIT",
    server_state: "TIME-WAIT",
  });

export const reset = () =>
  flow({
    ...opened,
    fin1_at: at(4e6),
    ack1_at: at(5e6),
    rst_at: at(9e6),
    rst_by: "server",
    end_at: at(9e6),
    fin_wait_1_ns: 1e6,
    teardown_ns: 5e6,
    close_initiator: "client",
    close_kind: "reset",
    close_complete: true,
  });

export const refused = () =>
  flow({
    syn_at: at(0),
    rst_at: at(30000),
    rst_by: "server",
    end_at: at(30000),
    close_initiator: "server",
    close_kind: "refused",
    close_complete: true,
  });

export const unanswered = () =>
  flow({
    syn_at: at(0),
    end_at: at(7e9),
    client_syn_retransmits: 3,
    server_tcp_flags: 0,
    server_packets: 0,
    evidence: "one_sided",
    close_kind: "unanswered",
    end_reason: "idle_timeout",
    client_state: "SYN-SENT",
  });

export const halfOpen = () =>
  flow({
    syn_at: at(0),
    syn_ack_at: at(4000),
    end_at: at(3e9),
    server_syn_ack_retransmits: 2,
    server_handshake_ns: 4000,
    close_kind: "half_open",
    end_reason: "idle_timeout",
    client_state: "SYN-SENT",
    server_state: "SYN-RECEIVED",
  });

export const halfClosed = () =>
  flow({
    ...opened,
    fin1_at: at(4e6),
    ack1_at: at(5e6),
    end_at: at(9e9),
    fin_wait_1_ns: 1e6,
    half_close_payload_bytes: 1000,
    close_initiator: "client",
    close_kind: "half_closed",
    end_reason: "idle_timeout",
    client_state: "FIN-WAIT-2",
    server_state: "CLOSE-WAIT",
  });

export const open = () =>
  flow({
    ...opened,
    end_at: at(9e9),
    end_reason: "shutdown",
    client_state: "ESTABLISHED",
    server_state: "ESTABLISHED",
  });

export const midstream = () =>
  flow({
    fin1_at: at(4e6),
    fin2_at: at(244e6),
    ack2_at: at(244014000),
    end_at: at(244014000),
    last_ack_ns: 14000,
    teardown_ns: 240014000,
    client_packets: null,
    server_packets: null,
    client_bytes: null,
    server_bytes: null,
    evidence: "midstream",
    close_initiator: "server",
    close_kind: "four_way",
    close_complete: true,
    server_state: "TIME-WAIT",
  });

/** One of each kind of close, and one that was joined midway. */
export const everyKind = {
  fourWay,
  threeWay,
  simultaneous,
  reset,
  refused,
  unanswered,
  halfOpen,
  halfClosed,
  open,
  midstream,
};
