// Gives back what it is told: for the test of the way to Node itself.

import { WebSocket } from "ws";
import { obey, say } from "./lines.js";

say("ready", { websocket: typeof WebSocket });
await obey({
  repeat: ({ text }) => ({ text }),
  fail: ({ text }) => {
    throw new Error(text);
  },
  tell: ({ text }) => say("told", { text }),
});
