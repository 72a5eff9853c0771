// Orders of a test in, one JSON object a line; what happened out, likewise. The end of the input is the end.

import { createInterface } from "node:readline";

/** Say `{what, ...fields}`. */
export function say(what, fields = {}) {
  process.stdout.write(`${JSON.stringify({ what, ...fields })}\n`);
}

/**
 * Carry out orders, one after the other: `{do: "name", ...fields}` calls `orders.name(fields)`, and what that returns
 * (if anything) is said as `{what: "name", ...}`; what it throws as `{what: "name", error, code}`. Ends with the input.
 */
export async function obey(orders) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...fields } = JSON.parse(line);
    try {
      const answer = await orders[name](fields);
      if (answer !== undefined) say(name, answer);
    } catch (error) {
      say(name, { error: error.message, code: error.code ?? null });
    }
  }
  process.exit(0);
}
