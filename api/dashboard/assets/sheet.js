// One connection, opened: what it says in words, the diagram of its waves, and
// all that its record has.

import { Problem, ask } from "./api.js";
import { byId, html } from "./elements.js";
import { count, dateTime, duration, endpoint, nanoseconds, octets } from "./format.js";
import { drawWaves } from "./waves.js";
import { legs, phases } from "./phases.js";
import { change, parameter, urlWith } from "./query.js";
import { sequence } from "./sequence.js";
import { owner, verdict } from "./verdict.js";

export class Sheet {
  /** @param {import("./flows.js").Flows} flows the table behind it */
  constructor(flows) {
    this.flows = flows;
    this.id = null;
    this.flow = null;
    this.clock = null;
    this.dialog = byId("flow");
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      change({ flow: null });
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) change({ flow: null });
    });
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.dialog);
  }

  /** Sets the appliance's clock, which may not be this machine's, from an answer of /v1/status. */
  setClock(status) {
    this.clock = { ns: nanoseconds(status.started_at) + BigInt(status.uptime_ns), at: performance.now() };
  }

  now() {
    return this.clock && this.clock.ns + BigInt(Math.round((performance.now() - this.clock.at) * 1e6));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, k: -1, ArrowRight: 1, j: 1 }[event.key];
    const next = step && this.flows.neighbour(this.id, step);
    if (!next) return;
    event.preventDefault();
    change({ flow: next.flow_id });
  }

  /** Opens, changes or closes, as the URL says. */
  async follow(signal) {
    const id = parameter("flow");
    if (id === "") {
      this.close();
      return;
    }
    const fresh = id !== this.id;
    if (!fresh && this.flow && this.flow.end_reason !== "") return; // a record does not change
    this.id = id;
    if (fresh) {
      this.flow = this.flows.flows.find((f) => f.flow_id === id) ?? null;
      if (this.flow) this.show();
    }
    if (this.flow && this.flow.end_reason !== "") return;
    try {
      this.flow = await ask(`/v1/flows/${encodeURIComponent(id)}`, {}, signal);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.flow = null;
      this.missing(error);
      return;
    }
    if (this.id === id) this.show();
  }

  close() {
    if (!this.dialog.open) return;
    const id = this.id;
    this.id = this.flow = null;
    this.dialog.close();
    this.dialog.replaceChildren();
    document.title = "finwait";
    this.flows.focus(id);
  }

  open(...children) {
    const held = document.activeElement?.id;
    const scroll = this.dialog.scrollTop;
    const unfolded = [...this.dialog.querySelectorAll("details")].map((d) => d.open);
    this.dialog.replaceChildren(...children.filter(Boolean));
    this.dialog.querySelectorAll("details").forEach((d, i) => {
      d.open = unfolded[i] ?? false;
    });
    if (!this.dialog.open) this.dialog.showModal();
    else if (held && this.dialog.querySelector(`#${CSS.escape(held)}`)) byId(held).focus();
    else byId("close").focus();
    this.dialog.scrollTop = scroll;
  }

  bar(title) {
    const link = (step, id, text) => {
      const next = this.flows.neighbour(this.id, step);
      return html(
        "a",
        {
          id,
          class: next ? "button" : "button off",
          href: next && urlWith({ flow: next.flow_id }),
          "aria-disabled": next ? null : "true",
          role: next ? null : "link",
        },
        text,
      );
    };
    return html(
      "div",
      { class: "sheet-bar" },
      html("h2", { id: "flow-title" }, title),
      html(
        "div",
        { class: "tools" },
        link(-1, "previous", "Previous"),
        link(1, "next", "Next"),
        html("a", { id: "close", class: "button", href: urlWith({ flow: null }), autofocus: true }, "Close"),
      ),
    );
  }

  missing(error) {
    this.open(
      this.bar("This connection"),
      html(
        "p",
        { class: "problem" },
        error.status === 404
          ? "The appliance does not have it any more: its record was overwritten by newer ones, or the appliance was started anew."
          : error.message,
      ),
    );
  }

  show() {
    const flow = this.flow;
    const found = verdict(flow, this.now());
    document.title = `${endpoint(flow.server_ip, flow.server_port)} ${flow.close_kind} – finwait`;
    this.holder = html("div", { class: "diagram" });
    this.notes = html("p", { class: "soft fine" });
    this.drawn = 0;
    this.open(
      this.bar([
        html("span", { class: "mono" }, endpoint(flow.client_ip, flow.client_port)),
        html("span", { class: "soft" }, " to "),
        html("span", { class: "mono" }, endpoint(flow.server_ip, flow.server_port)),
      ]),
      html("p", { class: `headline ${found.culprit ?? "quiet"}` }, found.headline),
      found.remarks.length > 0 &&
        html(
          "ul",
          { class: "remarks soft" },
          found.remarks.map((r) => html("li", {}, r)),
        ),
      this.holder,
      this.notes,
      phaseList(flow),
      segmentTable(flow),
      recordList(flow),
    );
    this.draw();
  }

  draw() {
    if (!this.flow || !this.holder) return;
    const width = Math.min(Math.floor(this.holder.clientWidth), 940);
    if (width < 200 || width === this.drawn) return;
    this.drawn = width;
    const { picture, notes } = drawWaves(this.flow, width);
    this.holder.replaceChildren(picture);
    const missing = sequence(this.flow).missing;
    this.notes.textContent = [
      "Times are those of the tap, where the arrows cross its line; their slant has no scale.",
      ...notes,
      missing.length > 0 ? `Not seen: ${missing.join("; ")}.` : "",
    ].join(" ");
  }
}

