// The chat's page: reads the lobby, says things in a room of one's own, and asks who is here.

import { LoggedOut, byId, element, freshToken, post, showPhase } from "/page.js";
import { Client } from "/postroom.js";

const LOBBY = "chat:lobby";
const ASK_WHO_MS = 2000;
const MOST_SHOWN = 300;

/** What is shown of a user: `ada` of `ada.5e1f09c2`. */
const nameOf = (user) => user.split(".")[0];

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
  await enter(pass.user, pass.url);
}

async function enter(me, url) {
  // The client asks for a token for every connection, and for a fresh one before that ends.
  const client = new Client(url, { token: freshToken });
  client.addEventListener("status", () => showPhase(client));
  showPhase(client);
  for (const id of ["chat", "leave"]) byId(id).hidden = false;
  byId("leave").onclick = async () => {
    await client.close();
    await post("/logout");
    location.reload();
  };
  byId("say").onsubmit = (submitted) => {
    submitted.preventDefault();
    say(client, me);
  };
  const lobby = await client.subscribe(LOBBY, { history: 50, kinds: ["chat.message"], gaps: "report" });
  lobby.addEventListener("event", ({ detail: event }) => show(event, me));
  lobby.addEventListener("gap", () => showLine("Some messages are missing here.", "gap"));
  lobby.addEventListener("ended", () => showLine("This is the end: load the page again.", "gap"));
  await showMembers(client);
  setInterval(() => showMembers(client), ASK_WHO_MS);
  byId("text").focus();
}

/** Publish to `from:me`, the one room that our token allows; the message comes back in the lobby, with our name. */
async function say(client, me) {
  const text = byId("text").value.trim();
  if (!text) return;
  byId("text").value = "";
  byId("problem").textContent = "";
  try {
    await client.publish(`from:${me}`, "chat.said", { text });
  } catch (error) {
    byId("problem").textContent = `Not said: ${error.message}`;
    byId("text").value ||= text;
  }
}

async function showMembers(client) {
  if (client.phase !== "open") return;
  const { members } = await client.presence(LOBBY).catch(() => ({ members: [] }));
  byId("members").replaceChildren(...members.map(({ user }) => element("li", nameOf(user))));
}

function show({ data, time }, me) {
  const line = element("li", "", data.from === me ? "mine" : "");
  const clock = new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  line.append(element("b", nameOf(data.from)), element("time", clock), element("p", data.text));
  append(line);
}

function showLine(text, kind) {
  append(element("li", text, kind));
}

function append(line) {
  byId("messages").append(line);
  while (byId("messages").children.length > MOST_SHOWN) byId("messages").firstChild.remove();
  line.scrollIntoView({ block: "nearest" });
}

byId("login").onsubmit = async (submitted) => {
  submitted.preventDefault();
  try {
    await post("/login", { name: byId("name").value });
    location.reload();
  } catch (error) {
    byId("refused").textContent = error.message;
  }
};

await start();
