// The playground: a streamed call, what it took, and what was billed, also where it was stopped.
"use strict";

(() => {
  const form = document.getElementById("playground");
  if (!form) return;
  const part = (id) => document.getElementById(id);
  const csrf = document.querySelector("meta[name=csrf]").content;
  const base = `${document.body.dataset.prefix}/playground`;
  const group = new Intl.NumberFormat("en-US");
  const TRIES = 20;  // looks for the bill of a call that was stopped
  let running = null;

  const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

  function request() {
    const messages = [];
    if (part("system").value.trim()) messages.push({ role: "system", content: part("system").value });
    messages.push({ role: "user", content: part("message").value });
    const body = { model: part("model").value, messages, stream: true, stream_options: { include_usage: true } };
    const limit = Number.parseInt(part("limit").value, 10);
    if (limit > 0) body.max_tokens = limit;
    return body;
  }

  function billed(cents, input, output) {
    part("cost").textContent = `${cents}¢`;
    part("tokens-in").textContent = group.format(input);
    part("tokens-out").textContent = group.format(output);
  }

  // Event by event, whatever the network cut them into.
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const each of parts) if (each.startsWith("data: ")) yield each.slice(6);
    }
  }

  async function take(answer, began) {
    let first = null;
    let ended = false;
    for await (const data of events(answer.body)) {
      if (data === "[DONE]") { ended = true; break; }
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      const text = event.choices?.[0]?.delta?.content;
      if (text) {
        first ??= performance.now();
        part("first").textContent = seconds(first - began);
        part("answer").append(text);
      }
      if (event.usage) billed(event.usage.cost_cents, event.usage.prompt_tokens, event.usage.completion_tokens);
    }
    if (!ended) throw new Error("The answer broke off before its end.");
  }

  // A call is settled a moment after it was stopped; until then there is no bill to show.
  async function bill(id) {
    for (let turn = 0; turn < TRIES; turn += 1) {
      const found = await fetch(`${base}/calls/${id}`);
      if (!found.ok) return null;
      const call = await found.json();
      if (call.settled) {
        billed((Number(call.cost_usd) * 100).toFixed(8).replace(/\.?0+$/, ""), call.tokens_input, call.tokens_output);
        return call;
      }
      await new Promise((next) => setTimeout(next, 50 * (turn + 1)));
    }
    return null;
  }

  function begin() {
    part("answer").textContent = "";
    for (const id of ["cost", "tokens-in", "tokens-out", "first", "whole"]) part(id).textContent = "–";
    part("state").textContent = "Waiting for the model …";
    part("which").textContent = "";
    part("result").hidden = part("stop").hidden = false;
    part("send").disabled = true;
  }

  async function stopped(id) {
    part("state").textContent = "Stopped. Looking what was billed …";
    const call = id ? await bill(id) : null;
    if (call) part("state").textContent = `Stopped. Billed for what had arrived: ${group.format(call.tokens_output)} tokens.`;
    else if (id) part("state").textContent = "Stopped. The bill is not there yet: the Usage page will have it.";
    else part("state").textContent = "Stopped before the answer began.";
  }

  async function send() {
    if (running) return;
    const mine = running = new AbortController();
    const began = performance.now();
    let id = null;
    begin();
    try {
      const answer = await fetch(`${base}/stream`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-csrf-token": csrf },
        body: JSON.stringify(request()),
        signal: mine.signal,
      });
      id = answer.headers.get("x-request-id");
      part("which").textContent = `Request ${id}`;
      if (!answer.ok) {
        const refusal = (await answer.json()).error;
        throw new Error(answer.status === 401 ? "You are signed out: load the page again." : refusal.message);
      }
      part("state").textContent = "Answering …";
      await take(answer, began);
      part("whole").textContent = seconds(performance.now() - began);
      part("state").textContent = "Done.";
    } catch (error) {
      if (mine.signal.aborted) await stopped(id);
      else if (!(error instanceof TypeError)) part("state").textContent = error.message;
      else part("state").textContent = id ? "The answer broke off: the connection was lost." : "The gateway does not answer. Try again in a moment.";
    } finally {
      running = null;
      part("stop").hidden = true;
      part("send").disabled = false;
    }
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
  part("stop").addEventListener("click", () => running?.abort());
  part("message").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  part("message-help").hidden = false;
})();
