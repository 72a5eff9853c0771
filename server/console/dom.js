// Elements: descriptions in, nodes out. Data becomes text and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `props` are attributes, but for `text`, `on` {event: function}, and `hidden`/`disabled` and the like. */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Make an element of a drawing. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set a node's text; what stays the same is left alone, so that selections and screen readers are not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const KEPT = new WeakMap();

/**
 * Show items as children, in their order. Each item's node stays the same one for as long as its key is there, so that
 * the focus and opened details stay, too.
 */
export function keyed(parent, items, keyOf, create, update) {
  const before = KEPT.get(parent) ?? new Map();
  const now = new Map();
  const focused = document.activeElement;
  const inside = parent.contains(focused);
  for (const item of items) {
    const key = keyOf(item);
    const node = before.get(key) ?? create(item);
    before.delete(key);
    now.set(key, node);
    update(node, item);
  }
  for (const node of before.values()) node.remove(); // first, so that nobody who stays has to be moved for it
  let place = 0;
  for (const node of now.values()) {
    if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] ?? null);
    place += 1;
  }
  KEPT.set(parent, now);
  if (!inside || focused === document.activeElement) return;
  const next = parent.contains(focused) ? focused : [...document.querySelectorAll("main h1")].at(-1); // not the start of the page
  next?.focus({ preventScroll: true });
}

/** A button that says what it does. */
export function button(text, onClick, props = {}) {
  return el("button", { type: "button", text, on: { click: onClick }, ...props });
}

/** A mark with a word in it: colour is never all that tells. */
export function badge(text, tone = "plain") {
  return el("span", { class: `badge ${tone}`, text });
}

/** Change a badge. */
export function setBadge(node, text, tone = "plain") {
  setText(node, text);
  if (node.className !== `badge ${tone}`) node.className = `badge ${tone}`;
}

/** A heading with what belongs to it. */
export function section(title, ...children) {
  return el("section", {}, el("h2", { text: title }), ...children);
}

/** A field with its label. */
export function field(label, input) {
  return el("label", { class: "field" }, el("span", { text: label }), input);
}
