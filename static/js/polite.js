// Lists that redraw themselves when something changed, but not under somebody's hands: while the pointer or the
// focus is in a list, a button says that there is something newer. [data-polite] names the event it listens to.
(() => {
  "use strict";
  const waiting = new Map(); // id of a list -> how much was missed

  // A pointer that rests where it was when the page came is not reading; one that has moved lately is.
  let moved = 0;
  document.addEventListener("pointermove", () => (moved = Date.now()), { passive: true });

  function busy(list) {
    const focused = document.activeElement;
    const typing = focused && list.contains(focused) && focused.matches("input, textarea, select");
    return typing || (list.matches(":hover") && Date.now() - moved < 3000);
  }
  function refresh(list) {
    waiting.delete(list.id);
    htmx.trigger(list, "refresh");
  }
  function offer(list) {
    const button = list.querySelector("[data-newer]");
    if (!button) return refresh(list);
    waiting.set(list.id, (waiting.get(list.id) || 0) + 1);
    button.hidden = false;
    button.textContent = "Newer, show";
  }
  function changed(event) {
    for (const list of document.querySelectorAll(`[data-polite="${event.type}"]`)) {
      if (busy(list)) offer(list);
      else refresh(list);
    }
  }

  for (const name of ["live:queue", "live:runs", "live:journal"]) {
    document.body.addEventListener(name, changed);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-newer]");
    if (button) refresh(button.closest("[data-polite]"));
  });
  // Hands away: what waited is shown.
  setInterval(() => {
    for (const id of waiting.keys()) {
      const list = document.getElementById(id);
      if (!list) waiting.delete(id);
      else if (!busy(list)) refresh(list);
    }
  }, 500);
})();
