// The page: asks what the URL says, and shows the answers.

import { Gone, Problem, ask } from "./api.js";
import { byId, setText } from "./elements.js";
import { dateTime } from "./format.js";
import { showFilters } from "./filters.js";
import { Flows } from "./flows.js";
import { Following } from "./following.js";
import { showKinds } from "./kinds.js";
import { showStatus } from "./ledger.js";
import { Live } from "./live.js";
import { filters, followLinks, liveFilters, onChange, parameter, streamFilters } from "./query.js";
import { Rates } from "./rates.js";
import { Sheet } from "./sheet.js";
import { listLength, showWaiting } from "./waiting.js";

const mostFlows = 10000; // rows at most, as the API has it
const manyFlows = 500; // rows above which the table is asked for less often
const manyInterval = 30000; // ms, then

const adding = (base, changes) => {
  const query = new URLSearchParams(base);
  for (const [name, value] of Object.entries(changes)) query.set(name, value);
  return query;
};

const flows = new Flows();
const sheet = new Sheet(flows);
const rates = new Rates();
let asked = ""; // the question that the table answers
let askedAt = 0;

async function showCharts(signal) {
  const [series, connections] = await Promise.all([
    ask("/v1/series", filters(), signal),
    ask("/v1/connections", adding(liveFilters(), { limit: "1" }), signal),
  ]);
  rates.update(series, connections);
}

async function showKindsOfClose(signal) {
  showKinds(await ask("/v1/teardown", adding(filters(), { group_by: "close_kind" }), signal));
}

async function showWaits(signal) {
  const [now, servers] = await Promise.all([
    ask(
      "/v1/connections",
      adding(liveFilters(), { state: "CLOSE-WAIT", sort: "-close_wait", limit: listLength }),
      signal,
    ),
    ask(
      "/v1/teardown",
      adding(filters(), { group_by: "server,server_port", sort: "-close_wait", limit: listLength }),
      signal,
    ),
  ]);
  showWaiting(now, servers);
}

async function showAppliance(signal) {
  const status = await ask("/v1/status", {}, signal);
  showStatus(status);
  sheet.setClock(status);
}

// showFlows asks for the table, unless the stream keeps it up to date. A stream is
// open before the question is asked whose answer it goes on from, so that there is
// no gap between the two.
async function showFlows(signal) {
  const [streamed, limit] = [streamFilters(), Number(parameter("limit"))];
  const looking = !live.paused && !document.hidden;
  if (streamed !== null && limit >= 1 && limit <= mostFlows && looking) await following.begin(streamed, limit);
  else following.stop();
  if (signal.aborted || following.current) return;
  const question = adding(filters(), { sort: parameter("sort"), limit: parameter("limit") });
  const again = question.toString() === asked && Date.now() - askedAt < manyInterval;
  if (again && limit > manyFlows && !following.live) return;
  const answer = await ask("/v1/flows", question, signal);
  [asked, askedAt] = [question.toString(), Date.now()];
  if (following.live) following.answered(answer);
  else flows.update(answer);
}

// round asks everything once. A part that the appliance refuses says why, and
// does not keep the others from being shown.
async function round(signal) {
  const problems = new Set();
  const parts = [showAppliance, showFlows, (s) => sheet.follow(s), showCharts, showKindsOfClose, showWaits];
  const ends = await Promise.allSettled(parts.map((part) => part(signal)));
  const failures = ends.filter((end) => end.status === "rejected").map((end) => end.reason);
  for (const failure of failures) {
    if (failure instanceof Problem) problems.add(failure.message);
    else if (!(failure instanceof Gone)) throw failure;
  }
  if (signal.aborted) return;
  byId("problem").hidden = problems.size === 0;
  setText(byId("problem"), [...problems].join(" "));
  const gone = failures.find((failure) => failure instanceof Gone);
  if (gone) throw gone;
}

function showState({ phase, since, next }) {
  const gone = byId("gone");
  document.body.dataset.phase = phase;
  setText(byId("live"), { live: "Live", paused: "Paused", gone: "No answer" }[phase]);
  if (phase === "gone") {
    const seen = since === null ? "" : ` What is shown is of ${dateTime(since)}.`;
    setText(gone, `The appliance does not answer.${seen} Trying again every few seconds.`);
    gone.title = `next attempt at ${dateTime(next)}`;
  }
  gone.hidden = phase !== "gone";
}

const live = new Live(round, showState);
const following = new Following(
  (newest, always) => {
    if (flows.held() && !always) return false;
    flows.update(newest.latest(), newest);
    return true;
  },
  () => live.now(), // which asks for the table, and finds out whether the appliance is gone
);

// everythingAsked is the URL without the connection that is opened: opening one
// asks for that alone.
function everythingAsked() {
  const all = new URLSearchParams(location.search);
  all.delete("flow");
  return all.toString();
}

async function openSheet() {
  try {
    await sheet.follow();
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
    live.now(); // which finds it gone, and says so
  }
}

byId("pause").addEventListener("click", () => {
  const pause = byId("pause");
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  setText(pause, paused ? "Go on" : "Pause");
  if (paused) following.stop();
  live.pause(paused);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) following.stop(); // the round that begins once it is seen again opens another
});

showFilters();
followLinks();
let question = everythingAsked();
onChange(() => {
  const before = question;
  question = everythingAsked();
  if (before !== question) {
    flows.drawHead();
    live.now();
  } else {
    openSheet();
  }
});
live.now();
