// The live socket: keeps the last number heard, replays what was missed, says how late the page is. Entries of the
// journal are taken in order and without a gap. What comes rendered with an entry is put in its place; for the rest,
// and for whatever came without, components listen to the events that are sent on <body> and fetch themselves anew:
// live:journal, live:places, live:inbox (the card), live:queue, live:controls, live:held, live:limits, live:runs,
// live:run.
(() => {
  "use strict";
  const badge = document.getElementById("live");
  if (!badge || !window.WebSocket) return;

  const STALE = 15_000;
  const CONTROLS = /^(engage|release) (pause|stop)$|^resume$/;
  const LIMITS = /\blimit\b/;
  const BUDGETS = /\b(limit|top up|book)\b/;
  const BREAKERS = /\bbreaker\b/;
  const body = document.body;
  const word = badge.querySelector("b");
  const time = badge.querySelector("span");
  const behind = document.getElementById("behind");
  const behindAt = document.getElementById("behind-at");

  let socket = null;
  let tries = 0;
  let last = Number(body.dataset.seq || 0);
  let heardAt = Date.now();
  let serverAt = null; // the server's clock when it was last heard, in ms
  let offlineSince = null;
  let everOpen = false;
  let due = new Set();
  let entries = [];
  let timer = null;

  const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
  const serverNow = () => (serverAt === null ? Date.now() : serverAt + Date.now() - heardAt);

  // Events are gathered for a moment, so that a burst of acts is one fetch a component.
  function send(...names) {
    for (const name of names) due.add(name);
    if (timer === null) timer = setTimeout(flush, 80);
  }
  function flush() {
    const names = due;
    const detail = { entries };
    due = new Set();
    entries = [];
    timer = null;
    for (const name of names) {
      body.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
    }
  }
  function everything() {
    send("live:journal", "live:places", "live:inbox", "live:queue", "live:controls", "live:held", "live:limits", "live:runs", "live:run");
  }

  // A component as it was rendered for everybody with these roles; false when it is not on this page.
  function put(id, html) {
    if (!html || !document.getElementById(id)) return false;
    htmx.swap(`#${id}`, html, { swapStyle: "outerHTML" });
    return true;
  }
  // The queue puts its items in order itself (queue.js), if it can at this moment.
  function taken(queue) {
    return Boolean(queue) && !body.dispatchEvent(new CustomEvent("live:items", { detail: queue, cancelable: true }));
  }

  function journal(message) {
    if (message.seq <= last) return;
    if (message.seq > last + 1) return ask(); // what lies between comes first
    last = message.seq;
    entries.push(message);
    send("live:journal");
    const control = CONTROLS.test(message.act);
    if (message.escalation !== null) send("live:inbox");
    if (control) send("live:controls", "live:inbox");
    if (LIMITS.test(message.act)) send("live:limits");
    if (BUDGETS.test(message.act)) send("live:budgets");
    if (BREAKERS.test(message.act)) send("live:breakers");
    const parts = message.parts;
    // Empty: what this entry changed comes with a later one that is on its way already.
    if (parts && !Object.keys(parts).length) return pending(message.escalation !== null, control);
    if (!put("places", parts?.places)) send("live:places");
    if ((control || owed.held) && !put("held", parts?.held)) send("live:held");
    if ((message.escalation !== null || owed.queue) && !taken(parts?.queue)) send("live:queue");
    if (control) send("live:queue");
    owed = { queue: false, held: false };
  }
  let owed = { queue: false, held: false };
  function pending(queue, held) {
    owed = { queue: owed.queue || queue, held: owed.held || held };
  }
  let asked = -1;
  function ask() {
    if (asked === last || socket?.readyState !== WebSocket.OPEN) return;
    asked = last;
    socket.send(JSON.stringify({ after: last }));
  }
  function caughtUp(head) {
    asked = -1;
    if (head > last) ask();
  }

  // A component that throttles hears the first hint of a burst and none of those after it within its pause: the last
  // thing that happened is told once more when that is over.
  let again = 0;
  function runsChanged() {
    send("live:runs");
    const slow = document.querySelectorAll("[hx-trigger*='live:runs from:body throttle:']");
    const pauses = [...slow].map((one) => Number(/throttle:(\d+)s/.exec(one.getAttribute("hx-trigger"))?.[1] ?? 0));
    if (!pauses.length) return;
    clearTimeout(again);
    again = setTimeout(() => send("live:runs"), Math.max(...pauses) * 1000 + 200);
  }

  function hear(message) {
    heardAt = Date.now();
    if (message.now) serverAt = Date.parse(message.now);
    else if (serverAt !== null) serverAt = Math.max(serverAt, serverNow());
    switch (message.type) {
      case "hello":
        // Hints only, never replayed: what moved between the page's reading and this moment is asked for.
        send("live:runs", "live:run");
        if (everOpen) send("live:controls", "live:held", "live:places", "live:queue");
        everOpen = true;
        caughtUp(message.seq);
        break;
      case "beat":
        caughtUp(message.seq);
        break;
      case "journal":
        journal(message);
        break;
      case "reload":
        last = Number.MAX_SAFE_INTEGER;
        window.location.reload();
        break;
      case "controls":
        if (!put("held", message.parts?.held)) send("live:held");
        send("live:controls");
        break;
      case "runs":
        runsChanged();
        break;
      case "run":
        if (String(message.run) === body.dataset.run) send("live:run");
        break;
    }
    show();
  }

  function open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const where = new URLSearchParams({ at: body.dataset.place, run: body.dataset.run });
    socket = new WebSocket(`${scheme}//${location.host}/ws/live?${where}`);
    socket.onopen = () => {
      tries = 0;
      offlineSince = null;
    };
    socket.onmessage = (event) => hear(JSON.parse(event.data));
    socket.onclose = (event) => {
      socket = null;
      if (event.code === 4401) {
        window.location.reload(); // signed out: the server sends to the sign-in page
        return;
      }
      offlineSince ??= serverNow();
      show();
      const wait = Math.min(5_000, 250 * 2 ** tries) * (0.5 + Math.random());
      tries += 1;
      setTimeout(open, wait);
    };
  }

  function state() {
    if (socket?.readyState !== WebSocket.OPEN) return everOpen || offlineSince !== null ? "offline" : "connecting";
    return Date.now() - heardAt > STALE ? "stale" : "live";
  }
  function show() {
    const now = state();
    badge.dataset.s = now === "connecting" ? "offline" : now;
    const said = { live: "Live", stale: "Stale", offline: "Offline", connecting: "Connecting" }[now];
    if (word.textContent !== said) word.textContent = said;
    if (now === "live") time.textContent = clock(serverNow());
    else if (now === "stale") time.textContent = `${Math.round((Date.now() - heardAt) / 1000)} s behind`;
    else if (now === "offline") time.textContent = `since ${clock(offlineSince ?? serverNow())}`;
    else time.textContent = "";
    if (behind) {
      behind.hidden = now === "live" || now === "connecting";
      if (!behind.hidden) behindAt.textContent = clock(serverAt ?? heardAt);
    }
  }

  setInterval(show, 1000);
  // A laptop that wakes up, or a tab that comes back, asks at once instead of waiting for the back-off.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && socket === null) open();
    else if (!document.hidden && state() === "stale") socket.close();
  });
  body.addEventListener("live:everything", everything);
  open();
})();