function phaseList(flow) {
  const known = [...legs, ...phases].filter((p) => flow[p.field] != null);
  if (known.length === 0) return null;
  return html(
    "section",
    { class: "phase-list", "aria-label": "Whose time it was" },
    html(
      "dl",
      {},
      known.map((p) =>
        html(
          "div",
          { class: p.culprit },
          html("dt", {}, p.name),
          html("dd", {}, html("b", {}, duration(flow[p.field])), ` ${owner(p.field, flow)}`),
        ),
      ),
    ),
  );
}

function segmentTable(flow) {
  const s = sequence(flow);
  const stateAt = (side, index) =>
    s.states[side].findLast((x) => x.segment !== null && x.segment <= index)?.state ?? s.states[side][0].state;
  const gateway = s.segments.some((x) => x.transit !== null);
  const heads = [
    "Segment",
    "From",
    "After",
    ...(gateway ? ["In the gateway"] : []),
    "Client is then",
    "Server is then",
  ];
  const rows = s.segments.map((x, i) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, x.label + (x.repeats > 0 ? `, sent ${x.repeats + 1} times` : "")),
      html("td", {}, x.from),
      html("td", {}, duration(x.offset)),
      gateway && html("td", {}, duration(x.transit)),
      html("td", { class: "mono" }, stateAt("client", i)),
      html("td", { class: "mono" }, stateAt("server", i)),
    ),
  );
  return html(
    "details",
    { class: "as-table" },
    html("summary", {}, "The diagram as a table"),
    html(
      "div",
      { class: "scroll" },
      html(
        "table",
        { class: "plain-table" },
        html("caption", { class: "unseen" }, "Segments of the connection in their order"),
        html(
          "thead",
          {},
          html(
            "tr",
            {},
            heads.map((h) => html("th", { scope: "col" }, h)),
          ),
        ),
        html("tbody", {}, rows),
      ),
    ),
  );
}

function recordList(flow) {
  const rows = Object.entries(flow).map(([name, value]) =>
    html("div", {}, html("dt", { class: "mono" }, name), html("dd", { class: "mono" }, told(name, value))),
  );
  return html(
    "div",
    { class: "record" },
    html(
      "dl",
      { class: "facts" },
      [
        ["closed", `${flow.close_kind}${flow.close_initiator && ` by the ${flow.close_initiator}`}`],
        ["began", dateTime(Date.parse(flow.start_at))],
        ["lasted", duration(Date.parse(flow.end_at) * 1e6 - Date.parse(flow.start_at) * 1e6)],
        ["client sent", sent(flow, "client")],
        ["server sent", sent(flow, "server")],
        ["seen", `${flow.evidence}, on ${flow.interface}`],
        ...(flow.peer_flow_id
          ? [["other side of the gateway", html("a", { href: urlWith({ flow: flow.peer_flow_id }) }, "its record")]]
          : []),
        ...["client", "server"]
          .filter((side) => flow[`${side}_process`])
          .map((side) => [`${side} is of`, ownerLink(side, flow[`${side}_process`])]),
      ].map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))),
    ),
    html(
      "details",
      { class: "as-table" },
      html("summary", {}, "Every field of the record"),
      html("dl", { class: "fields" }, rows),
    ),
  );
}

/** Whose an end is; a link to all of theirs. */
const ownerLink = (side, name) => html("a", { class: "mono", href: urlWith({ flow: null, [`${side}_process`]: name }) }, name);

const sent = (flow, side) =>
  flow[`${side}_packets`] == null
    ? `${octets(flow[`${side}_payload_bytes`])} of payload`
    : `${count(flow[`${side}_packets`])} segments, ${octets(flow[`${side}_bytes`])}`;

function told(name, value) {
  if (value === null) return "null";
  if (name.endsWith("_ns")) return `${value} (${duration(value)})`;
  return value === "" ? "“”" : String(value);
}
