// Asks again and again, one question at a time, as long as somebody looks.

/**
 * Call `work` now and `ms` after each time it is done, until `signal` aborts; not while the page is hidden.
 * Returns a function that asks at once.
 */
export function every(ms, signal, work) {
  let timer = null;
  let busy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (busy || signal.aborted) return;
    busy = true;
    if (!document.hidden) await work();
    busy = false;
    if (!signal.aborted) timer = setTimeout(turn, ms);
  };
  document.addEventListener("visibilitychange", turn, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
  return turn;
}
