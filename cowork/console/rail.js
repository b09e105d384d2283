// The projects, newest first, with what each is doing.

import { ago, emit, h, iconButton, money, on, plural } from "./dom.js";
import { client } from "./server.js";

const SOON_MS = 3000;
const LATER_MS = 10000;
// Nobody looks, but what waits is told by the tab's title.
const HIDDEN_MS = 15000;
const MARKS = { idle: "", running: "running", waiting: "waits for you", queued: "queued" };

// The page's title and its icon in the tab tell when something waits for a person.
let title = "";
let waits = 0;

function drawTitle() {
  const name = [title, "XO Cowork"].filter(Boolean).join(" · ");
  document.title = waits ? `● ${waits > 1 ? `${waits} ` : ""}${name}` : name;
  const icon = document.querySelector("link[rel=icon]");
  const wanted = waits ? "console/icon-waiting.svg" : "console/icon.svg";
  if (icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
}

/** What the page shows. */
export function setTitle(text) {
  title = text;
  drawTitle();
}

/** In how many projects something waits for a person. */
function setWaiting(count) {
  waits = count;
  drawTitle();
}

export class Rail {
  constructor(el) {
    this.el = el;
    this.sessions = [];
    this.chosen = null;
    this.own = new Map();
    this.filter = h("input", { type: "search", placeholder: "Filter projects", "aria-label": "Filter projects", autocomplete: "off", spellcheck: "false" });
    this.filter.addEventListener("input", () => this.draw());
    this.list = h("ul.projects", { "aria-label": "Projects" });
    this.views = h("ul.views", { "aria-label": "Views" }, ["sessions", "processes", "health"].map((name) => h("li", {}, h("a", { href: `#/${name}`, id: `view-${name}` }, name[0].toUpperCase() + name.slice(1)))));
    this.dot = h("span.state-dot");
    this.views.querySelector("#view-health").append(this.dot);
    el.replaceChildren(
      h("div.brand", {}, h("a", { href: "#/chat" }, "XO Cowork"), iconButton("cross", "Close the list", () => emit("rail", false), "quiet.close-rail")),
      h("div.rail-top", {}, this.filter, iconButton("plus", "New project", () => (location.hash = "#/new"), "plain")),
      this.list,
      this.views,
    );
    on("sessions", () => this.refresh());
    on("asked", () => this.draw());
    on("ended", () => this.refresh());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.refresh();
    });
  }

  /** What this page knows of a project before the server says so. */
  tell(project, state) {
    if (this.own.get(project)?.state === state?.state && this.own.get(project)?.queued === state?.queued) return;
    if (state) this.own.set(project, state);
    else this.own.delete(project);
    this.draw();
  }

  async refresh() {
    clearTimeout(this.timer);
    try {
      const { sessions } = await client.sessions({ limit: 200 });
      this.sessions = sessions;
      this.fault = null;
      emit("listed", sessions);
    } catch (fault) {
      this.fault = fault;
      if (fault.code === "unauthorized") emit("key-wanted");
    }
    this.draw();
    const busy = this.sessions.some((each) => each.state !== "idle");
    const pause = this.fault?.code === "unauthorized" ? LATER_MS * 6 : busy ? SOON_MS : LATER_MS;
    this.timer = setTimeout(() => this.refresh(), document.hidden ? Math.max(pause, HIDDEN_MS) : pause);
  }

  choose(project) {
    this.chosen = project;
    if (project !== null) setTitle(project);
    this.draw();
  }

  rows() {
    const wanted = this.filter.value.trim().toLowerCase();
    const known = new Set(this.sessions.map((each) => each.project_id));
    const fresh = [this.chosen, ...this.own.keys()].filter((name, place, names) => name !== null && !known.has(name) && names.indexOf(name) === place);
    const all = [...fresh.map((name) => ({ project_id: name, state: "idle", queued: 0 })), ...this.sessions];
    return wanted ? all.filter((each) => `${each.project_id} ${each.title ?? ""}`.toLowerCase().includes(wanted)) : all;
  }

  draw() {
    const rows = this.rows();
    const shape = JSON.stringify([rows.map((each) => [each.project_id, each.title, this.state(each), each.total_cost_usd, each.last_words, each.last_used_at && ago(each.last_used_at)]), this.chosen, this.fault?.code]);
    if (shape === this.drawn) return;
    this.drawn = shape;
    const at = this.list.contains(document.activeElement) ? document.activeElement.dataset.project : null;
    this.list.replaceChildren(...rows.map((each) => this.row(each)));
    if (!rows.length) this.list.append(h("li.empty-row", {}, this.fault ? "" : this.filter.value ? "No project is called so." : "No projects yet. Ask something to begin one."));
    if (at) [...this.list.querySelectorAll("a")].find((link) => link.dataset.project === at)?.focus();
    setWaiting([...this.sessions, ...rows.filter((each) => !each.session_id)].filter((each) => this.state(each).state === "waiting").length);
  }

  state(each) {
    const own = this.own.get(each.project_id);
    return own ?? { state: each.state, queued: each.queued };
  }

  row(each) {
    const { state, queued } = this.state(each);
    const isChosen = each.project_id === this.chosen;
    const word = [MARKS[state], queued ? `${queued} queued` : ""].filter(Boolean).join(", ");
    const words = word || each.last_words || (each.title ? each.project_id : each.last_used_at ? plural(each.turns, "turn") : "nothing asked yet");
    return h(
      "li",
      {},
      h(
        "a.project",
        { href: `#/chat/${encodeURIComponent(each.project_id)}`, "data-project": each.project_id, "aria-current": isChosen ? "page" : null, title: each.project_id },
        h(`span.state.${state}`, { "aria-hidden": "true" }, state === "waiting" ? "!" : ""),
        h("span.project-name", {}, each.title || each.project_id),
        h("span.project-age.num", {}, each.last_used_at ? ago(each.last_used_at) : ""),
        h(`span.project-words${word ? `.is-${state}` : ""}`, {}, words),
        h("span.project-cost.num", {}, money(each.total_cost_usd || null)),
      ),
    );
  }

  /** The links to projects, of which the keys move the focus. */
  get links() {
    return [...this.list.querySelectorAll("a")];
  }

  view(name) {
    for (const link of this.views.querySelectorAll("a")) link.toggleAttribute("aria-current", link.id === `view-${name}`);
  }

  health(isWell) {
    this.dot.className = `state-dot ${isWell ? "" : "is-bad"}`;
    this.dot.title = isWell ? "" : "Something is wrong";
  }
}
