// What the pages of the examples have in common: our back end, which knows us by a cookie, and what a page shows.

export const byId = (id) => document.getElementById(id);

/** Ask our back end; rejects with what it says where it refuses. */
export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body ?? {}) });
  if (answer.status === 401) throw new LoggedOut();
  const content = await answer.json();
  if (!answer.ok) throw new Error(typeof content.detail === "string" ? content.detail : `refused (${answer.status})`);
  return content;
}

export class LoggedOut extends Error {
  message = "log in first";
}

/** A fresh token, for the client to ask for. */
export async function freshToken() {
  try {
    return (await post("/token")).token;
  } catch (error) {
    if (error instanceof LoggedOut) location.reload(); // our back end knows us no longer
    throw error; // else it may be away for a moment: the client tries again
  }
}

/** Show how the connection is. */
export function showPhase({ phase, reason }) {
  byId("phase").hidden = false;
  byId("phase").dataset.phase = phase;
  byId("phase").textContent = phase === "open" ? "connected" : `${phase} ${reason}`;
}

/** What comes from elsewhere becomes text, never markup. */
export function element(tag, text, kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = kind;
  return made;
}
