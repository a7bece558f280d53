// The bar of filters. What has no control of its own, but stands in the URL,
// has a tag that takes it away.

import { byId, html, replace } from "./elements.js";
import { dateTime } from "./format.js";
import { closeKinds } from "./phases.js";
import { change, defaults, onChange, parameter, parameters, urlWith } from "./query.js";

const times = [
  ["-1m", "last minute"],
  ["-5m", "last 5 min"],
  ["-15m", "last 15 min"],
  ["-1h", "last hour"],
  ["-6h", "last 6 h"],
  ["-24h", "last day"],
  ["-168h", "last week"],
];
const initiators = [
  ["", "anybody"],
  ["client", "the client"],
  ["server", "the server"],
  ["none", "nobody"],
];

const fields = [
  { name: "since", label: "Time", options: times },
  { name: "client", label: "Client", hint: "10.0.0.0/8" },
  { name: "server", label: "Server", hint: "2001:db8::7" },
  { name: "server_port", label: "Server port", hint: "8000-8099", size: 9 },
  { name: "close_kind", label: "Closed", options: [["", "any way"], ...closeKinds.map(([kind]) => [kind, kind])] },
  { name: "close_initiator", label: "By", options: initiators },
  { name: "min_close_wait", label: "CLOSE-WAIT at least", hint: "5s", size: 6 },
  { name: "min_teardown", label: "Teardown at least", hint: "250ms", size: 6 },
];
const shown = [...fields.map((f) => f.name), "flow", "sort", "limit"];

/** Makes the bar and keeps it and the URL alike. */
export function showFilters() {
  const form = byId("filters");
  const controls = new Map(fields.map((field) => [field.name, control(field)]));
  const tags = html("p", { class: "tags" });
  const fold = html(
    "button",
    {
      type: "button",
      class: "button fold",
      "aria-expanded": "false",
      "aria-controls": "filters",
      onclick: () => unfold(form, fold, form.classList.contains("folded")),
    },
    "Filters",
  );
  form.append(
    ...fields.map((field) =>
      html("label", { class: `field field-${field.name}` }, html("span", {}, field.label), controls.get(field.name)),
    ),
    fold,
    html("a", { class: "button clear", href: "/" }, "Clear"),
    tags,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply(controls);
  });
  form.addEventListener("change", () => apply(controls));
  const fill = () => {
    [...controls.get("since").options].slice(times.length).forEach((option) => option.remove());
    for (const [name, input] of controls) setValue(input, parameter(name));
    const inTime = parameters().has("since") ? "until" : ""; // then the time says both
    const others = [...parameters()].filter(([name]) => !shown.includes(name) && name !== inTime);
    replace(
      tags,
      others.map(([name, value]) =>
        html(
          "a",
          { class: "tag", href: urlWith({ [name]: null }), "aria-label": `Remove the filter ${name} ${value}` },
          `${name} ${value} ×`,
        ),
      ),
    );
    tags.hidden = others.length === 0;
    form.querySelector(".clear").hidden = !filtered();
  };
  onChange(fill);
  fill();
  unfold(
    form,
    fold,
    [...parameters().keys()].some((name) => name !== "since" && fields.some((f) => f.name === name)),
  );
}

const filtered = () => [...parameters().keys()].some((name) => !["flow", "sort", "limit"].includes(name));

// unfold shows all filters, or the time alone, where the screen is small.
function unfold(form, button, open) {
  form.classList.toggle("folded", !open);
  button.setAttribute("aria-expanded", String(open));
}

function control({ name, options, hint, size }) {
  if (options)
    return html(
      "select",
      { name, id: `filter-${name}` },
      options.map(([value, text]) => html("option", { value }, text)),
    );
  return html("input", {
    name,
    id: `filter-${name}`,
    type: "text",
    placeholder: hint,
    size: size ?? 16,
    spellcheck: "false",
    autocapitalize: "off",
    class: "mono",
    enterkeyhint: "go",
  });
}

// setValue shows a value of the URL, also one that the list does not have.
function setValue(input, value) {
  if (input.tagName !== "SELECT") {
    if (document.activeElement !== input) input.value = value;
    return;
  }
  if (![...input.options].some((o) => o.value === value))
    input.append(html("option", { value }, input.name === "since" ? rangeText(value) : value || "–"));
  input.value = value;
}

// rangeText tells a time that was chosen on a chart, or written into the URL.
function rangeText(since) {
  const told = (text) => (Number.isNaN(Date.parse(text)) ? text : dateTime(Date.parse(text)));
  const until = parameter("until");
  return until ? `${told(since)} to ${told(until).slice(-8)}` : `since ${told(since)}`;
}

function apply(controls) {
  const changes = {};
  for (const [name, input] of controls) {
    const value = input.value.trim();
    if (value !== parameter(name)) changes[name] = name === "since" && value === defaults.since ? null : value;
  }
  // A range that ends somewhere is over once another beginning is chosen.
  if ("since" in changes) changes.until = null;
  change(changes);
}
