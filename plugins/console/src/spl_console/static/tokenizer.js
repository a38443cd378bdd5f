// The tokenizer as one types: the server says where tokens end, the text is coloured from that as far as it is seen.
"use strict";

(() => {
  const form = document.getElementById("tokenizer");
  if (!form) return;
  const text = document.getElementById("text");
  const model = document.getElementById("model");
  const shown = document.getElementById("tokens");
  const note = document.getElementById("note");
  const costs = document.getElementById("costs");
  const csrf = document.querySelector("meta[name=csrf]").content;
  const PAUSE = 150;     // milliseconds without a key before the text is sent
  const BLOCK = 400;     // tokens that are laid out together
  const MOST = 1048576;  // bytes that the server takes
  const group = new Intl.NumberFormat("en-US");
  const encoder = new TextEncoder();
  const strict = new TextDecoder("utf-8", { fatal: true });
  let timer = 0;
  let running = null;
  let watcher = null;

  function figure(id, value) { document.getElementById(id).textContent = group.format(value); }

  function hex(bytes) { return Array.from(bytes, (each) => each.toString(16).padStart(2, "0").toUpperCase()).join(" "); }

  // The whole character that a token has only some bytes of.
  function around(bytes, start, end) {
    let first = start;
    while (first > 0 && (bytes[first] & 0xC0) === 0x80) first -= 1;
    let last = end;
    while (last < bytes.length && (bytes[last] & 0xC0) === 0x80) last += 1;
    try { return strict.decode(bytes.subarray(first, last)); } catch { return ""; }
  }

  function token(bytes, start, end, id, place) {
    const span = document.createElement("span");
    const own = bytes.subarray(start, end);
    let title = id === null ? "" : `id ${id} · `;
    span.className = `t t${place % 6}`;
    try {
      span.textContent = strict.decode(own);
      title += `bytes ${hex(own)}`;
    } catch {
      span.textContent = hex(own);
      span.classList.add("part");
      const whole = around(bytes, start, end);
      title += `bytes ${hex(own)}${whole ? `, a part of ${whole}` : ""}`;
    }
    span.title = title;
    return span;
  }

  // Blocks are laid out when what comes after the last one comes into sight: a text of any length costs what is seen.
  function colour(bytes, ids, sizes) {
    watcher?.disconnect();
    shown.replaceChildren();
    let place = 0;
    let at = 0;
    const rest = document.createElement("span");
    function block() {
      const made = document.createElement("span");
      for (const end = Math.min(place + BLOCK, sizes.length); place < end; place += 1) {
        made.append(token(bytes, at, at + sizes[place], ids[place], place));
        at += sizes[place];
      }
      rest.before(made);
      if (place >= sizes.length) {
        watcher?.disconnect();
        rest.remove();
      }
    }
    if (!sizes.length) return;
    shown.append(rest);
    watcher = new IntersectionObserver((seen) => {
      if (seen.some((each) => each.isIntersecting)) {
        block();
        if (rest.isConnected) { watcher.unobserve(rest); watcher.observe(rest); }
      }
    }, { root: shown, rootMargin: "600px" });
    block();
    if (rest.isConnected) watcher.observe(rest);
  }

  function price(models) {
    const rows = new Map([...costs.rows].map((row) => [row.dataset.model, row]));
    for (const each of models) {
      const cells = rows.get(each.model)?.cells;
      if (!cells) continue;
      cells[1].textContent = group.format(each.tokens);
      cells[2].textContent = each.cost_usd === null ? "–" : `$${each.cost_usd}`;
    }
  }

  async function count() {
    const value = text.value;
    const bytes = encoder.encode(value);
    running?.abort();
    const mine = running = new AbortController();
    figure("characters", [...value].length);
    figure("bytes", bytes.length);
    if (bytes.length > MOST) {
      note.textContent = "A text of more than 1 MiB is not counted here: send it to /v1/tokenize-text in parts.";
      return;
    }
    shown.classList.add("stale");
    try {
      const answer = await fetch(`${document.body.dataset.prefix}/tokenizer/tokens`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-csrf-token": csrf },
        body: JSON.stringify({ model: model.value, text: value.toWellFormed?.() ?? value }),
        signal: mine.signal,
      });
      const found = await answer.json();
      if (!answer.ok) {
        note.textContent = answer.status === 401 ? "You are signed out: load the page again." : found.error.message;
        return;
      }
      const own = found.models.find((each) => each.model === found.model);
      figure("count", found.sizes.length);
      note.textContent = own.approximate ? "This model's tokenizer is not published: what is shown is an approximation." : "";
      colour(bytes, found.ids, found.sizes);
      price(found.models);
      shown.classList.remove("stale");
    } catch (error) {
      if (error.name !== "AbortError") note.textContent = "The gateway does not answer; the count below is of an earlier text.";
    }
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(count, PAUSE);
  }

  const example = document.getElementById("example");
  const clear = document.getElementById("clear");
  example.hidden = clear.hidden = false;
  example.addEventListener("click", () => { text.value = example.dataset.text; count(); });
  clear.addEventListener("click", () => { text.value = ""; count(); text.focus(); });
  text.addEventListener("input", soon);
  model.addEventListener("change", count);
  form.addEventListener("submit", (event) => { event.preventDefault(); count(); });
  if (text.value) count();
})();
