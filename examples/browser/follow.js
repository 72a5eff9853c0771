// Follows a session on a page: the room's state and then its events, through every break.
//
// The page comes from another origin than the router: the router's `origins` must name it. The client comes from the
// router itself; a page that is built takes the package `postroom-client` (clients/javascript) instead.

const asked = new URLSearchParams(location.search);
const api = asked.get("api") ?? "http://127.0.0.1:8001";
const url = asked.get("ws") ?? "ws://127.0.0.1:8000/v1/ws";
const room = asked.get("room") ?? "session:demo-1";
const MOST_SHOWN = 200;

const { Client } = await import(`${api}/postroom.js`);
const byId = (id) => document.getElementById(id);
byId("room").textContent = room;

// Where the router asks for tokens, `token` is a function that gets one from your own back end, with the page's cookies:
// () => fetch("/token", { method: "POST" }).then((answer) => answer.text()). It is asked again before the token ends.
const client = new Client(url, { token: null });
client.addEventListener("status", () => {
  byId("phase").textContent = client.phase;
  byId("reason").textContent = client.reason;
});

const session = await client.subscribe(room, { history: 10, gaps: "report" });
session.addEventListener("attached", showState);
session.addEventListener("gap", ({ detail }) => show(`Something is missing here: ${detail.reason}`));
session.addEventListener("event", ({ detail: event }) => {
  show(`#${event.offset} ${event.kind} ${JSON.stringify(event.data)}`);
  if (event.kind === "progress") byId("progress").value = event.data.percent ?? 0;
  if (event.kind === "session") byId("session").textContent = event.data.status;
});
session.addEventListener("ended", () => show(`The end: ${session.error?.message ?? "the room was left"}`));
showState();

/** The state stands at one position: what is shown of it is true, whatever was missed. */
function showState() {
  byId("session").textContent = session.state.status ?? "not started";
  byId("progress").value = session.state.progress?.default?.percent ?? 0;
}

/** What comes from elsewhere becomes text, never markup. */
function show(text) {
  const line = document.createElement("li");
  line.textContent = text;
  byId("events").prepend(line);
  while (byId("events").children.length > MOST_SHOWN) byId("events").lastChild.remove();
}
