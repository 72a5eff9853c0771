// A bare relay on Node `ws`: subscribe to a room, publish to a room, nothing else.
// Each event is stringified and encoded once; every subscriber is sent the same Buffer.
// Compression is off, and `ws` has no heartbeat of its own.
"use strict";

const { WebSocket, WebSocketServer } = require("ws");

const AS_TEXT = { binary: false };
const rooms = new Map();

function subscribersOf(room) {
  if (!rooms.has(room)) rooms.set(room, new Set());
  return rooms.get(room);
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
  clientTracking: false,
});

server.on("connection", (socket) => {
  const joined = new Set();
  socket.on("error", () => socket.terminate());
  socket.on("close", () => joined.forEach((room) => rooms.get(room).delete(socket)));
  socket.on("message", (raw) => {
    const message = JSON.parse(raw);
    if (message.type === "subscribe") {
      subscribersOf(message.room).add(socket);
      joined.add(message.room);
      socket.send(JSON.stringify({ type: "subscribed", room: message.room }));
    } else if (message.type === "publish") {
      const event = Buffer.from(JSON.stringify({ type: "event", room: message.room, data: message.data }));
      for (const subscriber of subscribersOf(message.room)) {
        if (subscriber.readyState === WebSocket.OPEN) subscriber.send(event, AS_TEXT);
      }
    }
  });
});
