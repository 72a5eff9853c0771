// The desk's page: what the room's state says is open, and what happens, for everybody who is logged in.

import { LoggedOut, byId, element, freshToken, post, showPhase } from "/page.js";
import { Client, CommandError } from "/postroom.js";

const DESK = "desk:shop";
const MOST_SHOWN = 50;

async function start() {
  let pass;
  try {
    pass = await post("/token");
  } catch (error) {
    if (!(error instanceof LoggedOut)) throw error;
    byId("login").hidden = false;
    byId("name").focus();
    return;
  }
  await open(pass.url);
}

async function open(url) {
  const client = new Client(url, { token: freshToken });
  client.addEventListener("status", () => showPhase(client));
  showPhase(client);
  byId("desk").hidden = false;
  for (const what of ["break", "mend"]) {
    byId(what).onclick = () => post(`/shop/${what}`).catch((error) => (byId("problem").textContent = error.message));
  }

  const desk = await client.subscribe(DESK, { history: 20, gaps: "report" });
  desk.addEventListener("event", ({ detail: event }) => {
    tell(event);
    showState(client);
  });
  desk.addEventListener("attached", () => showState(client)); // again, after a break
  desk.addEventListener("gap", () => line(new Date(), "Something is missing here; what is open is true all the same."));
  // Every admin is in this room by itself: alerts come here that nobody acknowledged in time, from whatever room.
  const admins = client.joined("role:admin", { gaps: "report" });
  admins.addEventListener("event", ({ detail: { data, time } }) => {
    line(time, `Nobody acknowledged it: ${data.title} (${data.escalated_from?.room ?? "role:admin"})`, "escalated");
  });
  await showState(client);
}

/** Show what the room's state holds: whatever we missed, it is true. Alerts stay in it until somebody acknowledges. */
async function showState(client) {
  const answer = await client.state(DESK).catch(() => null);
  if (answer === null) return; // the connection's phase says why
  const { alerts, acknowledged = [] } = answer.state;
  byId("open").replaceChildren(...alerts.map((alert) => card(client, alert)));
  byId("none").hidden = alerts.length > 0;
  byId("done").replaceChildren(
    ...acknowledged.toReversed().map(({ title, user, time }) => element("li", `${title}: ${user}, ${clock(time)}`)),
  );
  document.title = alerts.length ? `(${alerts.length}) Alerts desk` : "Alerts desk";
}

function card(client, alert) {
  const button = element("button", "Acknowledge");
  button.onclick = async () => {
    button.disabled = true;
    byId("problem").textContent = "";
    try {
      await client.ack(DESK, alert.event_id);
    } catch (error) {
      // `not_found`: another admin was faster, and the message says who.
      if (!(error instanceof CommandError) || error.code !== "not_found") button.disabled = false;
      byId("problem").textContent = error.message;
    }
  };
  const head = element("div", "", "row");
  head.append(element("span", alert.severity, "severity"), element("h3", alert.title), button);
  const made = element("li", "", "card alert");
  made.append(head, element("p", alert.message ?? ""), element("p", `since ${clock(alert.time)}`, "muted"));
  const told = alert.escalated_at;
  if (told) made.append(element("p", `All admins were told at ${clock(told)}`, "escalated"));
  return made;
}

const titles = new Map();

function tell({ kind, id, data, time }) {
  if (kind === "alert") titles.set(id, data.title);
  const said = {
    alert: `${data.severity}: ${data.title}`,
    notification: data.message,
    "alert.acknowledged": `${data.user} acknowledged: ${titles.get(data.event_id) ?? data.event_id}`,
  }[kind];
  if (said) line(time, said);
}

function line(time, text, kind = "") {
  const made = element("li", "", kind);
  made.append(element("time", clock(time)), text);
  byId("feed").prepend(made);
  while (byId("feed").children.length > MOST_SHOWN) byId("feed").lastChild.remove();
}

const clock = (time) => new Date(time).toLocaleTimeString();

byId("login").onsubmit = async (submitted) => {
  submitted.preventDefault();
  try {
    await post("/login", { name: byId("name").value, password: byId("password").value });
    location.reload();
  } catch (error) {
    byId("refused").textContent = error.message;
  }
};

await start();
