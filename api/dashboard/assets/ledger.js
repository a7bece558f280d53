// The ledger: what was counted and what was lost, each with its reason. Quiet
// where nothing was lost, loud where something was.

import { byId, html, replace, setText } from "./elements.js";
import { count, duration, octets } from "./format.js";

/** Shows an answer of /v1/status: the line in the head, the alarm, the ledger. */
export function showStatus(status) {
  const interfaces = status.interfaces
    .map((i) => `${i.name} (${[i.mode, i.driver].filter(Boolean).join(", ")})`)
    .join(", ");
  const uptime = duration(Math.floor(status.uptime_ns / 1e9) * 1e9);
  setText(
    byId("appliance"),
    [interfaces, `${count(status.table.connections)} connections followed`, `up ${uptime}`, status.version]
      .filter(Boolean)
      .join(" · "),
  );
  const losses = status.ledger.filter((e) => e.loss && e.count > 0);
  showAlarm(status, losses);
  replace(byId("ledger"), ...contents(status, losses));
}

const place = (e) => [e.interface, e.queue == null ? "" : `queue ${e.queue}`].filter(Boolean).join(" ");

function showAlarm(status, losses) {
  const alarm = byId("lost");
  if (losses.length > 0) {
    // What has not changed is not said again to those who listen.
    replace(
      alarm,
      html(
        "div",
        { class: "alarm-inner" },
        html("strong", {}, `${count(status.lost)} lost`),
        html(
          "span",
          {},
          losses
            .slice(0, 4)
            .map((e) => `${count(e.count)} ${e.stage}/${e.reason}${place(e) && ` on ${place(e)}`}`)
            .join("; ") + (losses.length > 4 ? `; ${losses.length - 4} more` : ""),
          ". ",
          html("a", { href: "#ledger-title" }, "See the ledger"),
        ),
      ),
    );
  }
  alarm.hidden = losses.length === 0;
}

function contents(status, losses) {
  const { totals, table, recent } = status;
  const verdict =
    losses.length === 0
      ? html(
          "p",
          { class: "verdict-line" },
          html("span", { class: "kernel key" }, "Nothing was lost."),
          ` Of ${octets(totals.octets)} that arrived, everything is accounted for.`,
        )
      : html(
          "p",
          { class: "verdict-line" },
          html("strong", { class: "alarm-text" }, `${count(status.lost)} lost. `),
          "Connections that may have missed a segment say so by evidence lossy.",
        );
  const facts = [
    ["TCP segments", count(totals.packets)],
    ["handed to workers", count(totals.segments)],
    ["records", count(totals.records)],
    ["flow table", `${count(table.connections)} of ${count(table.capacity)}`],
    ["workers", count(status.workers)],
    ["accounting", status.accounting],
  ];
  if (recent) facts.push(["recent records", `${count(recent.records)} of ${count(recent.capacity)}`]);
  const counted = status.ledger.filter((e) => e.count > 0 && !e.loss);
  const zero = status.ledger.filter((e) => e.count === 0);
  return [
    verdict,
    html(
      "dl",
      { class: "facts" },
      facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))),
    ),
    losses.length > 0 && entries("Lost", losses, "losses"),
    counted.length > 0 && entries("Counted", counted, ""),
    zero.length > 0 &&
      html(
        "p",
        { class: "soft fine" },
        `${zero.length} more entries are 0, ${zero.filter((e) => e.loss).length} of them kinds of loss.`,
      ),
  ];
}

function entries(title, list, look) {
  return html(
    "div",
    { class: "scroll" },
    html(
      "table",
      { class: `plain-table ledger ${look}` },
      html("caption", {}, title),
      html(
        "thead",
        {},
        html(
          "tr",
          {},
          ["Stage", "Reason", "Where", "Count"].map((h) => html("th", { scope: "col" }, h)),
        ),
      ),
      html(
        "tbody",
        {},
        list.map((e) =>
          html(
            "tr",
            {},
            html("th", { scope: "row" }, e.stage),
            html("td", { class: "mono" }, e.reason),
            html("td", {}, place(e)),
            html("td", {}, count(e.count)),
          ),
        ),
      ),
    ),
  );
}
