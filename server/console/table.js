// Tables that are lists of cards on a narrow screen: rows in, nodes out, kept over updates.

import { el, keyed, setText } from "./dom.js";

/**
 * `columns`: [{head, text: row => string} or {head, make: current => node, update?: (node, row)}], with `class`? and
 * `title`?: row => string. `make` is called once for each row; `current()` is the row as it was shown last.
 * Show rows with `show(rows)`; where there are none, `empty` is said.
 */
export function table(caption, columns, keyOf, empty) {
  const body = el("tbody", { role: "rowgroup" });
  const nothing = el("p", { class: "empty", text: empty, hidden: true });
  const heads = columns.map(({ head, class: name }) =>
    el("th", { scope: "col", role: "columnheader", class: name }, el("span", { text: head })),
  );
  const whole = el(
    "table",
    { role: "table" },
    el("caption", { class: "sr-only", text: caption }),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)),
    body,
  );
  const rows = new WeakMap();
  const create = () => {
    const node = el("tr", { role: "row" });
    const current = () => rows.get(node);
    const cells = columns.map((column) => {
      const inside = column.make ? column.make(current) : el("span");
      return el("td", { role: "cell", "data-head": column.head, class: column.class }, inside);
    });
    node.append(...cells);
    return node;
  };
  const update = (node, row) => {
    rows.set(node, row);
    columns.forEach((column, place) => {
      const inside = node.children[place].firstChild;
      if (column.text) setText(inside, column.text(row));
      else column.update?.(inside, row);
      if (column.title) inside.title = column.title(row);
    });
  };
  const show = (items) => {
    keyed(body, items, keyOf, create, update);
    whole.hidden = items.length === 0;
    nothing.hidden = items.length > 0;
  };
  whole.hidden = true;
  return { node: el("div", { class: "table" }, whole, nothing), show };
}
