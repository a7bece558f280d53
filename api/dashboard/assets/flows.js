// The table of connections that ended, from /v1/flows.

import { byId, html, replace, setText } from "./elements.js";
import { count, dateTime, duration, endpoint, octets, timeOfDay } from "./format.js";
import { longest, phases } from "./phases.js";
import { change, parameter, urlWith } from "./query.js";
import { Rows } from "./rows.js";
import { drawStrip } from "./strip.js";

const limits = ["100", "1000", "10000"];

// Columns: name, class, what /v1/flows sorts by, and the cell.
const columns = [
  {
    name: "Ended",
    look: "ended",
    sort: "published_at",
    cell: (f) =>
      html(
        "a",
        {
          href: urlWith({ flow: f.flow_id }),
          title: f.end_at,
          "aria-label": `Open the connection of ${timeOfDay(f.end_at)}, ${endpoint(f.client_ip, f.client_port)} to ${endpoint(f.server_ip, f.server_port)}`,
        },
        timeOfDay(f.end_at),
      ),
  },
  { name: "Client", look: "client mono", cell: (f) => endpoint(f.client_ip, f.client_port) },
  { name: "Server", look: "server mono", cell: (f) => endpoint(f.server_ip, f.server_port) },
  {
    name: "Closed",
    look: "kind",
    cell: (f) => [
      html("span", { class: `kind-name kind-${f.close_kind}` }, f.close_kind),
      f.close_initiator && html("span", { class: "soft" }, ` ${f.close_initiator}`),
      evidence(f),
    ],
  },
  ...phases.map((p) => ({
    name: p.name,
    look: `number ${p.culprit}`,
    sort: p.stats,
    cell: (f) => html("span", { class: longest(f) === p.culprit ? "longest" : "" }, duration(f[p.field])),
  })),
  { name: "Teardown", look: "number total", sort: "teardown", cell: (f) => duration(f.teardown_ns) },
  { name: "Whose time", look: "shares", cell: (f) => drawStrip(f) },
  {
    name: "Octets",
    look: "number size",
    sort: "bytes",
    cell: (f) => (f.client_bytes == null ? "–" : octets(f.client_bytes + f.server_bytes)),
  },
];

function evidence(flow) {
  return flow.evidence === "full" || (flow.evidence === "one_sided" && flow.close_kind === "unanswered")
    ? null
    : html("span", { class: "tag", title: "how much of it was seen" }, flow.evidence);
}

export class Flows {
  constructor() {
    this.summary = html("p", { class: "soft", role: "status" });
    this.missed = html("p", { id: "missed", class: "problem", role: "status", hidden: true });
    this.limit = html(
      "select",
      { id: "limit", onchange: () => change({ limit: this.limit.value }) },
      limits.map((n) => html("option", { value: n }, count(n))),
    );
    this.head = html("div", { class: "head-row row", role: "row" });
    this.body = html("div", { role: "rowgroup", class: "body" });
    this.table = html(
      "div",
      { class: "flow-table", role: "table", "aria-labelledby": "connections-title" },
      html("div", { role: "rowgroup", class: "heads" }, this.head),
      this.body,
    );
    this.scroller = html(
      "div",
      { class: "scroller", tabindex: "0", role: "region", "aria-labelledby": "connections-title" },
      this.table,
    );
    byId("flows").append(
      html("div", { class: "table-bar" }, this.summary, html("label", { for: "limit" }, "At most ", this.limit)),
      this.missed,
      this.scroller,
    );
    this.rows = new Rows(
      this.scroller,
      this.body,
      (f) => this.row(f),
      (f) => f.flow_id,
    );
    this.flows = [];
    this.drawHead();
  }

  /**
   * Shows an answer of /v1/flows.
   * @param {Object} answer
   * @param {?{lost: number}} stream  that keeps it up to date, null without one
   */
  update({ flows, next_cursor: more, history }, stream = null) {
    this.flows = flows;
    const limit = parameter("limit");
    this.limit.value = limits.includes(limit) ? limit : limits[0];
    const range = `records since ${dateTime(Date.parse(history.from_at))} are kept`;
    // A count that changes several times a second is not for reading aloud.
    this.summary.setAttribute("aria-live", stream ? "off" : "polite");
    this.missed.hidden = !stream?.lost;
    setText(this.missed, stream?.lost ? `${count(stream.lost)} records went by too fast for this page.` : "");
    const streamed = stream ? " New ones come as they end, though not under the pointer." : "";
    setText(
      this.summary,
      flows.length === 0
        ? `No connection fits; ${range}.${streamed}`
        : `${more === null ? count(flows.length) : `The first ${count(flows.length)}`} that fit; ${range}. Times are local.${streamed}`,
    );
    this.table.setAttribute("aria-rowcount", String(flows.length + 1));
    this.drawHead();
    this.rows.update(flows);
  }

  /** Whether rows had better stay where they are: the pointer is about to choose one. */
  held() {
    return matchMedia("(hover: hover)").matches && this.body.matches(":hover");
  }

  drawHead() {
    const sort = parameter("sort");
    replace(
      this.head,
      columns.map(({ name, look, sort: by }) => {
        if (!by) return html("span", { role: "columnheader", class: look }, name);
        const down = sort === `-${by}`;
        const up = sort === by;
        return html(
          "span",
          { role: "columnheader", class: look, "aria-sort": down ? "descending" : up ? "ascending" : "none" },
          html(
            "a",
            { href: urlWith({ sort: down ? by : `-${by}` }) },
            name,
            html("span", { class: "arrow", "aria-hidden": "true" }, down ? " ↓" : up ? " ↑" : ""),
          ),
        );
      }),
    );
  }

  row(flow) {
    return html(
      "div",
      {
        class: "row",
        role: "row",
        onclick: (event) => {
          if (!event.target.closest("a") && String(getSelection()) === "") change({ flow: flow.flow_id });
        },
      },
      columns.map(({ name, look, cell }) => html("span", { role: "cell", class: look, "data-name": name }, cell(flow))),
    );
  }

  /** The flow's neighbour in the table, null at its ends. */
  neighbour(id, step) {
    const at = this.flows.findIndex((f) => f.flow_id === id);
    return at < 0 ? null : (this.flows[at + step] ?? null);
  }

  /** Gives the focus back to the row of a flow, else to the table. */
  focus(id) {
    const at = this.flows.findIndex((f) => f.flow_id === id);
    if (at >= 0) this.rows.focus(at);
    else this.scroller.focus();
  }
}
