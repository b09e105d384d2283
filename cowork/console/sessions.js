// All sessions as a table: what they took, and what can be done with each.

import { ago, bytes, button, count, emit, h, iconButton, money, on, toast } from "./dom.js";
import { errorCard } from "./errors.js";
import { ask, openMenu } from "./menu.js";
import { client } from "./server.js";

const PAGE = 100;

class SessionsView {
  constructor() {
    this.rows = h("tbody");
    this.more = h("div");
    this.place = h("div");
    const head = ["Project", "State", "Turns", "Tokens", "Cost", "Memory", "Last used", ""];
    this.table = h("table", {}, h("thead", {}, h("tr", {}, head.map((name, place) => h(`th${place > 1 && place < 7 ? ".figure" : ""}`, { scope: "col" }, name || h("span.sr", {}, "Actions"))))), this.rows);
    this.el = h("div.page", {}, this.place, this.table, this.more);
    on("deleted", () => this.load());
    this.load();
  }

  async load(cursor) {
    try {
      const { sessions, next } = await client.sessions({ limit: PAGE, cursor });
      this.place.replaceChildren();
      if (!cursor) this.rows.replaceChildren();
      this.rows.append(...sessions.map((each) => this.row(each)));
      this.more.replaceChildren(...(next ? [button("Show more", () => this.load(next))] : []));
      this.table.hidden = !this.rows.childElementCount;
      if (this.table.hidden) this.place.replaceChildren(h("div.empty", {}, h("h2", {}, "No sessions yet"), h("p.soft", {}, "A project's session begins with its first question."), h("div.row", {}, button("New project", () => (location.hash = "#/new"), "primary"))));
    } catch (fault) {
      if (fault.code === "unauthorized") emit("key-wanted");
      this.place.replaceChildren(errorCard(fault, { again: () => this.load() }));
    }
  }

  row(each) {
    const { project_id: name, usage = {} } = each;
    const tokens = Object.values(usage).reduce((sum, number) => sum + (number ?? 0), 0);
    const more = iconButton("more", `More about ${name}`, () => openMenu(more, [
      ["Open", () => (location.hash = `#/chat/${encodeURIComponent(name)}`)],
      ["Warm: start its process now", () => this.#do(() => client.warm(name), "Its process is ready")],
      ["Rename…", () => this.#rename(each)],
      ["Fork…", () => this.#fork(name)],
      ["Delete…", () => emit("delete-session", name)],
    ]));
    const state = each.state === "waiting" ? "waits for you" : each.state;
    return h(
      "tr",
      {},
      h("td.name", {}, h("a", { href: `#/chat/${encodeURIComponent(name)}`, title: name }, each.title || name)),
      h("td", {}, h(`span${each.state === "idle" ? ".soft" : `.is-${each.state}`}`, {}, state + (each.queued ? `, ${each.queued} queued` : ""))),
      h("td.figure", { "data-label": "Turns" }, count(each.turns)),
      h("td.figure", { "data-label": "Tokens" }, count(tokens)),
      h("td.figure", { "data-label": "Cost" }, money(each.total_cost_usd)),
      h("td.figure", { "data-label": "Memory" }, each.process ? bytes(each.process.memory_bytes) || "?" : "–"),
      h("td.figure", { "data-label": "Last used", title: new Date(each.last_used_at).toLocaleString() }, ago(each.last_used_at)),
      h("td.acts", {}, h("div.row", {}, more)),
    );
  }

  async #do(act, said) {
    try {
      await act();
      toast(said);
      await this.load();
      emit("sessions");
    } catch (fault) {
      toast(fault.message);
    }
  }

  async #rename(each) {
    const given = await ask("Rename", { text: "The title is shown; the project keeps its name.", fields: [["title", "Title", each.title ?? ""]], yes: "Rename" });
    if (given) await this.#do(() => client.rename(each.project_id, given.title || null), "Renamed");
  }

  async #fork(name) {
    const given = await ask("Fork", { text: "A new project begins with all that was said in this one.", fields: [["to", "Name of the new project", `${name}-2`]], yes: "Fork" });
    if (given?.to) await this.#do(() => client.fork(name, { to: given.to }), `${given.to} was begun`);
  }
}

export const open = () => new SessionsView();
