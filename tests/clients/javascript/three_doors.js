// Three followers of one room: the official clients of Centrifuge and of Socket.IO, and Postroom's own.
// Arguments: ws:// address, room.

import { Centrifuge } from "centrifuge";
import { io } from "socket.io-client";
import { WebSocket } from "ws";
import { connect } from "../../../clients/javascript/postroom.js";
import { obey, say } from "./lines.js";

const [address, room] = process.argv.slice(2);

const centrifuge = new Centrifuge(`${address}/connection/websocket`, {
  websocket: WebSocket,
  minReconnectDelay: 20,
  maxReconnectDelay: 200,
});
const subscription = centrifuge.newSubscription(room);
subscription.on("publication", ({ data }) => say("event", { by: "centrifuge-js", id: data.id }));
subscription.on("subscribed", ({ wasRecovering, recovered }) => {
  say("joined", { by: "centrifuge-js", recovery: wasRecovering ? (recovered ? "full" : "lost") : "fresh" });
});
subscription.subscribe();
centrifuge.connect();

let position = null;
const socket = io(address.replace("ws:", "http:"), {
  transports: ["websocket"],
  reconnectionDelay: 20,
  reconnectionDelayMax: 200,
  auth: (give) => give(position === null ? {} : { resume: { [room]: position } }),
});
socket.on("welcome", ({ rooms }) => {
  if (rooms[room]) {
    say("joined", { by: "socketio-js", recovery: rooms[room].recovery });
  } else {
    socket.emit("subscribe", room, ({ epoch, offset, recovery }) => {
      position = { epoch, offset };
      say("joined", { by: "socketio-js", recovery });
    });
  }
});
socket.on("skipped", ({ to }) => {
  position.offset = to;
});
socket.on("doc.saved", ({ id, offset }) => {
  position.offset = offset;
  say("event", { by: "socketio-js", id });
});

const client = await connect(`${address}/v1/ws`, { WebSocket, backoff: { floorMs: 20, capMs: 200 } });
const stream = await client.subscribe(room);
stream.addEventListener("attached", () => say("joined", { by: "native-js", recovery: stream.recovery }));
say("joined", { by: "native-js", recovery: stream.recovery });
stream.addEventListener("event", ({ detail }) => say("event", { by: "native-js", id: detail.id }));

await obey({});
