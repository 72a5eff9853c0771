// The supervisor journal: entries as they come and from before in, the last ones and incidents out.

const MOST = 1000;

/** Entries of the API and events of the room have one shape here: {offset, time, kind, ...fields}. */
export function entry(message) {
  const { offset, time, kind, data, ...fields } = message;
  return { ...(data ?? fields), offset, time, kind: kind.replace(/^supervisor\./, "") };
}

export class Incidents extends EventTarget {
  constructor() {
    super();
    this.entries = []; // by offset
  }

  clear() {
    this.entries = [];
    this.dispatchEvent(new Event("change"));
  }

  add(messages) {
    const known = new Set(this.entries.map((each) => each.offset));
    const fresh = messages.map(entry).filter((each) => !known.has(each.offset));
    if (fresh.length === 0) return;
    this.entries = [...this.entries, ...fresh].sort((one, other) => one.offset - other.offset).slice(-MOST);
    this.dispatchEvent(new Event("change"));
  }

  /** Entries that belong together, the newest first: [{key, actor, entries, first, last}]. */
  grouped(matches = () => true) {
    const groups = new Map();
    for (const each of this.entries) {
      const key = each.incident ? `incident ${each.incident}` : `entry ${each.offset}`;
      const group = groups.get(key) ?? { key, entries: [] };
      group.entries.push(each);
      groups.set(key, group);
    }
    return [...groups.values()]
      .filter(({ entries }) => entries.some(matches))
      .map((group) => ({ ...group, first: group.entries[0], last: group.entries[group.entries.length - 1] }))
      .sort((one, other) => other.last.offset - one.last.offset);
  }

  /** Who failed or was restarted within the last so many seconds: name to {failed, restarted}, how often. */
  within(seconds) {
    const since = Date.now() - seconds * 1000;
    const lately = new Map();
    for (const { kind, actor, time } of this.entries) {
      if (!(kind === "failed" || kind === "restarted") || Date.parse(time) < since) continue;
      const counts = lately.get(actor) ?? { failed: 0, restarted: 0 };
      counts[kind] += 1;
      lately.set(actor, counts);
    }
    return lately;
  }
}
