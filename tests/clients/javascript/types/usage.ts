// A program as users write it: the compiler must accept all of it, and refuse what is marked.

import { CommandError, connect, GapError, Unauthenticated, type Gap, type Position, type RoomEvent } from "postroom-client";

interface Download {
  current: number;
  total?: number;
}

let kept: Position | undefined;

export async function follow(show: (event: RoomEvent<Download>) => void): Promise<void> {
  const client = await connect("ws://127.0.0.1:8000/v1/ws", {
    token: async () => (await fetch("/token")).text(),
    WebSocket: globalThis.WebSocket,
    backoff: { floorMs: 100 },
  });
  client.addEventListener("status", () => console.log(client.phase, client.retryAt ?? "now"));
  client.addEventListener("notice", ({ detail }) => {
    if (detail.code === "draining") console.log(detail.reconnect_in_ms.toFixed(0));
  });
  const session = await client.subscribe<Download>("session:42", { after: kept, kinds: ["progress"] });
  const gaps: Gap[] = [];
  session.addEventListener("gap", ({ detail }) => gaps.push(detail));
  try {
    for await (const event of session) {
      show(event);
      console.log(event.data.current / (event.data.total ?? 1), event.time.slice(0, 4));
      kept = session.position;
    }
  } catch (error) {
    if (error instanceof GapError) console.log(error.gap.missing?.from, error.gap.next.epoch);
    else if (error instanceof Unauthenticated) console.log(error.code, error.reason);
    else throw error;
  } finally {
    await client.close();
  }
}

export async function publish(): Promise<number> {
  const client = await connect(async () => "ws://127.0.0.1:8000/v1/ws", { token: "eyJ", resume: { system: { epoch: "a", offset: 1 } } });
  client.joined("system", { gaps: "report" }).addEventListener("event", ({ detail }) => console.log(detail.data.status));
  try {
    const receipt = await client.publish("session:42", "progress", { current: 3 }, { delivery: "latest", key: "disk" });
    const { members } = await client.presence(receipt.room);
    return members.length + (await client.history("session:42", { limit: 10 })).events.length;
  } catch (error) {
    if (error instanceof CommandError && error.temporary) return error.retryAfterMs ?? 0;
    throw error;
  }
}

export async function mistakes(): Promise<void> {
  // @ts-expect-error: there is no such option
  const client = await connect("ws://127.0.0.1:8000/v1/ws", { tokens: "eyJ" });
  // @ts-expect-error: a position has an epoch
  const session = await client.subscribe("session:42", { after: { offset: 3 } });
  // @ts-expect-error: it is the client that moves it
  session.position = { epoch: "a", offset: 1 };
  // @ts-expect-error: no such class of delivery
  await client.publish("session:42", "app.x", {}, { delivery: "sometimes" });
  // @ts-expect-error: no such event
  session.addEventListener("message", () => {});
}
