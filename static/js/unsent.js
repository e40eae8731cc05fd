// What was clicked and got no answer: said at the top of the page, in words that the server wrote (<template>s of the
// page). Whether an act was done is not known here; doing it again is safe, because each counts once.
(() => {
  "use strict";
  function say(id) {
    const place = document.getElementById("messages");
    const words = document.getElementById(id);
    if (place && words) place.replaceChildren(words.content.cloneNode(true));
  }
  const isAct = (event) => event.detail.requestConfig?.verb === "post";
  const wasClicked = (event) => ["click", "submit"].includes(event.detail.requestConfig?.triggeringEvent?.type);

  function lost(event) {
    if (isAct(event)) say("unsent-act");
    else if (wasClicked(event)) say("unsent-page");
  }
  document.addEventListener("htmx:sendError", lost);
  document.addEventListener("htmx:timeout", lost);
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status >= 500 && (isAct(event) || wasClicked(event))) say("unsent-failed");
  });
  // An answer that came says itself what it has to say.
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful && (isAct(event) || wasClicked(event))) document.querySelector("#messages > [data-unsent]")?.remove();
  });
})();
