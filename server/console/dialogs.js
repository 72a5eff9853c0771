// Questions before something that cannot be taken back: words in, yes or no out.

import { button, el, field } from "./dom.js";

/** Ask; resolves with whether the answer was yes. With `type`, that text has to be typed first. */
export function confirm({ title, text, yes, type = null }) {
  return new Promise((resolve) => {
    const input = type === null ? null : el("input", { type: "text", autocomplete: "off", spellcheck: "false" });
    const go = button(yes, () => dialog.close("yes"), { class: "danger", disabled: type !== null });
    input?.addEventListener("input", () => (go.disabled = input.value !== type));
    input?.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !go.disabled) dialog.close("yes");
    });
    const stay = button("Cancel", () => dialog.close("no"));
    const dialog = el(
      "dialog",
      { "aria-labelledby": "dialog-title" },
      el("h2", { id: "dialog-title", text: title }),
      el("p", { text }),
      input && field(`Type ${type} to confirm`, input),
      el("div", { class: "row end" }, stay, go),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    (input ?? stay).focus();
  });
}
