// Values in, text for people out.

const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FINE = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** The time zone that times are shown in: this browser's. */
export const ZONE = CLOCK.resolvedOptions().timeZone;

/** 12,345, or 3.4 below a hundred; a dash where there is nothing. */
export function number(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  return (Math.abs(value) < 100 ? FINE : COUNT).format(value);
}

/** 1.2 MiB. */
export function bytes(value) {
  if (typeof value !== "number") return "–";
  if (value < 1024) return `${COUNT.format(value)} B`;
  return value < 1024 * 1024 ? `${FINE.format(value / 1024)} KiB` : `${FINE.format(value / 1024 / 1024)} MiB`;
}

/** 3 d 4 h, 5 min 6 s, 0.4 s; a line does not end within it. */
export function duration(seconds) {
  return spoken(seconds).replaceAll(" ", "\u00a0");
}

function spoken(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${FINE.format(Math.max(0, seconds))} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** The time of day of an RFC 3339 time, here. */
export function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "–" : CLOCK.format(date);
}

/** 12 s ago. */
export function ago(time) {
  const date = new Date(time);
  if (time === null || time === undefined || Number.isNaN(date.getTime())) return "–";
  const seconds = (Date.now() - date.getTime()) / 1000;
  return seconds < 1.5 ? "just now" : `${duration(seconds)} ago`;
}

/** One thing, two things. */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** How often: once, 2 times. */
export function times(value) {
  return value === 1 ? "once" : count(value, "time");
}

/** The day and time of an RFC 3339 time, here. */
export function moment(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "–" : MOMENT.format(date);
}

/** A value as JSON, on one line of at most so many characters. */
export function compact(value, most = 160) {
  const text = JSON.stringify(value) ?? "";
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
