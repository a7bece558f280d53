// What the page shows is in its URL, by the names of the API's own parameters:
// whoever is sent the URL sees the same, and the back button goes back.

/** Parameters of the page itself; every other one is a filter of the API. */
const own = ["flow", "sort", "limit"];

/** What is shown without a parameter. */
export const defaults = { since: "-15m", sort: "-published_at", limit: "100" };

/** Filters that ask about time are not for connections that are still followed. */
const timeFilters = ["since", "until", "ended_since", "ended_until", "end_reason"];

/** Filters by the time of a segment, which may be told from now backwards. */
const otherTimes = ["started_since", "started_until", "ended_since", "ended_until"];

const listeners = [];

/** Parameters of the URL now. */
export function parameters() {
  return new URLSearchParams(location.search);
}

/** The value of a parameter, its default where the URL has none, else "". */
export function parameter(name) {
  return parameters().get(name) ?? defaults[name] ?? "";
}

/** The API's filters, with the default time. */
export function filters() {
  const found = parameters();
  for (const name of own) found.delete(name);
  if (!found.has("since") && !found.has("until")) found.set("since", defaults.since);
  return found;
}

/** The same for connections that are followed now. */
export function liveFilters() {
  const found = filters();
  for (const name of timeFilters) found.delete(name);
  return found;
}

/**
 * The filters by which /v1/stream brings all that is to be put in front of the
 * table; null where the table is not of the newest, or where what fits depends
 * on when it is asked. The time since which records are shown is not among them:
 * with it a stream begins there.
 */
export function streamFilters() {
  const found = filters();
  const since = Date.parse(found.get("since") ?? "");
  if (parameter("sort") !== defaults.sort || since > Date.now()) return null;
  if (["until", ...otherTimes].some((name) => found.has(name))) return null;
  found.delete("since");
  return found;
}

/**
 * The URL with some parameters changed; null, "" or a default takes one away.
 * @param {Object<string, ?string>} changes
 */
export function urlWith(changes) {
  const next = parameters();
  for (const [name, value] of Object.entries(changes)) {
    if (value == null || value === "" || value === defaults[name]) next.delete(name);
    else next.set(name, value);
  }
  next.sort();
  // Commas and colons say more in the open, and need no escape in a query.
  const text = next.toString().replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%2F/g, "/");
  return text ? `/?${text}` : "/";
}

/** Goes to the URL with some parameters changed. */
export function change(changes) {
  const url = urlWith(changes);
  if (url === location.pathname + location.search) return;
  history.pushState(null, "", url);
  announce();
}

/** Calls back whenever the URL's parameters have changed. */
export function onChange(callback) {
  listeners.push(callback);
}

function announce() {
  for (const callback of listeners) callback();
}

/** Makes links within the page change it instead of loading it anew. */
export function followLinks() {
  addEventListener("popstate", announce);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const elsewhere =
      event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
    if (
      !link ||
      elsewhere ||
      link.target ||
      link.origin !== location.origin ||
      link.pathname !== location.pathname ||
      link.hash
    )
      return;
    event.preventDefault();
    if (link.search !== location.search) {
      history.pushState(null, "", link.pathname + link.search);
      announce();
    }
  });
}
