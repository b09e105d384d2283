// Beside the conversation: what was changed, what is still to be done, which processes there are.

import { diffOf, diffStat, statView } from "./diff.js";
import { bytes, count, foldable, h, icon, iconButton, kept, on, plural } from "./dom.js";
import { doneOf, todoList } from "./frame.js";
import { client } from "./server.js";
import { shortPath, todosIn } from "./tools.js";

// From this width on it stands beside the conversation, below it lies over that.
const WIDE = matchMedia("(min-width: 1440px)");
const DRAW_MS = 400;
const PROCESSES_MS = 5000;

export class Side {
  constructor(el) {
    this.el = el;
    this.button = h("button.quiet.square.side-button", { type: "button", onclick: () => this.toggle(), "aria-controls": el.id }, icon("side"));
    this.parts = new Map([["changes", "Changes"], ["todos", "Todos"], ["processes", "Processes"]].map(([id, name]) => [id, section(id, name)]));
    el.append(h("div.side-head", {}, h("h2", {}, "This project"), iconButton("cross", "Close the side panel", () => this.toggle(false), "quiet")), ...[...this.parts.values()].map(({ el: part }) => part));
    on("conversation", (conversation) => this.#changed(conversation));
    WIDE.addEventListener("change", () => this.#place());
    this.isOpen = false;
    this.#place();
  }

  /** Where it stands beside the rest it stays as it was left; where it lies over it, it is shut. */
  #place() {
    this.#show(WIDE.matches && kept.get("side", true));
  }

  get isOverlay() {
    return this.isOpen && !WIDE.matches;
  }

  toggle(open = !this.isOpen) {
    if (WIDE.matches) kept.set("side", open);
    this.#show(open);
    if (open && !WIDE.matches) this.el.querySelector("button").focus();
    if (!open && this.isOverlaying) this.button.focus();
    this.isOverlaying = open && !WIDE.matches;
  }

  #show(open) {
    this.isOpen = Boolean(open);
    this.el.hidden = !open;
    document.body.classList.toggle("side-open", this.isOpen);
    const label = open ? "Close the side panel" : "Changes, todos and processes";
    this.button.setAttribute("aria-expanded", String(this.isOpen));
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
    if (open && this.conversation) this.#draw();
    if (open) this.#processes();
    else clearTimeout(this.timer);
  }

  #changed(conversation) {
    const isOther = conversation !== this.conversation;
    this.conversation = conversation;
    if (isOther) {
      this.shape = null;
      if (this.isOpen) this.#processes();
    }
    if (!this.isOpen) return;
    this.drawing ??= setTimeout(() => this.#draw(), isOther ? 0 : DRAW_MS);
  }

