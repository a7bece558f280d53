import { filters, liveFilters, parameter, urlWith } from "/page/query.js";
import { equal, test } from "./check.js";

const at = (url, body) => {
  const before = location.pathname + location.search;
  history.replaceState(null, "", url);
  try {
    return body();
  } finally {
    history.replaceState(null, "", before);
  }
};

test("the URL has the API's own names, and defaults are left out", () => {
  equal(
    at("/", () => urlWith({ close_kind: "reset,refused", server: "10.0.0.0/8" })),
    "/?close_kind=reset,refused&server=10.0.0.0/8",
  );
  equal(
    at("/?close_kind=reset", () => urlWith({ close_kind: null, since: "-15m" })),
    "/",
  );
  equal(
    at("/?vlan=100", () => urlWith({ flow: "abc" })),
    "/?flow=abc&vlan=100",
  );
});

test("filters are all but what is the page's own", () => {
  equal(
    at("/?flow=a&sort=-close_wait&limit=1000&vlan=100", () => filters().toString()),
    "vlan=100&since=-15m",
  );
  equal(
    at("/?since=-1h&until=-5m&vlan=100", () => liveFilters().toString()),
    "vlan=100",
  );
  equal(
    at("/", () => [parameter("limit"), parameter("sort"), parameter("server")]),
    ["100", "-published_at", ""],
  );
});
