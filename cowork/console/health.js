// Each part of the server with what is wrong with it and what helps; the outbox, the XO login.

import { ago, button, count, emit, h, icon, plural, toast } from "./dom.js";
import { command, errorCard } from "./errors.js";
import { client } from "./server.js";

const EVERY_MS = 10000;
const POLL_MS = 2000;
const POLLS = 150;

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
      const health = await client.health();
      this.#show(health);
      if (health.chat_api.enabled) await this.#outbox();
      if (health.chat_api.enabled && !this.login.hasChildNodes()) this.#login(health.auth);
    } catch (fault) {
      if (fault.code === "unauthorized") emit("key-wanted");
      this.parts.replaceChildren(errorCard(fault, { again: () => this.load() }));
    }
    if (!this.isLeft) this.timer = setTimeout(() => (document.hidden ? null : this.load()), EVERY_MS);
  }

  #show({ ready, reasons, claude, processes, store, chat_api: chat, turns, version }) {
    const login = claude.logged_in === false ? [h("span", {}, "Not logged in. As the user who runs the server:"), command(`${claude.path ?? "claude"} /login`)] : [claude.logged_in ? `Logged in (${claude.auth_method ?? "method unknown"}).` : "Not known yet."];
    this.parts.replaceChildren(
      part("Questions", ready, ready ? "Would be answered now." : h("ul", {}, reasons.map((reason) => h("li", {}, reason)))),
      part("Claude CLI", claude.problem === null && claude.path !== null, claude.problem ?? (claude.path ? `${claude.version ?? "version unknown"} at ${claude.path}` : "Still being looked at."), claude.remote_control ? h("span.fault", {}, "Remote control is on: switch it off in the CLI.") : null),
      part("Login", claude.logged_in, ...login),
      part("Processes", true, `${processes.busy} busy, ${processes.idle} idle, ${processes.spare} spare, ${processes.starting} starting; ${processes.limit} at most. ${plural(turns, "turn")} at work.`),
      part("Store", store.ok, store.ok ? `${store.kind}${store.kind === "memory" ? ": all is gone when the server stops" : ": kept over restarts"}.` : `${store.kind} is unavailable; it is tried again by itself.`),
      part("Chat API", !chat.enabled || (chat.reachable !== false && !chat.wants_login && !chat.dead), chatSays(chat)),
      part("Server", true, `Version ${version}.`),
    );
  }

  async #outbox() {
    try {
      const { pending, dead, dead_letters: letters } = await client.outbox();
      const retry = button("Try the refused ones again", async () => {
        const { retried } = await client.retryOutbox();
        toast(`${plural(retried, "message")} will be tried again`);
        this.load();
      });
      const list = h("table", {}, h("tbody", {}, letters.map((each) => h("tr", {}, h("td.name", {}, each.project_id), h("td", {}, each.why), h("td.figure", {}, ago(each.died_at))))));
      this.outbox.replaceChildren(h("h2", {}, "Outbox"), h("p.soft", {}, `${count(pending)} wait, ${count(dead)} were refused.`), dead ? retry : "", letters.length ? list : "");
    } catch (fault) {
      this.outbox.replaceChildren(h("h2", {}, "Outbox"), h("p.soft", {}, fault.message));
    }
  }

  #login(auth) {
    const said = h("p.soft", { role: "status" }, auth.authenticated ? `Logged in as ${auth.user_id ?? "an unknown user"}.` : "Not logged in.");
    const start = button(auth.authenticated ? "Log in again" : "Log in", () => this.#begin(said), "primary");
    const end = auth.authenticated ? button("Log out", () => client.call("POST", "/xo-auth/logout").then(() => this.#again(), (fault) => toast(fault.message))) : null;
    this.login.replaceChildren(h("h2", {}, "XO login"), said, h("div.row", {}, start, end ?? ""));
  }

  #again() {
    this.login.replaceChildren();
    this.load();
  }

  /** Start the login, show where to go, and look until it is done. */
  async #begin(said) {
    try {
      const { authorize_url: url, auth_session_id: id, poll_token: token } = await client.call("POST", "/xo-auth/start", {});
      const safe = /^https?:/i.test(url ?? "") ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, "Open the login page") : "The server gave no address.";
      said.replaceChildren(safe, ", then come back; this page notices by itself.");
      for (let poll = 0; poll < POLLS && !this.isLeft; poll += 1) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        const { status } = await client.call("GET", `/xo-auth/status/${encodeURIComponent(id)}?poll_token=${encodeURIComponent(token)}`);
        if (status !== "authorized") continue;
        await client.call("POST", "/xo-auth/consume", { auth_session_id: id, poll_token: token });
        toast("Logged in");
        this.#again();
        return;
      }
      said.textContent = "It took too long; begin again.";
    } catch (fault) {
      said.replaceChildren(h("span.fault", {}, fault.message));
    }
  }
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

export const open = () => new HealthView();
