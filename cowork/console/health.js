// Each part of the server with what is wrong with it and what helps; the outbox, the XO login.

import { ago, button, count, emit, h, icon, plural, span, toast } from "./dom.js";
import { command, errorCard } from "./errors.js";
import { client, look } from "./server.js";

const EVERY_MS = 10000;
const POLL_MS = 2000;
const POLLS = 150;
const APPROVALS = {
  off: "Off: no question asks you; what may not run by itself does not (COWORK_APPROVALS).",
  optional: "On where a question wants them; those of this page do, unless their options say otherwise.",
  always: "On: every question asks before a tool runs that may not by itself.",
};

class HealthView {
  constructor() {
    this.parts = h("div", {}, h("p.soft", { role: "status" }, "Looking…"));
    this.outbox = h("section");
    this.login = h("section");
    this.el = h("div.page", {}, this.parts, this.outbox, this.login);
    this.load();
  }

  leave() {
    clearTimeout(this.timer);
    this.isLeft = true;
  }

  async load() {
    clearTimeout(this.timer);
    try {
      const health = await look();
      this.#show(health);
      if (health.chat_api.enabled) await this.#outbox();
      if (health.chat_api.enabled && !this.login.hasChildNodes()) this.#login(health.auth);
    } catch (fault) {
      if (fault.code === "unauthorized") emit("key-wanted");
      this.parts.replaceChildren(errorCard(fault, { again: () => this.load() }));
    }
    if (!this.isLeft) this.timer = setTimeout(() => (document.hidden ? null : this.load()), EVERY_MS);
  }

