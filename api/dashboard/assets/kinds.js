// How connections end: the share of each close_kind, from /v1/teardown.

import { byId, html, replace, svg } from "./elements.js";
import { count, duration, percent } from "./format.js";
import { closeKinds } from "./phases.js";
import { parameter, urlWith } from "./query.js";

const look = {
  reset: "reset",
  refused: "reset",
  unanswered: "network",
  half_open: "network",
  half_closed: "application",
};

/** Shows an answer of /v1/teardown?group_by=close_kind. */
export function showKinds(teardown) {
  const groups = new Map(teardown.groups.map((g) => [g.key.close_kind, g]));
  const most = Math.max(1, ...teardown.groups.map((g) => g.count));
  const chosen = parameter("close_kind");
  const rows = closeKinds
    .filter(([kind]) => groups.has(kind))
    .map(([kind, meaning]) => {
      const group = groups.get(kind);
      return html(
        "tr",
        { class: look[kind] ?? "plain" },
        html(
          "th",
          { scope: "row" },
          html("a", { href: urlWith({ close_kind: chosen === kind ? null : kind }), title: meaning }, kind),
          html("span", { class: "soft meaning" }, meaning),
        ),
        html("td", { class: "bar-cell" }, bar(group.count / most)),
        html("td", {}, count(group.count)),
        html("td", {}, percent(group.count, teardown.count)),
        html("td", {}, duration(group.teardown.p99_ns)),
      );
    });
  replace(
    byId("kinds"),
    rows.length === 0
      ? html("p", { class: "empty" }, "No connection ended in this time.")
      : html(
          "table",
          { class: "plain-table kinds" },
          html("caption", { class: "unseen" }, "Connections by kind of close"),
          html(
            "thead",
            {},
            html(
              "tr",
              {},
              ["Kind", "", "Connections", "Share", "Teardown p99"].map((name) =>
                html("th", { scope: "col" }, name || html("span", { class: "unseen" }, "Bar")),
              ),
            ),
          ),
          html("tbody", {}, rows),
        ),
  );
}

function bar(share) {
  return svg(
    "svg",
    { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { width: Math.max(100 * share, 1), height: 8 }),
  );
}
