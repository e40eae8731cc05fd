// Single keys. They press the buttons and follow the links that stand on the page, so that a key can do nothing
// that a click could not. Never while typing; can be turned off (the list under "?").
(() => {
  "use strict";
  const STORE = "opsconsole.keys";
  const off = () => localStorage.getItem(STORE) === "off";
  let shownAt = performance.now();
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id === "card" || event.detail.elt?.id === "card") shownAt = performance.now();
  });

  const typing = (element) => element?.matches?.("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");
  const opened = () => document.querySelector("[popover]:popover-open");

  function press(key) {
    const control = document.querySelector(`main [data-key="${key}"]`);
    if (!control) return false;
    const wait = Number(control.dataset.after || 0);
    if (performance.now() - shownAt < wait) return true; // too soon to have been read
    control.click();
    return true;
  }
  function step(by) {
    const links = [...document.querySelectorAll("#queue-list .item a")];
    if (!links.length) return false;
    const at = links.findIndex((link) => link.getAttribute("aria-current"));
    const next = links[Math.min(links.length - 1, Math.max(0, at === -1 ? 0 : at + by))];
    for (const link of links) link.removeAttribute("aria-current");
    next.setAttribute("aria-current", "true"); // at once, so that two quick presses are two steps
    next.focus({ preventScroll: false });
    next.click();
    return true;
  }
  function preset(number) {
    const radio = document.querySelector(`#reject [data-preset="${number}"], form.inline [data-preset="${number}"]`);
    if (!radio) return false;
    radio.checked = true;
    radio.focus();
    return true;
  }
  function stop() {
    const popover = document.getElementById("stop");
    if (!popover) return false;
    if (!popover.matches(":popover-open")) popover.showPopover();
    popover.querySelector(".all").focus();
    return true;
  }

  function single(key) {
    if (opened()) return /^[1-6]$/.test(key) && opened().id === "reject" ? preset(key) : false;
    switch (key) {
      case "j":
        return step(1);
      case "k":
        return step(-1);
      case "a":
      case "e":
      case "r":
      case "m":
      case "c":
      case "l":
        return press(key);
      case "/":
        return focus(document.getElementById("find"));
      case "?":
        document.getElementById("keys")?.showPopover();
        return true;
    }
    return false;
  }
  function focus(element) {
    if (!element || element.offsetParent === null) return false;
    element.focus();
    element.select?.();
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target)) return;
    if (event.shiftKey && event.key.toLowerCase() === "s") {
      if (stop()) event.preventDefault();
      return;
    }
    if (off() || event.repeat) return;
    if (single(event.key)) event.preventDefault();
  });

  const choice = document.getElementById("keys-on");
  if (choice) {
    choice.checked = !off();
    choice.addEventListener("change", () => localStorage.setItem(STORE, choice.checked ? "on" : "off"));
  }
})();
