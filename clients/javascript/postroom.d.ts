// Types of postroom.js. Objects that come from the router have the protocol's names; options are in camelCase.

/** The version of this module. */
export declare const VERSION: string;

/** A place in a room's history; give it as `after` to go on from there. */
export interface Position {
  /** Names the history. When it changes, old offsets mean nothing. */
  readonly epoch: string;
  /** Offset of the last event that counts as seen; 0: none. */
  readonly offset: number;
}

/** Any JSON object. */
export type Data = { [name: string]: any };

/** How the router attached a room. `fresh`: no position was given; `full`: all after it follows; see `Gap` for the others. */
export type Recovery = "fresh" | "full" | "partial" | "none";

/** What gives way while a client lags. `keep`: nothing; `latest`: older values of the key; `ephemeral`: the event. */
export type Delivery = "keep" | "latest" | "ephemeral";

/** One event at its place in a room. */
export interface RoomEvent<D = Data> {
  room: string;
  /** Place in the room, from 1 on, growing. */
  offset: number;
  /** Offset of the room's event before this one; 0: none. */
  prev: number;
  /** The publisher's event id; acknowledge an alert with it. */
  id: string;
  /** `notification`, `alert`, `progress`, `session`, `system`, or an application's own name with a dot. */
  kind: string;
  /** When the router took it: RFC 3339, UTC. */
  time: string;
  data: D;
  /** Whose older value it replaces, where the publisher said so. */
  key?: string;
  /** Where it is not what is usual for the kind. */
  delivery?: Delivery;
  /** `required`: an alert that stays in the room's state until somebody acknowledges it. */
  ack?: "required" | "none";
  /** Which trace it belongs to (W3C Trace Context). */
  traceparent?: string;
}

/** Events of a room that this subscription will never get. */
export interface Gap {
  readonly room: string;
  /**
   * `expired`: the room's history does not reach back so far. `new_epoch`: it began anew, old offsets mean nothing.
   * `broken_chain`: the router left events out without a word, twice.
   */
  readonly reason: "expired" | "new_epoch" | "broken_chain";
  /** The last position before the gap. */
  readonly last: Position;
  /** The position right after it: the next event follows this one. */
  readonly next: Position;
  /** The missing offsets, both ends included; null where nobody knows what was missed. */
  readonly missing: { readonly from: number; readonly to: number } | null;
}

/** Offsets that will not come, on purpose. Not a gap. */
export interface Skipped {
  room: string;
  from: number;
  /** The position is now this one. */
  to: number;
  /** `conflated`: a newer value took its place. `filtered`: not of the wanted kinds. `expired`: its time was over. */
  reason: "conflated" | "filtered" | "expired";
}

/** A published event is committed: it will not be lost. */
export interface Receipt {
  room: string;
  epoch: string;
  offset: number;
  event_id: string;
  /** Whether the router had it already: it counts once. */
  duplicate: boolean;
}

/** What a room's events amount to, at one position. */
export interface RoomState {
  room: string;
  epoch: string;
  offset: number;
  state: Data;
}

/** A part of a room's history, oldest event first. */
export interface HistoryPage {
  room: string;
  epoch: string;
  events: RoomEvent[];
  /** Whether there is more in the direction that was asked for. */
  more: boolean;
}

/** Who is in a room now. */
export interface Presence {
  room: string;
  members: { user: string; connections: number }[];
  /** How many; may be more than are listed. */
  count: number;
}

/** The router's advice. */
export type Notice =
  | { code: "token_expiring"; expires_at: string }
  | { code: "draining"; reconnect_in_ms: number }
  | { code: "resumed"; rooms: unknown };

/** What the router said when it let this client in. */
export interface Welcome {
  /** The router's name for the connection; another one after every reconnect. */
  connection: string;
  /** The token's user, or `anonymous`. */
  user: string;
  role: "user" | "admin" | "service";
  protocol: 1;
  heartbeat_s: number;
  limits: { message_bytes: number; rooms: number; outbox_bytes: number };
}

/** A WebSocket class: the browser's, Node's own (from 22 on), or that of npm `ws`. */
export type WebSocketClass = new (url: string, protocols?: string | string[]) => any;