  #show({ ready, reasons, claude, processes, store, chat_api: chat, turns, features, version }) {
    const login = claude.logged_in === false ? [h("span", {}, "Not logged in. As the user who runs the server:"), command(`${claude.path ?? "claude"} /login`)] : [claude.logged_in ? `Logged in (${claude.auth_method ?? "method unknown"}).` : "Not known yet."];
    this.parts.replaceChildren(
      part("Questions", ready, ready ? "Would be answered now." : h("ul", {}, reasons.map((reason) => h("li", {}, reason)))),
      part("Claude CLI", claude.problem === null && claude.path !== null, claude.problem ?? (claude.path ? `${claude.version ?? "version unknown"} at ${claude.path}` : "Still being looked at."), claude.remote_control ? h("span.fault", {}, "Remote control is on: switch it off in the CLI.") : null),
      part("Login", claude.logged_in, ...login),
      part("Processes", true, `${processes.busy} busy, ${processes.idle} idle, ${processes.spare} spare, ${processes.starting} starting; ${processes.limit} at most. ${plural(turns, "turn")} at work.`),
      part("Store", store.ok, store.ok ? `${store.kind}${store.kind === "memory" ? ": all is gone when the server stops" : ": kept over restarts"}.` : `${store.kind} is unavailable; it is tried again by itself.`),
      part("Chat API", !chat.enabled || (chat.reachable !== false && !chat.wants_login && !chat.dead), chatSays(chat)),
      part("Approvals", true, APPROVALS[features.approvals]),
      part("Checkpoints", true, features.checkpoints ? "On: a rewind can restore files." : "Off: a rewind leaves files as they are (COWORK_CHECKPOINTS)."),
      part("Server", true, `Version ${version}.${features.demo ? " Its model is the demo's." : ""}`),
    );
  }

  async #outbox() {
    try {
      const { pending, oldest_age_s: oldest, dead, dead_letters: letters } = await client.outbox();
      const retry = button("Try the refused ones again", () => this.#retry(retry), "primary");
      const waits = pending ? `${plural(pending, "message")} wait${pending === 1 ? "s" : ""}, the longest for ${span((oldest ?? 0) * 1000)}.` : "Nothing waits.";
      const refused = dead ? ` ${plural(dead, "message")} of yours ${dead === 1 ? "was" : "were"} refused for good; once what is wrong is mended, they can be tried again in their old places.` : "";
      this.outbox.replaceChildren(h("h2", {}, "Outbox"), h("p.soft", {}, waits + refused), ...(letters.length ? [lettersTable(letters), h("div.row", {}, retry)] : []));
    } catch (fault) {
      const why = fault.code === "forbidden" ? "What waits and what was refused is told to callers with a key." : fault.message;
      this.outbox.replaceChildren(h("h2", {}, "Outbox"), h("p.soft", {}, why));
    }
  }

  async #retry(pressed) {
    pressed.disabled = true;
    try {
      const { retried } = await client.retryOutbox();
      toast(`${plural(retried, "message")} will be tried again`);
    } catch (fault) {
      toast(fault.message);
    }
    this.load();
  }

  #login(auth) {
    const until = auth.expires_at ? `, until ${new Date(auth.expires_at.replace(/(\.\d{3})\d*$/, "$1Z")).toLocaleString()}` : "";
    const said = h("p.soft", { role: "status" }, auth.authenticated ? `Logged in as ${auth.user_id ?? "an unknown user"}${until}.` : "Not logged in: messages wait until somebody is, or CHAT_API_TOKEN is set.");
    const start = button(auth.authenticated ? "Log in again" : "Log in", () => this.#begin(), auth.authenticated ? "plain" : "primary");
    const end = auth.authenticated ? button("Log out", () => client.call("POST", "/xo-auth/logout").then(() => this.#again(), (fault) => toast(fault.message))) : null;
    this.login.replaceChildren(h("h2", {}, "XO login"), said, h("div.row", {}, start, end ?? ""));
  }

  #again() {
    this.polling = null;
    this.login.replaceChildren();
    this.load();
  }

  /** Start the login, show where to go, and look until it is done, given up, or too late. */
  async #begin() {
    const polling = {};
    this.polling = polling;
    const isOver = () => this.isLeft || this.polling !== polling;
    try {
      const { authorize_url: url, auth_session_id: id, poll_token: token } = await client.call("POST", "/xo-auth/start", {});
      if (isOver()) return;
      this.#showWaiting(url);
      for (let poll = 0; poll < POLLS; poll += 1) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        if (isOver()) return;
        const { status } = await client.call("GET", `/xo-auth/status/${encodeURIComponent(id)}?poll_token=${encodeURIComponent(token)}`);
        if (isOver()) return;
        if (status !== "authorized") continue;
        await client.call("POST", "/xo-auth/consume", { auth_session_id: id, poll_token: token });
        toast("Logged in");
        this.#again();
        return;
      }
      this.#failed("It took longer than five minutes.");
    } catch (fault) {
      if (!isOver()) this.#failed(fault.code === "forbidden" ? "Your key may not log in: COWORK_LOGIN_KEYS names those that may." : fault.message);
    }
  }

  #showWaiting(url) {
    const link = /^https?:/i.test(url ?? "") ? h("a.button-link.is-primary", { href: url, target: "_blank", rel: "noopener noreferrer" }, "Open the login page") : h("span.fault", {}, "The server gave no address.");
    const waits = h("p.soft.now-line", { role: "status" }, h("span.state.running", { "aria-hidden": "true" }), "Waiting for the login there; this page notices by itself.");
    this.login.replaceChildren(h("h2", {}, "XO login"), waits, h("div.row", {}, link, button("Cancel", () => this.#again())));
    link.focus?.();
  }

  #failed(why) {
    this.polling = null;
    this.login.replaceChildren(h("h2", {}, "XO login"), h("p.fault", { role: "alert" }, why), h("div.row", {}, button("Begin again", () => this.#begin(), "primary"), button("Cancel", () => this.#again())));
  }
}

/** What the Chat API refused: whose, which text it was, and why. */
function lettersTable(letters) {
  const head = ["Project", "Message", "Why", "Refused"];
  const rows = letters.map((each) => h(
    "tr",
    {},
    h("td.name", {}, h("a", { href: `#/chat/${encodeURIComponent(each.project_id)}` }, each.project_id)),
    h("td", {}, `${each.id.endsWith("-question") ? "question" : "answer"}${each.status ? `, ${each.status}` : ""}`),
    h("td", {}, each.why),
    h("td.figure", { "data-label": "Refused", title: new Date(each.died_at).toLocaleString() }, ago(each.died_at)),
  ));
  return h("table.letters", {}, h("thead", {}, h("tr", {}, head.map((name, place) => h(`th${place === 3 ? ".figure" : ""}`, { scope: "col" }, name)))), h("tbody", {}, rows));
}

function part(name, isWell, ...says) {
  const state = isWell === null || isWell === undefined ? "unknown" : isWell ? "well" : "not well";
  const mark = icon(isWell ? "check" : "alert");
  mark.classList.add(isWell ? "good" : isWell === false ? "bad" : "unknown");
  return h("div.part", {}, mark, h("div.part-name", {}, name, h("span.sr", {}, ` is ${state}`)), h("div.part-says.soft", {}, says));
}

function chatSays(chat) {
  if (!chat.enabled) return "Switched off: history goes nowhere else.";
  if (chat.wants_login) return `${plural(chat.pending, "message")} wait for a login, below.`;
  if (chat.reachable === false) return `It does not answer. ${plural(chat.pending, "message")} wait and are tried again by themselves.`;
  return `${count(chat.pending)} wait, ${count(chat.dead)} were refused, ${count(chat.dropped)} were dropped.`;
}

export const health = () => new HealthView();
