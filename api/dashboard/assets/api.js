// Questions to the appliance's HTTP API.

import { askToken, forgetToken, knownToken } from "./access.js";

/** An answer that is not 200; `message` is what the problem's detail says. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.name = "Problem";
    this.status = status;
  }
}

/** No answer at all: the appliance, or the way to it, is gone. */
export class Gone extends Error {
  constructor() {
    super("the appliance does not answer");
    this.name = "Gone";
  }
}

const patience = 20000; // ms that an answer may take
const streamPatience = 3000; // ms until a stream begins; what stands between may hold it back

/**
 * The JSON answer to GET path?parameters. Throws Problem or Gone, and the
 * signal's AbortError where that ends it.
 * @param {string} path
 * @param {URLSearchParams | Object<string, string | number>} parameters
 * @param {AbortSignal=} signal
 */
export async function ask(path, parameters = {}, signal) {
  const limit = () => AbortSignal.timeout(patience);
  return read(await answerTo(path, parameters, "application/json", limit, signal), signal);
}

/**
 * The body of a stream of events, once it has begun; it ends with the signal.
 * Throws as ask does.
 * @returns {Promise<ReadableStream<Uint8Array>>}
 */
export async function openStream(path, parameters, signal) {
  let timer;
  const limit = () => {
    const late = new AbortController();
    clearTimeout(timer);
    timer = setTimeout(() => late.abort(), streamPatience);
    return late.signal;
  };
  try {
    return (await answerTo(path, parameters, "text/event-stream", limit, signal)).body;
  } finally {
    clearTimeout(timer);
  }
}

// answerTo asks for the token as long as it is not the right one. limit makes
// the signal that ends one attempt.
async function answerTo(path, parameters, accept, limit, signal) {
  const query = new URLSearchParams(parameters).toString();
  const url = query ? `${path}?${query}` : path;
  for (;;) {
    const token = knownToken();
    const response = await send(url, accept, token, limit(), signal);
    if (response.ok) return response;
    if (response.status !== 401) throw await problemOf(response);
    // Another question may have asked for a new token meanwhile.
    if (knownToken() === token) {
      forgetToken();
      await askToken(token === null ? "" : "This token is not the appliance’s.");
    }
  }
}

async function send(url, accept, token, limit, signal) {
  const headers = { Accept: accept };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  try {
    return await fetch(url, {
      headers,
      cache: "no-store",
      credentials: "same-origin",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Gone();
  }
}

async function read(response, signal) {
  try {
    return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Gone(); // cut off midway
  }
}

async function problemOf(response) {
  try {
    const problem = await response.json();
    const details = (problem.errors ?? []).map((e) => [e.location, e.message].filter(Boolean).join(": "));
    return new Problem(response.status, [problem.detail ?? problem.title, ...details].filter(Boolean).join("; "));
  } catch {
    return new Problem(response.status, `the appliance answered ${response.status}`);
  }
}
