// The supervisor journal in sentences: an entry, or an incident, in; words and a tone out.

import { count, duration, number, times } from "./format.js";

const ORDERS = {
  restart: "a restart",
  close_connection: "to close a connection",
  close_user: "to close a user's connections",
  subscribe_user: "to subscribe a user",
  unsubscribe_user: "to unsubscribe a user",
  forget_room: "to delete a room",
};

/** A kind in words. */
export function words(kind) {
  return kind.replace(/_/g, " ");
}

/** connection:7 as "Connection 7", room:session:1 as "Room session:1". */
export function actorName(name) {
  if (!name) return "An actor";
  const [, kind, id] = /^(connection|room):(.+)$/s.exec(name) ?? [];
  if (kind) return `${kind === "room" ? "Room" : "Connection"} ${id}`;
  return name;
}

/** Whose connection it is, where the entry tells. */
function whose({ user }) {
  return user ? ` of ${user}` : "";
}

function failed(each) {
  const message = each.message_type ? ` on a message ${each.message_type}` : "";
  return `${actorName(each.actor)}${whose(each)} failed${message}: ${each.exception_type ?? "an error"}${each.error ? `: ${each.error}` : ""}`;
}

function restarted(each) {
  if (each.by) return `${actorName(each.actor)} was restarted, as ${each.by} ordered`;
  const wait = each.backoff_ms > 0 ? `after ${number(each.backoff_ms)} ms` : "at once";
  const often = each.of ? ` (restart ${each.restart} of at most ${each.of} in ${duration(each.within_s)})` : "";
  return `${actorName(each.actor)} was restarted ${wait}${often}`;
}

function repaired(each) {
  const parts = [];
  if (each.user) parts.push(`user ${each.user}`);
  const rooms = Object.entries(each.rooms ?? {});
  if (rooms.length) parts.push(`${count(rooms.length, "room")} attached again`);
  for (const [room, { from, to }] of rooms) if (to > from) parts.push(`${room} from ${from} to ${to}`);
  if (each.top !== undefined) parts.push(`at event ${each.top}`);
  if (each.subscribers !== undefined) parts.push(`${count(each.subscribers, "subscriber")} attached again`);
  if (each.events_replayed !== undefined) parts.push(`${count(each.events_replayed, "event")} sent again`);
  const lost = each.commands_lost ?? [];
  if (lost.length) parts.push(`answered with an error: ${lost.join(", ")}`);
  return `${actorName(each.actor)} is repaired${parts.length ? `: ${parts.join("; ")}` : ""}`;
}

const SENTENCES = {
  failed,
  restarted,
  repaired,
  given_up: (each) =>
    `${actorName(each.actor)} was given up after ${count(each.restarts, "restart")} in ` +
    `${duration(each.within_s)}${each.escalates ? "; its own supervisor takes over" : ""}`,
  quarantined: (each) =>
    `An event ${each.event_kind ?? each.message_type ?? ""} went to quarantine: ${actorName(each.actor)} failed on it ` +
    `${times(each.deaths)} (${each.exception_type}: ${each.error})`,
  released: (each) => `${each.by ?? "An operator"} ${each.how ?? "released"} a message of ${actorName(each.actor)} in quarantine`,
  ordered: (each) => `${each.by ?? "An operator"} ordered ${ORDERS[each.order] ?? each.order}: ${each.target}`,
  draining: (each) => `The router drains: ${count(each.connections, "client")} told to come back later`,
  drain_timed_out: (each) => `The drain took too long: ${count(each.connections, "client")} cut`,
  stopped: () => "The router stopped in good order",
  dropped: (each) => `${count(each.entries, "entry", "entries")} of this journal could not be kept`,
  started: (each) => `The router started, version ${each.version}`,
  reloaded: (each) => (each.ok ? `Settings were read again; changed: ${(each.changed ?? []).join(", ") || "nothing"}` : `Settings could not be read again: ${each.reason}`),
};

/** What kinds of entries there are. */
export const KINDS = Object.keys(SENTENCES);

/** One entry as a sentence. */
export function sentence(each) {
  return Object.hasOwn(SENTENCES, each.kind) ? SENTENCES[each.kind](each) : words(each.kind);
}

/** What clients noticed, in words; null where it is not known. */
export function noticed({ entries }) {
  const value = entries.map((each) => each.noticed).findLast((each) => each !== undefined && each !== null);
  if (value === undefined) return null;
  if (typeof value !== "string") return value ? "yes" : "nothing";
  return value.replace(/`([^`]*)`/g, "“$1”");
}

/** How an incident stands: [word, tone]. */
export function outcome({ entries }) {
  const kinds = new Set(entries.map((each) => each.kind));
  if (kinds.has("given_up")) return ["given up", "bad"];
  if (kinds.has("repaired")) return ["repaired", "good"];
  if (kinds.has("quarantined")) return ["quarantined", "warn"];
  if (kinds.has("restarted")) return ["restarted", "good"];
  if (kinds.has("failed")) return ["failed", "bad"];
  const [{ kind, ok }] = entries;
  if (kind === "draining" || kind === "drain_timed_out") return [words(kind), "warn"];
  if (kind === "reloaded" && ok === false) return ["not reloaded", "bad"];
  return [words(kind), "plain"];
}

/** The entry that says what began an incident. */
export function beginning(group) {
  return group.entries.find((each) => each.kind === "failed") ?? group.first;
}

/** The title of an incident: what began it. */
export function title(group) {
  const user = group.entries.find((each) => each.user)?.user; // only the repair may know it
  return sentence({ user, ...beginning(group) });
}

/** How long it took from the first entry to the last, in words; entries have whole milliseconds. */
export function took({ entries, first, last }) {
  return entries.length < 2 ? "" : `${number(Math.max(1, Date.parse(last.time) - Date.parse(first.time)))} ms`;
}
