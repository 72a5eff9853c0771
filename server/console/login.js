// Who looks: asks for a token, and keeps it for as long as this tab is open.

import { el, field, setText } from "./dom.js";

const KEY = "postroom-token";

/** The token of this tab, or null. */
export function token() {
  return sessionStorage.getItem(KEY);
}

export function keepToken(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

function form(label, action, onToken) {
  const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const node = el(
    "form",
    {
      class: "row filters",
      on: {
        submit: (event) => {
          event.preventDefault();
          const value = input.value.trim();
          if (!value) return;
          input.value = "";
          onToken(value);
        },
      },
    },
    field(label, input),
    el("button", { type: "submit", text: action }),
  );
  return { node, input };
}

/** The page for those who are not let in; `show(reason)` says why not. */
export function login(onToken) {
  const { node: tokenForm, input } = form("Token", "Log in", onToken);
  const why = el("p", { class: "problem", role: "alert", hidden: true });
  const node = el(
    "section",
    { class: "login", hidden: true },
    el("h1", { text: "Log in" }),
    why,
    tokenForm,
    el("p", { class: "muted" }, "The console takes a token of role admin. One for an hour: "),
    el("pre", { text: "postroom token --user YOU --role admin", tabindex: "0", "aria-label": "Command" }),
    el("p", { class: "muted", text: "It is kept in this tab only, and gone when the tab is closed." }),
  );
  return {
    node,
    show(reason) {
      setText(why, reason ?? "");
      why.hidden = !reason;
      node.hidden = false;
      input.focus();
    },
  };
}

/** A line to put a new token in place of one that ends. */
export function renewal(onToken) {
  return form("New token", "Renew", onToken).node;
}
