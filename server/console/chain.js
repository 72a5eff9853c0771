// The chain check of one room, without I/O: attachments, events and markers in, verdicts out.
// The protocol's rule is one line: event.prev == position, then position = event.offset.

export class Chain {
  constructor() {
    this.epoch = null;
    this.offset = null; // up to where everything is accounted for; null: the first event of a replay tells
    this.betweenEvents = false;
  }

  /** Where to go on from, for `resume`; null: nowhere yet. */
  get position() {
    return this.epoch === null || this.offset === null ? null : { epoch: this.epoch, offset: this.offset };
  }

  /** Start, or go on, where the router attached the room. Returns what is missing, in words, or null. */
  attach(answer, resumed) {
    const before = this.position;
    this.epoch = answer.epoch;
    this.betweenEvents = false;
    if (!resumed || before === null) {
      this.offset = answer.replay ? null : answer.offset;
      return null;
    }
    if (answer.recovery === "full") return null;
    if (answer.recovery === "partial" && answer.missing) {
      this.offset = answer.missing.to;
      this.betweenEvents = true;
      return `events ${answer.missing.from} to ${answer.missing.to} have left the history`;
    }
    this.offset = answer.offset;
    const same = before.epoch === answer.epoch && before.offset === answer.offset;
    return same ? null : "the room's history began anew";
  }

  /** Judge an event, and move to it: "next", "duplicate" or "broken". */
  event(offset, prev) {
    let verdict = "next";
    if (this.offset !== null) {
      if (offset <= this.offset) return "duplicate";
      if (prev !== this.offset && !(this.betweenEvents && prev < this.offset)) verdict = "broken";
    }
    this.offset = offset;
    this.betweenEvents = false;
    return verdict;
  }

  /** Move to the end of a `skipped` marker. */
  skip(last) {
    if (this.offset !== null && last <= this.offset) return;
    this.offset = last;
    this.betweenEvents = true;
  }
}
