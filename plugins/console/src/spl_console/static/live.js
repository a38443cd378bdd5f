// A part of a page that is asked for again and again: quiet where nothing changed, and it says when nobody answers.
"use strict";

const live = document.getElementById("live");
const asOf = document.getElementById("as-of");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
let last = new Date();

function fell(text) {
  asOf.textContent = `${text} This is how things stood at ${clock.format(last)}.`;
  asOf.hidden = false;
  live.classList.add("stale");
}

document.addEventListener("htmx:beforeRequest", (event) => {
  // Whoever is reading with the keyboard in it, or is not looking, is not disturbed.
  if (document.hidden || (live.contains(document.activeElement) && document.activeElement.matches("a, button"))) event.preventDefault();
});
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  if (event.detail.target.textContent === event.detail.fragment.textContent) event.detail.shouldSwap = false;
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.successful) return;
  last = new Date();
  asOf.hidden = true;
  live.classList.remove("stale");
});
document.addEventListener("htmx:sendError", () => { fell("The gateway does not answer."); });
document.addEventListener("htmx:timeout", () => { fell("The gateway takes too long."); });
document.addEventListener("htmx:responseError", (event) => { fell(event.detail.xhr.status === 401 ? "You are signed out." : "The gateway could not say."); });
