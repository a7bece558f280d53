// How many connections open and close a second, how many are open, and how
// long the phases took, over time: the charts of /v1/series.

import { TimeChart } from "./chart.js";
import { byId, html, replace } from "./elements.js";
import { count, duration, nanoseconds, short } from "./format.js";
import { phases } from "./phases.js";
import { change, urlWith } from "./query.js";
import { Shares } from "./shares.js";

const perSecond = (v) => (v === null ? "–" : `${short(v)}/s`);
const choose = (from, to) => change({ since: new Date(from).toISOString(), until: new Date(to).toISOString() });
const least = 0.25; // of an interval that is cut, to be shown as a rate

/** The charts; update takes the answers of /v1/series and of /v1/connections. */
export class Rates {
  constructor() {
    this.rates = new TimeChart(byId("rates"), {
      label: "Connections opened and closed per second",
      format: perSecond,
      choose,
      lines: [
        { name: "opened", look: "plain" },
        { name: "closed", look: "quiet dashed" },
        { name: "reset or refused", look: "reset" },
      ],
    });
    const open = html("div");
    this.states = html("p", { class: "states-now" });
    byId("concurrency").append(open, this.states);
    this.concurrency = new TimeChart(open, {
      label: "Connections open at once",
      format: (v) => (v === null ? "–" : short(v)),
      whole: true,
      choose,
      lines: [{ name: "connections", look: "plain area" }],
    });
    this.shares = new Shares(byId("shares"));
    this.phases = phases.map((phase) => {
      const holder = html("div");
      byId("phases").append(
        html(
          "section",
          { class: "small", "aria-label": phase.name },
          html("h3", { class: phase.culprit }, phase.name, html("span", { class: "soft" }, ` ${phase.short}`)),
          holder,
        ),
      );
      return new TimeChart(holder, {
        label: `Percentiles of ${phase.name}`,
        format: (v) => duration(v),
        log: true,
        choose,
        height: 200,
        lines: [
          { name: "p50", look: phase.culprit },
          { name: "p90", look: `${phase.culprit} thin` },
          { name: "p99", look: `${phase.culprit} dashed` },
        ],
      });
    });
  }

  update(series, connections) {
    const base = timesOf(series);
    const perPoint = (value) =>
      series.points.map((p, i) => (base.seconds[i] === null ? null : value(p) / base.seconds[i]));
    this.rates.update({
      ...base,
      values: [perPoint((p) => p.opens), perPoint((p) => p.closes), perPoint((p) => p.kinds.reset + p.kinds.refused)],
    });
    this.concurrency.update({ ...base, values: [series.points.map((p, i) => (base.known[i] ? p.concurrency : null))] });
    const values = phases.map((phase) =>
      ["p50_ns", "p90_ns", "p99_ns"].map((stat) => series.points.map((p) => p[phase.stats][stat])),
    );
    const domain = values
      .flat(2)
      .filter((v) => v !== null)
      .map((v) => Math.max(v, 1000));
    this.phases.forEach((chart, i) => chart.update({ ...base, domain, values: values[i] }));
    this.shares.update(series);
    this.showStates(connections);
  }

  showStates({ states, total }) {
    const entries = states
      .filter((s) => s.client + s.server > 0)
      .map((s) =>
        html(
          "a",
          { href: urlWith({ state: s.state }), class: s.state === "CLOSE-WAIT" ? "application" : "" },
          html("b", {}, count(s.client + s.server)),
          ` ${s.state}`,
        ),
      );
    replace(
      this.states,
      html("span", { class: "soft" }, `Ends of the ${count(total)} followed now: `),
      entries.length > 0 ? entries.flatMap((e) => [e, " "]) : "none",
    );
  }
}

// timesOf are the times of the points, whether records of their ends are kept, and
// how many seconds each stands for, null where too few to make a rate of.
function timesOf(series) {
  const ms = (text) => Number(nanoseconds(text)) / 1e6;
  const [from, to, interval] = [ms(series.since_at), ms(series.until_at), series.interval_ns / 1e6];
  const kept = Math.max(from, ms(series.history.from_at));
  const spans = series.points.map((p) => [Math.max(ms(p.at), kept), Math.min(ms(p.at) + interval, to)]);
  return {
    from,
    to,
    interval,
    kept: kept > from + interval ? kept : from,
    at: spans.map(([begin, end]) => (begin + end) / 2),
    known: spans.map(([, end]) => end > kept || kept === from),
    seconds: spans.map(([begin, end]) => (end - begin < interval * least ? null : (end - begin) / 1000)),
  };
}
