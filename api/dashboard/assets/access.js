// The bearer token, where the appliance asks for one. It is kept in this tab's
// session storage, and sent with every question.

import { byId, setText } from "./elements.js";

const key = "finwait-token";
let kept = null; // where storage is switched off
let asking = null;

/** @returns {?string} */
export function knownToken() {
  try {
    return sessionStorage.getItem(key) ?? kept;
  } catch {
    return kept;
  }
}

/** Forgets a token that was not the right one. */
export function forgetToken() {
  kept = null;
  try {
    sessionStorage.removeItem(key);
  } catch {
    // It was never there.
  }
}

/** Asks the reader; whoever else asks meanwhile waits for the same answer. */
export function askToken(problem) {
  asking ??= ask(problem).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(problem) {
  const dialog = byId("access");
  const input = byId("token");
  const said = byId("access-problem");
  said.hidden = !problem;
  setText(said, problem);
  input.value = "";
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    const closed = () => {
      const token = input.value.trim();
      input.value = "";
      if (token === "") {
        // closed by Escape: nothing can be shown without it
        dialog.showModal();
        return;
      }
      dialog.removeEventListener("close", closed);
      kept = token;
      try {
        sessionStorage.setItem(key, token);
      } catch {
        // Then the page knows it until it is loaded anew.
      }
      resolve();
    };
    dialog.addEventListener("close", closed);
  });
}
