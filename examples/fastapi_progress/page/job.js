// The job's page: starts a job, and follows its session, whose name is kept behind the # of the page's address.

import { byId, post, showPhase } from "/page.js";
import { CommandError, connect } from "/postroom.js";

const { url } = await post("/visit");
// The client asks for a token for every connection, and for a fresh one before that ends.
const client = await connect(url, { token: async () => (await post("/visit")).token });
client.addEventListener("status", () => showPhase(client));
showPhase(client);

let watched = null;

async function start(oneIsBroken) {
  byId("problem").textContent = "";
  try {
    const { room } = await post("/jobs", { one_is_broken: oneIsBroken });
    location.hash = room; // "hashchange" does the rest
  } catch (error) {
    byId("problem").textContent = error.message;
  }
}

async function watch(room) {
  await watched?.unsubscribe();
  watched = null;
  byId("problem").textContent = "";
  byId("job").hidden = true;
  if (!room) return;
  try {
    // With the last event: where the job has ended, that is the one that says how.
    watched = await client.subscribe(room, { history: 1, gaps: "report" });
  } catch (error) {
    // `forbidden`: the router tells nobody but a session's owner about it.
    if (!(error instanceof CommandError)) throw error;
    byId("problem").textContent = `${room} cannot be watched: ${error.message}`;
    return;
  }
  watched.addEventListener("attached", showState);
  watched.addEventListener("event", ({ detail: { kind, data } }) => {
    if (kind === "progress") showProgress(data);
    if (kind === "session") showStatus(data.status, data);
  });
  showState();
}

/** What the state says is true at one position, and the events go on from there: whoever comes late misses nothing. */
function showState() {
  showProgress(watched.state.progress?.default ?? { percent: 0 });
  showStatus(watched.state.status ?? "not started", watched.state);
}

function showProgress({ percent, message = "", eta_s: left }) {
  byId("bar").value = percent;
  byId("percent").textContent = `${Math.round(percent)} %`;
  byId("file").textContent = message;
  byId("left").textContent = left ? `${Math.ceil(left)} s left` : "";
}

function showStatus(status, { result, reason }) {
  byId("job").hidden = false;
  byId("job").dataset.status = status;
  byId("status").textContent = status;
  if (status !== "started") byId("left").textContent = "";
  const done = result ? `${result.files} files in ${result.took_s.toFixed(1)} s` : "";
  byId("end").textContent = reason ?? done;
}

byId("start").onclick = () => start(false);
byId("start-broken").onclick = () => start(true);
addEventListener("hashchange", () => watch(location.hash.slice(1)));
await watch(location.hash.slice(1));
