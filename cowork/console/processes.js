// The CLI processes, what they take, and how the last quarter of an hour went.

import { bytes, button, count, emit, h, money, plural, span, toast } from "./dom.js";
import { errorCard } from "./errors.js";
import { WINDOW_MS, note, seen } from "./seen.js";
import { client } from "./server.js";

const EVERY_MS = 3000;
const SVG = "http://www.w3.org/2000/svg";
class ProcessesView {
  constructor() {
    this.rows = h("tbody");
    this.place = h("div");
    this.tiles = h("div.tiles");
    this.now = h("p.soft");
    const head = ["Process", "Project", "State", "Age", "Turns", "Memory", ""];
    this.table = h("table", {}, h("thead", {}, h("tr", {}, head.map((name, place) => h(`th${place > 2 && place < 6 ? ".figure" : ""}`, { scope: "col" }, name || h("span.sr", {}, "Actions"))))), this.rows);
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
    const project = each.project === null ? h("span.soft", {}, "nobody's yet") : h("a", { href: `#/chat/${encodeURIComponent(each.project)}` }, each.project);
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
      toast(each.project ? "Ended; the next question resumes the session" : "Ended");
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
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("class", "spark");
  drawn.setAttribute("viewBox", "0 0 100 30");
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  const most = Math.max(...points.map(([, each]) => each), 1e-9);
  const begin = Date.now() - WINDOW_MS;
  path.setAttribute("d", points.map(([at, each], place) => `${place ? "L" : "M"}${((at - begin) / WINDOW_MS) * 100} ${29 - (each / most) * 28}`).join(""));
  drawn.append(path);
  return h("div.tile", {}, h("div.soft.small-text", {}, label), h("div.value.num", {}, value, further ? h("span.soft.small-text", {}, ` ${further}`) : null), drawn);
}

export const open = () => new ProcessesView();
