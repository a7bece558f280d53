// Who waits in CLOSE-WAIT: connections that do now, longest first, and the
// servers whose applications let their clients wait, from the records.

import { byId, html, replace } from "./elements.js";
import { count, duration, endpoint } from "./format.js";
import { urlWith } from "./query.js";

/** How many lines each of both lists has. */
export const listLength = 6;

/** Shows answers of /v1/connections?state=CLOSE-WAIT and /v1/teardown?group_by=server,server_port. */
export function showWaiting(connections, teardown) {
  replace(byId("waiting"), nowWaiting(connections), servers(teardown));
}

function nowWaiting({ connections, total }) {
  const waiting = connections.filter((c) => c.phase === "close_wait" && c.phase_ns !== null);
  const more = total > waiting.length ? `, the longest ${waiting.length} of ${count(total)}` : "";
  return html(
    "div",
    { class: "part" },
    html("h3", {}, "Now", waiting.length > 0 && html("span", { class: "soft" }, more)),
    waiting.length === 0
      ? html("p", { class: "empty" }, "No connection.")
      : table(
          "Connections in CLOSE-WAIT now",
          "waiters",
          ["Application", "Peer", "Waiting for"],
          waiting.map((c) => {
            const waiter = c.client_state === "CLOSE-WAIT" ? "client" : "server";
            const peer = waiter === "client" ? "server" : "client";
            return [
              html(
                "a",
                { href: urlWith({ flow: c.flow_id }), class: "mono" },
                endpoint(c[`${waiter}_ip`], c[`${waiter}_port`]),
              ),
              html("span", { class: "mono" }, endpoint(c[`${peer}_ip`], c[`${peer}_port`])),
              html("b", { class: "application-text" }, duration(c.phase_ns)),
            ];
          }),
        ),
  );
}

function servers({ groups }) {
  const known = groups.filter((g) => g.close_wait.count > 0);
  return html(
    "div",
    { class: "part" },
    html(
      "h3",
      {},
      "Servers",
      html("span", { class: "soft" }, ", by the 99th percentile of the connections that ended"),
    ),
    known.length === 0
      ? html("p", { class: "empty" }, "No CLOSE-WAIT was measured in this time.")
      : table(
          "Servers by CLOSE-WAIT",
          "servers",
          ["Server", "Connections", "p50", "p99", "Longest"],
          known.map((g) => [
            html(
              "a",
              {
                href: urlWith({ server: g.key.server, server_port: String(g.key.server_port), sort: "-close_wait" }),
                class: "mono",
              },
              endpoint(g.key.server, g.key.server_port),
            ),
            count(g.close_wait.count),
            duration(g.close_wait.p50_ns),
            html("b", { class: "application-text" }, duration(g.close_wait.p99_ns)),
            duration(g.close_wait.max_ns),
          ]),
        ),
  );
}

function table(caption, look, heads, rows) {
  return html(
    "table",
    { class: `plain-table ${look}` },
    html("caption", { class: "unseen" }, caption),
    html(
      "thead",
      {},
      html(
        "tr",
        {},
        heads.map((h) => html("th", { scope: "col" }, h)),
      ),
    ),
    html(
      "tbody",
      {},
      rows.map(([first, ...rest]) =>
        html(
          "tr",
          {},
          html("th", { scope: "row" }, first),
          rest.map((cell) => html("td", {}, cell)),
        ),
      ),
    ),
  );
}
