// The views that are tables: all sessions, and the CLI processes with how the last quarter of an hour went.

import { ago, bytes, button, count, drawing, emit, h, iconButton, money, on, plural, span, toast } from "./dom.js";
import { errorCard } from "./errors.js";
import { ask, openMenu } from "./menu.js";
import { WINDOW_MS, note, seen } from "./seen.js";
import { client } from "./server.js";

const PAGE = 100;
const EVERY_MS = 3000;

/** A table of `rows` whose columns are figures from the place `first` on, but for the last, which has actions. */
function table(head, first, rows) {
  return h("table", {}, h("thead", {}, h("tr", {}, head.map((name, place) => h(`th${name && place >= first ? ".figure" : ""}`, { scope: "col" }, name || h("span.sr", {}, "Actions"))))), rows);
}

/** What each took, and what can be done with it. */
class SessionsView {
  constructor() {
    this.rows = h("tbody");
    this.more = h("div");
    this.place = h("div");
    const head = ["Project", "State", "Turns", "Tokens", "Cost", "Memory", "Last used", ""];
    this.table = table(head, 2, this.rows);
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

class ProcessesView {
  constructor() {
    this.rows = h("tbody");
    this.place = h("div");
    this.tiles = h("div.tiles");
    this.now = h("p.soft");
    const head = ["Process", "Project", "State", "Age", "Turns", "Memory", ""];
    this.table = table(head, 3, this.rows);
    this.el = h("div.page", {}, h("section", {}, h("h2", {}, "The last quarter of an hour"), this.tiles), h("section", {}, h("h2", {}, "CLI processes"), this.now, this.place, this.table));
    this.load();
  }

  leave() {
    clearTimeout(this.timer);
    this.isLeft = true;
  }

  async load() {
    clearTimeout(this.timer);
    try {
      const [{ processes }, health, usage] = await Promise.all([client.processes(), client.health(), client.usage({ by: "day" })]);
      this.place.replaceChildren();
      this.#show(processes, health, usage);
    } catch (fault) {
      if (fault.code === "unauthorized") emit("key-wanted");
      this.place.replaceChildren(errorCard(fault, { again: () => this.load() }));
    }
    if (!this.isLeft) this.timer = setTimeout(() => (document.hidden ? null : this.load()), EVERY_MS);
  }

  #show(processes, health, usage) {
    const { busy, idle, spare, starting, limit } = health.processes;
    note("queue", Math.max(0, health.turns - busy));
    note("cost", usage.total.cost_usd);
    const costs = seen.cost;
    const spent = costs.at(-1)[1] - costs[0][1];
    const hours = Math.max((costs.at(-1)[0] - costs[0][0]) / 3600000, 1 / 60);
    this.tiles.replaceChildren(
      tile("First word, p50 and p95", quantile("first", 0.5, span), seen.first.length ? quantile("first", 0.95, span) : "", seen.first),
      tile("Tokens a second", quantile("speed", 0.5, (value) => count(Math.round(value))), "", seen.speed),
      tile("Turns that wait", count(seen.queue.at(-1)[1]), "", seen.queue),
      tile("Cost an hour", costs.length > 1 ? money(spent / hours) || "$0" : "–", `${money(usage.total.cost_usd) || "$0"} in 30 days`, costs.map(([at, value]) => [at, value - costs[0][1]])),
    );
    this.now.textContent = `${plural(busy, "busy process").replace("processs", "processes")}, ${idle} idle, ${spare} spare, ${starting} starting; ${limit} at most. Figures of turns are those that this page saw.`;
    const most = Math.max(1, ...processes.map((each) => each.memory_bytes ?? 0));
    this.rows.replaceChildren(...processes.map((each) => this.#row(each, most)));
    this.table.hidden = !processes.length;
    if (!processes.length) this.place.replaceChildren(h("p.soft", {}, "No process runs. The next question starts one."));
  }

  #row(each, most) {
    const fill = h("span");
    fill.style.transform = `scaleX(${(each.memory_bytes ?? 0) / most})`;
    const project = each.project === null ? h("span.soft", {}, each.unnamed ? "without a name" : "nobody's yet") : h("a", { href: `#/chat/${encodeURIComponent(each.project)}` }, each.project);
    const end = each.state === "idle" || each.state === "spare" ? button("End", () => this.#end(each), "quiet.small") : null;
    return h(
      "tr",
      {},
      h("td.num", {}, String(each.pid)),
      h("td.name", {}, project),
      h("td", {}, h(`span${each.state === "busy" ? ".is-running" : ".soft"}`, {}, each.state)),
      h("td.figure", { "data-label": "Age" }, span(each.age_seconds * 1000)),
      h("td.figure", { "data-label": "Turns" }, count(each.turns)),
      h("td.figure", { "data-label": "Memory" }, h("span.bar", { "aria-hidden": "true" }, fill), bytes(each.memory_bytes) || "?"),
      h("td.acts", {}, h("div.row", {}, end)),
    );
  }

  async #end(each) {
    try {
      await client.endProcess(each.id);
      toast(each.project || each.unnamed ? "Ended; the next question resumes the session" : "Ended");
    } catch (fault) {
      toast(fault.message);
    }
    this.load();
  }
}

function quantile(name, share, shown) {
  const values = seen[name].map(([, value]) => value).sort((a, b) => a - b);
  return values.length ? shown(values[Math.min(values.length - 1, Math.floor(values.length * share))]) : "–";
}

function tile(label, value, further, points) {
  const most = Math.max(...points.map(([, each]) => each), 1e-9);
  const begin = Date.now() - WINDOW_MS;
  const d = points.map(([at, each], place) => `${place ? "L" : "M"}${((at - begin) / WINDOW_MS) * 100} ${29 - (each / most) * 28}`).join("");
  const drawn = drawing("spark", "0 0 100 30", ["path", { d }]);
  drawn.setAttribute("preserveAspectRatio", "none");
  return h("div.tile", {}, h("div.soft.small-text", {}, label), h("div.value.num", {}, value, further ? h("span.soft.small-text", {}, ` ${further}`) : null), drawn);
}

export const sessions = () => new SessionsView();
export const processes = () => new ProcessesView();