export interface ConnectOptions {
  /** A token, or a function that gives a fresh one: asked for every connection, and before the token ends. */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** `globalThis.WebSocket` where there is one. Node 20 has none: give it that of npm `ws`. */
  WebSocket?: WebSocketClass;
  /** Positions kept from an earlier run, by room; read those rooms with `Client.joined`. */
  resume?: { readonly [room: string]: Position };
  /** How many events of a room wait for who iterates it, before the room is left for a while. 1024. */
  buffer?: number;
  /** Delays between attempts, in milliseconds. 500 to 20,000. */
  backoff?: { floorMs?: number; capMs?: number };
  /** How long `connect` tries, in milliseconds. 20,000. */
  connectTimeoutMs?: number;
  /** How long a command waits for its answer, through breaks, in milliseconds. 30,000. */
  commandTimeoutMs?: number;
  /** What this program calls itself; operators see it. */
  client?: { name: string; version: string };
}

export interface SubscribeOptions {
  /** Go on after this position; events in between follow first. */
  after?: Position;
  /** Begin with the last so many events; not with `after`. */
  history?: number;
  /** Only events of these kinds. */
  kinds?: string[];
  /** `false`: without the room's state. */
  state?: boolean;
  /** What a gap does to an iteration: `raise` a `GapError`, once (the default), or `report` it to listeners for "gap". */
  gaps?: "raise" | "report";
}

export interface PublishOptions {
  /** Names the event; the router takes it once. Random where it is left out. */
  eventId?: string;
  delivery?: Delivery;
  /** What a `latest` value replaces. */
  key?: string;
  /** Alerts only. */
  ack?: "required" | "none";
  traceparent?: string;
}

interface SubscriptionEvents<D> {
  event: CustomEvent<RoomEvent<D>>;
  skipped: CustomEvent<Skipped>;
  gap: CustomEvent<Gap>;
  attached: Event;
  ended: Event;
}

interface ClientEvents {
  status: Event;
  notice: CustomEvent<Notice>;
  warning: CustomEvent<{ message: string; error: unknown }>;
}

type Listener<T> = ((event: T) => void) | { handleEvent(event: T): void };

/**
 * One room's events, each once and in order, also across reconnects.
 *
 * Iterate it, `for await (const event of subscription)`, one iterator at a time; or add a listener for "event", which
 * gets all from then on. Listeners for "skipped" and "gap" hear of those at their place in the stream in either way.
 * "attached" tells that the router attached the room (again) and `state` is fresh; to those who listen for events,
 * "ended" that nothing more comes.
 */
