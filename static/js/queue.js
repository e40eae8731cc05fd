// The queue of the inbox takes what was pushed: items come, go and change where they stand, by their rank. Only the
// whole queue does, and not under somebody's hands; otherwise it is fetched again or offered (polite.js).
(() => {
  "use strict";
  const list = () => document.getElementById("queue-list");
  const me = document.body.dataset.person;

  function busy(queue) {
    const focused = document.activeElement;
    return queue.matches(":hover") || (queue.contains(focused) && focused.matches("input, textarea, select"));
  }
  function parsed(html) {
    const template = document.createElement("template");
    template.innerHTML = html; // rendered and escaped by the server, as a whole page is
    return template.content.querySelector("section[data-cause]");
  }
  const rank = (element) => (element.matches(".item") ? element : element.querySelector(".item")).dataset.rank;
  function insert(parent, element) {
    const after = [...parent.children].find((one) => rank(one) > rank(element));
    parent.insertBefore(element, after ?? null);
  }
  function count(section) {
    const items = section.querySelectorAll(".item").length;
    if (items) section.querySelector(".cause .n").textContent = items;
    else section.remove();
  }
  // The first of a cause may have gone or come: causes stand in the order of their firsts.
  function order() {
    const sections = [...list().children].sort((one, other) => (rank(one) < rank(other) ? -1 : 1));
    sections.forEach((section, at) => {
      if (list().children[at] !== section) list().insertBefore(section, list().children[at]);
    });
  }
  function remove(id) {
    const item = document.getElementById(`item-${id}`)?.closest(".item");
    const section = item?.closest("section");
    item?.remove();
    if (section) count(section);
  }
  function put(html) {
    const fresh = parsed(html);
    const item = fresh.querySelector(".item");
    const by = item.querySelector(".by");
    if (by.dataset.person && by.dataset.person === me) by.textContent = "You";
    const same = [...list().children].find((one) => one.dataset.cause === fresh.dataset.cause);
    if (same) {
      insert(same.querySelector("ul"), item);
      count(same);
    } else {
      list().append(fresh);
    }
    htmx.process(same ? item : fresh);
  }
  function numbers(queue, detail) {
    const shown = { all: "all", free: "free", irreversible: "irr", soon: "soon" };
    for (const [name, id] of Object.entries(shown)) queue.querySelector(`#f-${id} b`).textContent = detail.counts[name];
    queue.querySelector("#f-mine b").textContent = detail.mine[me] ?? "0";
    const oldest = document.getElementById("queue-oldest");
    if (oldest) oldest.textContent = detail.oldest;
  }

  document.body.addEventListener("live:items", (event) => {
    const queue = document.getElementById("queue");
    if (!queue || !("whole" in queue.dataset) || busy(queue) || queue.querySelector(".empty")) return;
    const current = document.querySelector("#queue-list [aria-current]")?.id;
    const focused = document.activeElement?.id;
    const items = Object.entries(event.detail.items);
    const left = [...queue.querySelectorAll(".item")].filter((one) => !(one.dataset.item in event.detail.items)).length;
    if (!left && items.every(([, html]) => !html)) return; // an empty queue has words of its own
    for (const [id] of items) remove(id);
    for (const [, html] of items) if (html) put(html);
    order();
    numbers(queue, event.detail);
    if (current) document.getElementById(current)?.setAttribute("aria-current", "true");
    if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
    event.preventDefault();
  });
})();
