// Line plots of the last five minutes: samples in, a drawing out, with the same in words for those who do not see it.

import { el, setText, svg } from "./dom.js";
import { number } from "./format.js";

const WIDTH = 600;
const HEIGHT = 150;
const SPAN_MS = 5 * 60 * 1000;
const BREAK_MS = 5000;

/** A round number at or above `value`: 1, 2 or 5 times a power of ten. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= value * 0.999);
}

/** The points of a line as an SVG path; it breaks where nothing was heard for a while. */
export function line(samples, value, top, now) {
  let path = "";
  let last = null;
  for (const sample of samples) {
    const height = value(sample);
    if (typeof height !== "number" || now - sample.at > SPAN_MS) continue;
    const x = WIDTH - ((now - sample.at) / SPAN_MS) * WIDTH;
    const y = HEIGHT - (Math.min(height, top) / top) * HEIGHT;
    path += `${last === null || sample.at - last > BREAK_MS ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    last = sample.at;
  }
  return path;
}

/** `lines`: [{label, value: sample => number}]. Call `show(samples)` with each new sample. */
export function plot(title, unit, lines) {
  const paths = lines.map((_, place) => svg("path", { class: `line line-${place}`, "vector-effect": "non-scaling-stroke" }));
  const marks = [0, 0.5, 1].map((part) =>
    svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: part * HEIGHT, y2: part * HEIGHT, "vector-effect": "non-scaling-stroke" }),
  );
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "drawing" },
    ...marks,
    ...paths,
  );
  const top = el("span", { class: "axis-top" });
  const values = lines.map(() => el("output", { "aria-live": "off" }));
  const legend = el(
    "ul",
    { class: "legend" },
    ...lines.map(({ label }, place) =>
      el("li", {}, el("span", { class: `sample sample-${place}`, "aria-hidden": "true" }), el("span", { text: `${label} ` }), values[place]),
    ),
  );
  const node = el(
    "figure",
    { class: "plot" },
    el("figcaption", {}, el("h3", { text: title }), el("span", { class: "muted", text: unit })),
    el("div", { class: "canvas" }, top, drawing),
    el("div", { class: "axis", "aria-hidden": "true" }, el("span", { text: "5 min ago" }), el("span", { text: "now" })),
    legend,
  );
  const show = (samples) => {
    const now = Date.now();
    const most = Math.max(0, ...samples.flatMap((each) => lines.map(({ value }) => value(each) ?? 0)));
    const scale = ceiling(most);
    lines.forEach(({ value }, place) => {
      paths[place].setAttribute("d", line(samples, value, scale, now));
      setText(values[place], samples.length ? number(value(samples[samples.length - 1])) : "–");
    });
    setText(top, number(scale));
    const words = lines.map(({ label }, place) => `${label} ${values[place].textContent}`).join(", ");
    drawing.setAttribute("aria-label", `${title}, the last five minutes: now ${words}; highest ${number(most)} ${unit}`);
  };
  show([]);
  return { node, show };
}