  #draw() {
    clearTimeout(this.drawing);
    this.drawing = null;
    const files = changesOf(this.conversation);
    const todos = this.conversation.turns.findLast((turn) => todosOf(turn)?.length);
    const items = todos ? todosOf(todos) : [];
    const shape = JSON.stringify([[...files].map(([path, { added, removed, edits }]) => [path, added, removed, edits.length]), items, todos?.isLive]);
    if (shape === this.shape) return;
    this.shape = shape;
    this.#drawChanges(files);
    this.#drawTodos(items, Boolean(todos?.isLive));
  }

  #drawChanges(files) {
    const { body, told } = this.parts.get("changes");
    const sum = [...files.values()].reduce((all, { added, removed }) => ({ added: all.added + added, removed: all.removed + removed }), { added: 0, removed: 0 });
    told.replaceChildren(...(files.size ? [h("span.num", {}, count(files.size)), statView(sum)] : []));
    if (!files.size) {
      body.replaceChildren(h("p.faint", {}, "No file was edited yet. What commands change is not seen here."));
      return;
    }
    body.replaceChildren(h("ul.side-files", {}, [...files].map(([path, file]) => this.#file(path, file))));
  }

  #file(path, { added, removed, edits, isNew }) {
    const cut = path.lastIndexOf("/");
    const body = h("div.side-diff");
    const head = h("button.side-file", { type: "button", title: path }, h("span.side-name", {}, h("span", {}, path.slice(cut + 1)), h("span.faint.side-folder", {}, shortPath(path.slice(0, Math.max(cut, 0))))), isNew ? h("span.badge", {}, "written") : null, statView({ added, removed }), icon("fold"));
    foldable(`changes:${this.conversation.project}:${path}`, head, body, () => body.replaceChildren(...edits.map((each) => diffOf(path, each.before, each.after))));
    return h("li", {}, head, body);
  }

  #drawTodos(items, isLive) {
    const { body, told } = this.parts.get("todos");
    told.replaceChildren(...(items.length ? [h("span.num", {}, doneOf(items))] : []));
    if (!items.length) {
      body.replaceChildren(h("p.faint", {}, "No list was made in this conversation."));
      return;
    }
    body.replaceChildren(...(isLive ? [] : [h("p.faint.small-text", {}, "As the last answer left it.")]), todoList(items));
  }

  async #processes() {
    clearTimeout(this.timer);
    const { body, told } = this.parts.get("processes");
    const { project } = this.conversation ?? {};
    try {
      const { processes } = document.hidden && body.hasChildNodes() ? { processes: this.known } : await client.processes();
      this.known = processes;
      const mine = processes.filter((each) => each.project === project);
      const others = processes.filter((each) => each.project !== null && each.project !== project);
      const spares = processes.length - mine.length - others.length;
      told.replaceChildren(...(processes.length ? [h("span.num", {}, count(processes.length))] : []));
      const rest = [others.length ? `${count(others.length)} of other projects` : null, spares ? plural(spares, "spare") : null].filter(Boolean);
      body.replaceChildren(
        mine.length ? h("ul.side-processes", {}, mine.map((each) => h("li", {}, h(`span${each.state === "busy" ? ".is-running" : ""}`, {}, each.state), h("span.num.faint", {}, `pid ${each.pid}`), h("span.num", {}, plural(each.turns, "turn")), h("span.num", {}, bytes(each.memory_bytes) || "?")))) : h("p.faint", {}, "None runs for this project; its next question starts one."),
        h("p.faint.small-text", {}, rest.length ? `Besides ${rest.join(" and ")}. ` : "", h("a", { href: "#/processes" }, "All processes")),
      );
    } catch (fault) {
      body.replaceChildren(h("p.fault", {}, fault.message));
    }
    if (this.isOpen) this.timer = setTimeout(() => this.#processes(), PROCESSES_MS);
  }
}

function section(id, name) {
  const told = h("span.side-told.soft");
  const body = h("div.side-body");
  const el = h("details.side-part", { open: true, id: `side-${id}` }, h("summary", {}, icon("fold"), h("span.side-title", {}, name), told), body);
  return { el, told, body };
}

/** What the edit tools of these turns did, by file, in the order of its last change. */
function changesOf({ turns }) {
  const files = new Map();
  for (const line of turns.flatMap((turn) => [...turn.tools.values()])) {
    const { path, edits } = line.told;
    if (!edits || !path || line.state !== "done") continue;
    const { added, removed } = statOf(line);
    const before = files.get(path) ?? { added: 0, removed: 0, edits: [], isNew: false };
    files.delete(path);
    files.set(path, { added: before.added + added, removed: before.removed + removed, edits: [...before.edits, ...edits], isNew: before.isNew || line.name === "Write" });
  }
  return new Map([...files].reverse());
}

const stats = new WeakMap();
function statOf(line) {
  if (!stats.has(line)) stats.set(line, diffStat(line.told.edits));
  return stats.get(line);
}

/** The list of a turn as its events tell it, or as its last call of the list's tool does. */
function todosOf(turn) {
  if (turn.todos) return turn.todos;
  const call = [...turn.tools.values()].findLast((line) => line.name === "TodoWrite");
  return call && todosIn(call.input);
}
