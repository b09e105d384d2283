"use strict";
// The page of /docs: a question whose tokens are seen to come, and Swagger UI for all the rest.

const at = (id) => document.getElementById(id);
let asking = null;

// Without the validator, which would ask a server elsewhere.
const ui = SwaggerUIBundle({ url: "/openapi.json", dom_id: "#page", validatorUrl: null });

function headers() {
  const key = at("key").value.trim();
  const given = { "Content-Type": "application/json" };
  return key ? { ...given, Authorization: `Bearer ${key}` } : given;
}

// One key is enough for the whole page.
at("key").addEventListener("change", () => {
  const value = at("key").value.trim();
  if (!value) ui.authActions.logout(["key"]);
  else ui.authActions.authorize({ key: { name: "key", schema: { type: "http", scheme: "bearer" }, value } });
});

function show(text, { failed = false, facts = "" } = {}) {
  at("answer").textContent = text;
  at("answer").classList.toggle("failed", failed);
  at("facts").textContent = facts;
}

// What an error reply says, in a sentence.
async function complaint(reply) {
  const text = await reply.text();
  try {
    const detail = JSON.parse(text).detail;
    if (Array.isArray(detail)) return detail.map((each) => `${each.loc.join(".")}: ${each.msg}`).join("\n");
    return detail.error ?? text;
  } catch {
    return text || `status ${reply.status}`;
  }
}

async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const blocks = (rest + piece.value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      if (block.trim().startsWith("data: ")) yield JSON.parse(block.trim().slice(6));
    }
  }
}

async function ask() {
  const begun = performance.now();
  const since = () => Math.round(performance.now() - begun);
  const answer = at("answer");
  let first = null, tokens = 0, ended = false;
  const facts = () => `first token after ${first ?? since()} ms · ${tokens} tokens · ${since()} ms in all`;
  show("", { facts: "waiting for the first token ..." });
  const reply = await fetch("/ask_question_streaming", {
    method: "POST",
    headers: headers(),
    body: JSON.stringify({ project_name: at("project").value, question: at("question").value }),
    signal: asking.signal,
  });
  if (!reply.ok) return show(await complaint(reply), { failed: true, facts: `status ${reply.status}` });
  for await (const frame of frames(reply.body)) {
    if (frame.type === "token") {
      first ??= since();
      tokens += 1;
      const follows = answer.scrollTop + answer.clientHeight >= answer.scrollHeight - 4;
      answer.append(frame.token);
      if (follows) answer.scrollTop = answer.scrollHeight;
      at("facts").textContent = facts();
    } else if (frame.type === "error") {
      answer.append(`\n${frame.error}`);
      answer.classList.add("failed");
    } else if (frame.done) {
      ended = true;
      if (frame.message !== undefined) answer.textContent = frame.message;
      at("facts").textContent = facts();
    }
  }
  if (!ended) show(answer.textContent, { failed: true, facts: "the stream broke off" });
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  asking?.abort();
  const mine = (asking = new AbortController());
  document.querySelector(".answer").hidden = false;
  at("stop").disabled = false;
  ask()
    .catch((error) => {
      const stopped = error.name === "AbortError";
      if (asking === mine) show(at("answer").textContent || (stopped ? "" : "no answer: the server cannot be reached"), { failed: !stopped, facts: stopped ? "stopped" : String(error) });
    })
    .finally(() => {
      if (asking === mine) at("stop").disabled = true;
    });
});

at("stop").addEventListener("click", () => asking?.abort());

at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit();
});
