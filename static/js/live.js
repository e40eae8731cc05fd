// The live socket: keeps the last number heard, replays what was missed, says how late the page is.
// Changes nothing on the page itself: components listen to the events it sends on <body> (live:journal,
// live:inbox, live:controls, live:runs, live:run) and fetch themselves anew.
(() => {
  "use strict";
  const badge = document.getElementById("live");
  if (!badge || !window.WebSocket) return;

  const STALE = 15_000;
  const CONTROLS = /^(engage|release) (pause|stop)$|^resume$/;
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
    send("live:journal", "live:inbox", "live:controls", "live:runs", "live:run");
  }

  function journal(message) {
    if (message.seq <= last) return;
    last = message.seq;
    entries.push(message);
    send("live:journal");
    if (message.escalation !== null) send("live:inbox");
    if (CONTROLS.test(message.act)) send("live:controls", "live:inbox");
  }
  function caughtUp(head) {
    if (head > last && socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ after: last }));
  }

  function hear(message) {
    heardAt = Date.now();
    if (message.now) serverAt = Date.parse(message.now);
    else if (serverAt !== null) serverAt = Math.max(serverAt, serverNow());
    switch (message.type) {
      case "hello":
        // Hints only, never replayed: what moved between the page's reading and this moment is asked for.
        send("live:runs", "live:run");
        if (everOpen) send("live:controls");
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
        send("live:controls");
        break;
      case "runs":
        send("live:runs");
        break;
      case "run":
        if (String(message.run) === body.dataset.run) send("live:run");
        break;
    }
    show();
  }

  function open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const run = body.dataset.run ? `?run=${encodeURIComponent(body.dataset.run)}` : "";
    socket = new WebSocket(`${scheme}//${location.host}/ws/live${run}`);
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
