// A plain form that is sent twice by a double click is sent once: the second answer would say that somebody was first.
// Only for a while, since an answer may never come; and never a stop, which may be asked for as often as one likes.
(() => {
  "use strict";
  const WHILE_MS = 4000;
  let sent = new WeakMap();
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const stops = form.closest("#stop") || event.submitter?.matches(".stop");
    if (form.method !== "post" || form.hasAttribute("hx-post") || stops || event.defaultPrevented) return;
    const by = event.submitter ?? form; // a form may have several buttons
    if (Date.now() - (sent.get(by) ?? 0) < WHILE_MS) event.preventDefault();
    else sent.set(by, Date.now());
  });
  // Back to a page that was kept as it was left: its forms may be sent again.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) sent = new WeakMap();
  });
})();
