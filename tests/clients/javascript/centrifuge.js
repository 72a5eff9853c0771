// The official client, unchanged, as a test tells it to be used. What its application would see is said.

import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";
import { obey, say } from "./lines.js";

let client;
const tokens = [];

const REPORTED = ["connected", "connecting", "disconnected", "publication", "subscribed", "subscribing", "unsubscribed"];

function listen(emitter, names, prefix) {
  for (const name of names) emitter.on(name, (context) => say(prefix + name, { ...context }));
  emitter.on("join", ({ channel, info }) => say(`${prefix}join`, { channel, ...info }));
  emitter.on("leave", ({ channel, info }) => say(`${prefix}leave`, { channel, ...info }));
  emitter.on("error", ({ type, error }) => say(`${prefix}error`, { type, code: error.code, message: error.message }));
}

/** Errors of this library are plain objects. */
async function outcome(promise) {
  try {
    return { result: (await promise) ?? {} };
  } catch (error) {
    return { error: error.message, code: error.code };
  }
}

const subscription = (channel) => client.getSubscription(channel);

await obey({
  connect: ({ url, token, refreshes = [], options = {} }) => {
    tokens.push(...refreshes);
    const ask = token === undefined ? {} : { token, getToken: async () => tokens.shift() ?? "" };
    client = new Centrifuge(url, { websocket: WebSocket, minReconnectDelay: 20, maxReconnectDelay: 100, ...ask, ...options });
    listen(client, REPORTED, "");
    client.on("message", ({ data }) => say("message", { data }));
    client.connect();
  },
  subscribe: ({ channel, options = {} }) => {
    const wanted = { minResubscribeDelay: 20, maxResubscribeDelay: 100, ...options };
    const created = subscription(channel) ?? client.newSubscription(channel, wanted);
    if (created.listenerCount("publication") === 0) {
      listen(created, ["publication", "subscribed", "subscribing", "unsubscribed"], "sub.");
    }
    created.subscribe();
  },
  unsubscribe: ({ channel }) => subscription(channel).unsubscribe(),
  publish: ({ channel, data }) => outcome(client.publish(channel, data)),
  presence: ({ channel }) => outcome(client.presence(channel)),
  stats: ({ channel }) => outcome(client.presenceStats(channel)),
  history: ({ channel, options }) => outcome(client.history(channel, options)),
  rpc: ({ method, data }) => outcome(client.rpc(method, data)),
  send: ({ data }) => outcome(client.send(data)),
  disconnect: () => client.disconnect(),
});
