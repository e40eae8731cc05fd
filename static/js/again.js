// A hint that comes while a component is being fetched: the component is fetched once more. htmx would queue it
// on the very element that the answer replaces, and the last thing that happened would never be shown.
(() => {
  "use strict";
  const NAMES = [
    "live:journal", "live:places", "live:inbox", "live:queue", "live:controls", "live:held", "live:runs", "live:run",
  ];
  const heard = new Map(NAMES.map((name) => [name, 0]));
  const begun = new Map(); // id of a component -> what it had heard when its request left

  // While capturing: counted before the component itself hears of it and asks.
  for (const name of NAMES) document.addEventListener(name, () => heard.set(name, heard.get(name) + 1), true);

  function total(element) {
    const listens = `${element.getAttribute("hx-trigger") ?? ""} ${element.dataset.polite ?? ""}`;
    return NAMES.filter((name) => new RegExp(`${name}\\b`).test(listens)).reduce((sum, name) => sum + heard.get(name), 0);
  }
  document.addEventListener("htmx:beforeRequest", (event) => {
    const element = event.detail.elt;
    if (element.id && element.hasAttribute("hx-get")) begun.set(element.id, total(element));
  });
  document.addEventListener("htmx:load", (event) => {
    const element = event.detail.elt;
    const before = begun.get(element.id);
    if (before === undefined) return;
    begun.delete(element.id);
    // An ended run listens to nothing more, and has nothing more to say.
    if (total(element) <= before || !element.hasAttribute("hx-get")) return;
    htmx.ajax("GET", element.getAttribute("hx-get"), { source: element, target: element, swap: "outerHTML" });
  });
})();