export declare class Subscription<D = Data> extends EventTarget implements AsyncIterableIterator<RoomEvent<D>> {
  private constructor();
  readonly room: string;
  /** Position of the last event that was handed over, or of the attachment before the first one. */
  readonly position: Position;
  /** The room's state at `statePosition`, as of the last attachment; null: not asked for. */
  readonly state: Data | null;
  /** Events up to there are in `state` already, later ones are not. */
  readonly statePosition: Position | null;
  readonly recovery: Recovery;
  /** How many events and markers wait to be taken. */
  readonly buffered: number;
  /** Whether nothing more can come but what is buffered. */
  readonly ended: boolean;
  /** Why it ended; null: it did not, or the application wanted it. */
  readonly error: Error | null;
  /** Leave the room. What was buffered is dropped. */
  unsubscribe(): Promise<void>;
  /** Rejects with `GapError`, `Revoked`, `ConnectionEnded` or `CommandError`, after what was buffered. */
  next(): Promise<IteratorResult<RoomEvent<D>, undefined>>;
  [Symbol.asyncIterator](): this;
  addEventListener<K extends keyof SubscriptionEvents<D>>(
    type: K,
    listener: Listener<SubscriptionEvents<D>[K]>,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/**
 * A connection to a router that comes back by itself. Commands wait for their answers, through breaks, and reject with
 * `CommandError`, `CommandTimeout`, `ConnectionEnded` or `ClientClosed`.
 *
 * `new Client` begins to connect and tries for as long as it takes; `connect` also waits for the welcome.
 */
export declare class Client extends EventTarget {
  constructor(url: string | (() => string | Promise<string>), options?: ConnectOptions);
  /** `waiting`: for the next attempt, at `retryAt`. `ended`: for good, see `error`. */
  readonly phase: "connecting" | "open" | "waiting" | "ended";
  /** Why the last attempt or connection ended; empty while one is open. */
  readonly reason: string;
  /** When the next attempt is due, in milliseconds since 1970. */
  readonly retryAt: number | null;
  readonly error: Error | null;
  readonly welcome: Welcome | null;
  /** When the token ends; null: it does not. */
  readonly expiresAt: string | null;
  /** Whether the router said that it is about to stop. */
  readonly draining: boolean;
  /** Rooms this client is in: what was subscribed, and what the router joined by itself. */
  readonly rooms: string[];
  subscribe<D = Data>(room: string, options?: SubscribeOptions): Promise<Subscription<D>>;
  /** The subscription to a room that the router joined by itself, or that `resume` named. */
  joined<D = Data>(room: string, options?: { gaps?: "raise" | "report" }): Subscription<D>;
  publish(room: string, kind: string, data: Data, options?: PublishOptions): Promise<Receipt>;
  state(room: string): Promise<RoomState>;
  history(room: string, page?: { after?: number; before?: number; limit?: number }): Promise<HistoryPage>;
  presence(room: string): Promise<Presence>;
  /** Acknowledge an alert, so that it is no longer shown to everyone who joins. */
  ack(room: string, eventId: string): Promise<void>;
  /** Give the router a fresh token (by itself where `token` is a function); resolves with when that one ends. */
  refresh(token?: string): Promise<string | null>;
  /** The router's time. */
  ping(): Promise<string>;
  /** Try again at once, where this client waits for its next attempt. */
  retryNow(): void;
  /** Close the connection; iterations end, and commands that wait reject with `ClientClosed`. */
  close(): Promise<void>;
  addEventListener<K extends keyof ClientEvents>(
    type: K,
    listener: Listener<ClientEvents[K]>,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** Connect, and resolve once the router has welcomed this client. Rejects with `ConnectFailed` or `ConnectionEnded`. */
export declare function connect(url: string | (() => string | Promise<string>), options?: ConnectOptions): Promise<Client>;

/** The chain check by itself, without I/O, for who reads the protocol with code of their own. */
export declare class Chain {
  constructor(room: string, kept?: Position | null);
  readonly room: string;
  /** Up to where everything is accounted for; null until the first event of a replay that was asked for by number. */
  position: Position | null;
  attach(
    answer: Position & { recovery: Recovery; replay: number; missing?: { from: number; to: number } },
    after?: Position | null,
  ): Gap | null;
  event(offset: number, prev: number): "next" | "duplicate" | "broken";
  skip(last: number): boolean;
  acceptBreak(offset: number, prev: number): Gap;
}

/** How long to wait before an attempt (1: the first after something failed), in milliseconds, at random. */
export declare function backoffMs(
  attempt: number,
  bounds?: { floorMs?: number; capMs?: number },
  random?: () => number,
): number;

/** Base of every error that this module throws on purpose. */
export declare class PostroomError extends Error {}

/** The router refused a command, and nothing was changed. */
export declare class CommandError extends PostroomError {
  /** One of the protocol's error codes, for example `forbidden`. */
  readonly code: string;
  /** Whether the same command may succeed later. */
  readonly temporary: boolean;
  readonly retryAfterMs: number | null;
}

/** No answer came in time: the command may or may not have happened. */
export declare class CommandTimeout extends PostroomError {
  readonly command: string;
  readonly timeoutMs: number;
  /** Publish again with it: it is taken once. */
  readonly eventId: string | null;
}

/** The first connection did not come about. */
export declare class ConnectFailed extends PostroomError {
  readonly url: string;
  readonly reason: string;
}

/** The router ended the connection for good. */
export declare class ConnectionEnded extends PostroomError {
  /** The WebSocket close code. */
  readonly code: number;
  readonly reason: string;
}

/** The router does not take the token, or it expired and cannot be renewed. */
export declare class Unauthenticated extends ConnectionEnded {}

/** The application closed this client. */
export declare class ClientClosed extends PostroomError {}

/** Events of a room will never come; iterate again to go on after the gap. */
export declare class GapError extends PostroomError {
  readonly gap: Gap;
}

/** The router ended this subscription. */
export declare class Revoked extends PostroomError {
  readonly room: string;
  readonly reason: string;
}
