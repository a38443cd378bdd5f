// What every page has: times in the reader's zone, copy buttons, and whose request htmx makes.
"use strict";

document.documentElement.classList.add("scripts");

const zoned = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
const zonedDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

function localise(root) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const at = new Date(each.dateTime);
    if (!Number.isNaN(at.getTime())) each.textContent = ("day" in each.dataset ? zonedDay : zoned).format(at);
  }
}

function offerCopies(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select and copy it by hand";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}

localise(document);
offerCopies(document);
document.addEventListener("htmx:load", (event) => { localise(event.detail.elt); });
document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = document.querySelector("meta[name=csrf]")?.content ?? "";
});
