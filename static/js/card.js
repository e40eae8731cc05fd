// The card of the inbox: redrawn when its escalation changes, but never over half-typed words; and the current
// item of the queue follows the card.
(() => {
  "use strict";
  const card = () => document.getElementById("card");
  let actedAt = 0; // when the answer to an act of this page was drawn; news of others may come at any moment
  let sending = 0; // acts of this page under way: their answers draw the card, and nothing else may meanwhile
  let missed = false;

  function dirty(root) {
    for (const field of root.querySelectorAll("input:not([type=hidden]), textarea, select")) {
      if (field.type === "radio" || field.type === "checkbox") {
        if (field.checked !== field.defaultChecked) return true;
      } else if (field.tagName === "SELECT") {
        if ([...field.options].some((one) => one.selected !== one.defaultSelected) && field.selectedIndex > 0) return true;
      } else if (field.value !== field.defaultValue) return true;
    }
    return Boolean(root.querySelector("form.edit, form.inline, [popover]:popover-open"));
  }
  function redraw() {
    const here = card();
    if (!here?.dataset.card) return;
    if (dirty(here)) {
      const note = here.querySelector("[data-moved]");
      if (note) note.hidden = false;
      return;
    }
    htmx.ajax("GET", here.dataset.card, { target: "#card", swap: "outerHTML" });
  }
  function follow() {
    const id = card()?.dataset.escalation;
    for (const link of document.querySelectorAll("#queue-list .item a")) {
      if (link.id === `item-${id}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  document.body.addEventListener("live:inbox", (event) => {
    const here = card();
    if (!here) return;
    const id = Number(here.dataset.escalation || 0);
    const entries = event.detail?.entries ?? [];
    if (!id) {
      if (document.querySelector("#queue-list .item") || entries.length) window.location.assign(window.location.href);
      return;
    }
    const mine = entries.some((entry) => entry.escalation === id);
    const controls = entries.some((entry) => entry.escalation === null);
    if (sending) {
      missed ||= controls;
      return;
    }
    const ownAct = Date.now() - actedAt < 400; // the news of what this page has just drawn itself
    if ((mine && !ownAct) || controls || !entries.length) redraw();
  });

  const isAct = (event) => event.detail.requestConfig?.verb === "post";
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isAct(event)) sending += 1;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    // A redraw that was asked for before the act would take the form away whose answer is still to come.
    if (sending && !isAct(event) && event.detail.target?.id === "card") event.detail.shouldSwap = false;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!isAct(event)) return;
    sending -= 1;
    if (missed && !sending) {
      missed = false;
      redraw();
    }
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id === "card" || event.detail.elt?.id === "card") {
      if (isAct(event)) actedAt = Date.now();
      document.body.classList.add("chosen");
      document.body.dataset.run = document.querySelector("#card a[href^='/runs/']")?.getAttribute("href").split("/")[2] ?? "";
    }
    follow();
  });
  // An amount that is written is the one that is meant; one that is chosen takes the written one away.
  document.addEventListener("input", (event) => {
    const form = event.target.closest?.("#top-up");
    if (!form) return;
    const [field, other] = [form.elements.amount, form.querySelector('[name="pick"][value=""]')];
    if (event.target === field && field.value) other.checked = true;
    else if (event.target.name === "pick" && event.target !== other) field.value = "";
  });
  // What was typed and is about to be lost by going elsewhere is asked about by the browser.
  window.addEventListener("beforeunload", (event) => {
    const here = card();
    const typed = here && [...here.querySelectorAll("textarea")].some((one) => one.value !== one.defaultValue);
    if (typed && !here.dataset.sending) event.preventDefault();
  });
  document.addEventListener("submit", () => {
    if (card()) card().dataset.sending = "1";
  });
})();
