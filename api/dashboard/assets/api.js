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

/**
 * The JSON answer to GET path?parameters. Throws Problem or Gone, and the
 * signal's AbortError where that ends it.
 * @param {string} path
 * @param {URLSearchParams | Object<string, string | number>} parameters
 * @param {AbortSignal=} signal
 */
export async function ask(path, parameters = {}, signal) {
  const query = new URLSearchParams(parameters).toString();
  const url = query ? `${path}?${query}` : path;
  for (;;) {
    const token = knownToken();
    const response = await send(url, token, signal);
    if (response.ok) return read(response, signal);
    if (response.status !== 401) throw await problemOf(response);
    // Another question may have asked for a new token meanwhile.
    if (knownToken() === token) {
      forgetToken();
      await askToken(token === null ? "" : "This token is not the appliance’s.");
    }
  }
}

async function send(url, token, signal) {
  const limit = AbortSignal.timeout(patience);
  const headers = { Accept: "application/json" };
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
