// What went wrong, why, and what helps, as a card with the cure on it.

import { button, copy, cut, emit, h, icon } from "./dom.js";
import { client } from "./server.js";

const TITLES = {
  claude_not_authenticated: "The Claude CLI is not logged in",
  claude_unavailable: "The Claude CLI cannot be started",
  claude_rate_limited: "The usage limit is reached",
  claude_overloaded: "The model's service is overloaded",
  claude_api_error: "The model's service failed",
  claude_timeout: "The answer took too long",
  claude_failed: "The Claude CLI failed",
  worker_lost: "The server was restarted in mid-answer",
  shutting_down: "The server is stopping",
  store_unavailable: "The store is unavailable",
  outbox_full: "The outbox is full",
  at_capacity: "The server is at capacity",
  queue_full: "The queue is full",
  project_busy: "The project is busy",
  session_unusable: "This session cannot go on",
  model_not_found: "There is no such model",
  max_turns_reached: "The question's own limit of requests is reached",
  budget_reached: "The question's own budget is spent",
  unauthorized: "An API key is needed",
  too_many_attempts: "Too many wrong keys",
  forbidden: "This page may not call the server",
  unreachable: "The server cannot be reached",
  payload_too_large: "This is too large",
  turn_expired: "The answer is no longer kept",
  invalid_request: "The server does not take this question",
};
const HINTS = {
  claude_overloaded: "It passes, mostly within a minute.",
  claude_api_error: "What was written so far stays. Ask again.",
  claude_timeout: "What was written so far stays. Ask again, or for less at a time.",
  worker_lost: "What was written so far stays; the rest was never written.",
  at_capacity: "All CLI processes are at work. Try again in a moment.",
  queue_full: "Too many questions wait already. Try again when one is done.",
  session_unusable: "The model's service refuses what is in it. Delete the session to begin anew; its files stay.",
  store_unavailable: "It is tried again by itself.",
  unreachable: "It is tried again by itself.",
  turn_expired: "The server keeps an answer for a while only, and the session's messages for ever.",
};

/** `fault` is a `CoworkError`, or an error frame's `{error, code, retryAfter}`. */
export function errorCard(fault, { again = null, project = null } = {}) {
  const code = fault.code ?? "error";
  const raw = { code, status: fault.status, ...(typeof fault.detail === "object" ? fault.detail : fault.facts) };
  const cure = h("div.cure");
  const card = h(
    "section.card.bad-card",
    { role: "alert" },
    h("h3.card-title", {}, icon("alert"), TITLES[code] ?? "Something went wrong"),
    h("p", {}, sentence(fault.error ?? fault.message)),
    HINTS[code] ? h("p.soft", {}, HINTS[code]) : null,
    cure,
    h("details.raw", {}, h("summary", {}, "What the server said"), h("pre", { tabIndex: 0 }, JSON.stringify(raw, null, 2))),
  );
  const specific = CURES[code]?.(fault, { again, project, card }) ?? [];
  const repeated = again && code !== "unauthorized" ? button("Ask again", again, specific.length ? "plain" : "primary") : null;
  cure.append(...[...specific, repeated].filter(Boolean));
  if (!cure.hasChildNodes()) cure.remove();
  return card;
}

/** A link that leads nowhere: what was looked for, why it may be gone, and ways on, as `[href, name]`. */
export function lostCard(title, looked, why, ways) {
  return h(
    "section.card.lost-link",
    { role: "alert" },
    h("h3.card-title", {}, icon("alert"), title),
    h("p", {}, "Looked for: ", h("code", {}, cut(looked, 200))),
    why ? h("p.soft", {}, why) : null,
    h("div.cure", {}, ways.map(([href, name]) => h("a.button-link", { href }, name))),
  );
}

/** A link to a turn that is not in the conversation. */
export function lostTurn(id, { project, turns }, { code }) {
  const why = code === "turn_expired" ? "It has ended, and the server keeps a turn for a while only." : "It may be another server's or another key's, or was deleted with its session.";
  const here = `#/chat/${encodeURIComponent(project)}`;
  const then = turns.length ? "What is still known of this conversation is below." : "Nothing has been asked in this project here.";
  return lostCard("This link leads to an answer that is not here", `turn ${id} of ${project}`, `${why} ${then}`, [...(turns.length ? [[here, "To its end"]] : []), ["#/sessions", "All sessions"]]);
}

const sentence = (text) => {
  const said = cut(text ?? "", 600);
  return said ? said[0].toUpperCase() + said.slice(1) + (/[.!?…]$/.test(said) ? "" : ".") : "";
};

const CURES = {
  claude_not_authenticated: (_fault, { card }) => [loginCure(card)],
  claude_unavailable: (_fault, { card }) => [checkAgain(card)],
  claude_rate_limited: (fault) => [limitEnds(fault.retryAfter ?? fault.retry_after)],
  forbidden: (fault) => forbiddenCure(fault),
  unauthorized: () => [button("Enter a key", () => emit("key-wanted"), "primary")],
  session_unusable: (_fault, { project }) => [button("Delete the session…", () => emit("delete-session", project))],
};

/** A command that can be copied. */
export function command(text) {
  return h("div.command-line", {}, h("code", {}, text), button("Copy", () => copy(text), "quiet.small"));
}

/** The exact login command, by the path that the server found. */
function loginCure(card) {
  const place = h("div.stack");
  client.health().then(
    ({ claude }) => place.replaceChildren(h("p.soft", {}, "Run this as the user who runs the server, then check again:"), command(`${claude.path ?? "claude"} /login`), checkAgain(card)),
    () => place.replaceChildren(checkAgain(card)),
  );
  return place;
}

function checkAgain(card) {
  const said = h("span.soft", { role: "status" });
  const check = button("Check again", async () => {
    said.textContent = "Looking…";
    try {
      const { ready, reasons } = await client.health();
      said.textContent = ready ? "All is well now." : sentence(reasons[0]);
      card.classList.toggle("cured", ready);
    } catch (fault) {
      said.textContent = sentence(fault.message);
    }
  }, "primary");
  return h("div.row", {}, check, said);
}

function limitEnds(seconds) {
  if (!seconds) return h("p.soft", {}, "The service did not say when it ends.");
  const at = new Date(Date.now() + seconds * 1000);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return h("p.soft", {}, seconds < 60 ? `It ends in ${Math.ceil(seconds)} s.` : `It ends at ${time}.`);
}

function forbiddenCure(fault) {
  const said = String(fault.error ?? fault.message);
  const setting = /COWORK_ALLOWED_(HOSTS|ORIGINS)/.exec(said);
  if (!setting) return [];
  const value = setting[1] === "HOSTS" ? location.hostname : location.origin;
  return [h("div.stack", {}, h("p.soft", {}, "Start the server with this setting:"), command(`${setting[0]}=${value}`))];
}
