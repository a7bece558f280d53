import { filters, liveFilters, parameter, streamFilters, urlWith } from "/page/query.js";
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

test("a stream is for the newest, under filters that mean the same later", () => {
  equal(
    at("/?since=-1h&vlan=100&limit=1000", () => streamFilters().toString()),
    "vlan=100",
  );
  equal(
    at("/?since=2020-01-01T00:00:00Z", () => streamFilters().toString()),
    "",
  );
  const polled = ["sort=-close_wait", "sort=published_at", "until=-1m", "ended_since=-1m", "since=2999-01-01T00:00:00Z"];
  equal(
    polled.map((search) => at(`/?${search}`, streamFilters)),
    polled.map(() => null),
  );
});
