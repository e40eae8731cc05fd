// Deadlines count down between two redraws. The server's words stand until this runs and when it does not.
(() => {
  "use strict";
  const pad = (n) => String(n).padStart(2, "0");
  // In the words of the server (runs/moments.py), so that nothing jumps when this begins.
  function left(ms, seconds) {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s >= 86400) return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
    if (s >= 3600) return `${Math.floor(s / 3600)} h ${pad(Math.floor((s % 3600) / 60))}`;
    if (s < 60) return `${s} s`;
    return seconds || s < 600 ? `${Math.floor(s / 60)} min ${pad(s % 60)}` : `${Math.floor(s / 60)} min`;
  }
  function tick() {
    for (const element of document.querySelectorAll("[data-until]")) {
      const ms = Date.parse(element.dataset.until) - Date.now();
      const text = ms <= 0 ? "now" : left(ms, "seconds" in element.dataset);
      if (element.firstChild?.nodeValue !== text) element.textContent = text;
      element.classList.toggle("care", ms < 30 * 60_000);
    }
  }
  tick();
  setInterval(tick, 1000);
  document.addEventListener("htmx:afterSwap", tick);
})();
