// What is asked for again and again: shows the answer, or what is wrong while it goes on asking.

import { el, setText } from "./dom.js";
import { every } from "./poll.js";

/** A line that says what is wrong; hidden while nothing is. */
export function trouble() {
  const node = el("p", { class: "problem", role: "status", hidden: true });
  return {
    node,
    show(text) {
      setText(node, text);
      node.hidden = text === "";
    },
  };
}

/** Load `what` every `ms`: `{node, now}`, where `node` is the line for problems and `now()` loads at once. */
export function loading(what, ms, signal, load, show) {
  const problem = trouble();
  const now = every(ms, signal, async () => {
    try {
      const answer = await load();
      if (signal.aborted) return;
      show(answer);
      problem.show("");
    } catch (error) {
      if (error.code === undefined) console.error(error); // a mistake of the page's own
      problem.show(`Cannot load ${what}: ${error.message}. Trying again.`);
    }
  });
  return { node: problem.node, now };
}
