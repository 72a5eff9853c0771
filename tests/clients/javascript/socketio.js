// The official client of Socket.IO, as it is: orders of a test in, what happens to its socket out.

import { io } from "socket.io-client";
import { obey, say } from "./lines.js";

let socket = null;
let token = null;
const positions = {};

function begin(room, { epoch, offset, recovery }) {
  if (recovery === "fresh" || recovery === "none") positions[room] = { epoch, offset };
}

/** Note where the client is in each room, for the next time it connects. */
function follow(name, about) {
  if (name === "welcome") for (const [room, joined] of Object.entries(about.rooms)) begin(room, joined);
  else if (name === "skipped") positions[about.room].offset = about.to;
  else if (about?.prev !== undefined) positions[about.room].offset = about.offset;
}

await obey({
  connect: ({ url, options, ...more }) => {
    token = more.token ?? null;
    socket = io(url, {
      transports: ["websocket"],
      forceNew: true,
      reconnectionDelay: 20,
      reconnectionDelayMax: 100,
      ...options,
      auth: (send) => send({ token, resume: positions, client: { name: "socket.io-client" } }),
    });
    socket.on("connect", () => say("connect", { id: socket.id }));
    socket.on("disconnect", (reason) => say("disconnect", { reason, active: socket.active }));
    socket.on("connect_error", (error) => {
      const body = error.context?.responseText;
      say("connect_error", { message: error.message, data: error.data ?? (body ? JSON.parse(body) : null) });
    });
    socket.onAny((name, ...rest) => {
      follow(name, rest[0]);
      say("event", { name, arguments: rest });
    });
  },
  call: ({ name, argument }) =>
    new Promise((resolve) => {
      socket.emit(name, argument, (answer) => {
        if (name === "subscribe" && !answer.error) begin(answer.room, answer); // before the first event behind it
        resolve({ answer });
      });
    }),
  send: ({ name, argument }) => void socket.emit(name, argument),
  send_binary: ({ name }) => void socket.emit(name, Buffer.from("binary")),
  give: (given) => {
    token = given.token;
  },
  connect_again: () => void socket.connect(),
  disconnect: () => void socket.disconnect(),
});
