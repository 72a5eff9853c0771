// A bare relay on socket.io: subscribe to a room, publish to a room, nothing else.
// WebSocket transport only and compression off. The adapter encodes an event once for the whole room.
// The heartbeat is put off beyond any run, because the other relays have none either.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  pingInterval: 24 * 3600 * 1000,
});

io.on("connection", (socket) => {
  socket.on("subscribe", (room, subscribed) => {
    socket.join(room);
    subscribed();
  });
  socket.on("publish", (room, data) => {
    io.to(room).emit("event", data);
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
