// A tool call as one line: what it is called, what it does, how it went; open, all of it.

import { diffOf, diffStat, statView } from "./diff.js";
import { cut, foldable, foldOf, h, icon, plural, span, visible } from "./dom.js";

// What only looks: several in a row are one line.
const QUIET = { Read: "file", Grep: "search", Glob: "search", LS: "list", NotebookRead: "file", TaskGet: "task", TaskList: "list" };
const NOUNS = { file: ["Read", "file"], search: ["", "search"], list: ["Listed", "folder"], task: ["Looked at", "task"] };
const EDITS = new Set(["Edit", "MultiEdit", "Write", "NotebookEdit"]);
// What a command or a diff shows of an input, or what changes nothing; all else stands below it.
const TOLD = { Bash: ["command", "description"], Edit: ["file_path", "old_string", "new_string"], Write: ["file_path", "content"], NotebookEdit: ["notebook_path", "new_source"], MultiEdit: ["file_path"] };
const TODO_STATES = new Set(["pending", "in_progress", "completed"]);
const SHOWN_LINES = 20;
const FAILED_LINES = 6;

/** What a call does, in a line; what there is to see of it, as `diff`, `command` or `input`. */
export function described(name, input = {}) {
  const path = asText(name === "NotebookEdit" ? input.notebook_path : input.file_path);
  if (name === "Bash") return { name: "Run", does: asText(input.command), command: asText(input.command) };
  if (EDITS.has(name)) return { name: name === "Write" ? "Write" : "Edit", does: shortPath(path), path, edits: editsOf(name, input) };
  if (name === "Read") return { name, does: shortPath(path) };
  if (name === "Grep" || name === "Glob") return { name: name === "Grep" ? "Search" : "Find", does: [input.pattern, shortPath(input.path)].filter(Boolean).join("  in ") };
  if (name === "WebFetch") return { name: "Fetch", does: input.url };
  if (name === "WebSearch") return { name: "Search the web", does: input.query };
  if (name === "Task" || name === "Agent") return { name: "Sub-agent", does: input.description ?? input.prompt };
  if (name === "TodoWrite") return { name: "List", does: todosTold(todosIn(input)) };
  if (name === "EnterPlanMode") return { name: "Begin to plan", does: "" };
  if (name === "AskUserQuestion") return { name: "Question to you", does: input.questions?.[0]?.question ?? "" };
  if (name === "ExitPlanMode") return { name: "Plan for you", does: "" };
  const mcp = /^mcp__(.+?)__(.+)$/.exec(name);
  const first = Object.values(input).find((value) => typeof value === "string");
  return { name: mcp ? `${mcp[2]} (${mcp[1]})` : name, does: first ?? "" };
}

/** A list as a call has it; a state is a class name of the page, so that it is one of three. */
export function todosIn({ todos }) {
  const items = Array.isArray(todos) ? todos.filter((each) => each && typeof each === "object") : [];
  return items.map(({ content, status }) => ({ text: asText(content), state: TODO_STATES.has(status) ? status : "pending" }));
}

function todosTold(items) {
  const done = items.filter(({ state }) => state === "completed").length;
  const now = items.find(({ state }) => state === "in_progress");
  return [`${done} of ${items.length}`, now?.text].filter(Boolean).join(" · ");
}

/** A model may hand a tool anything; the CLI refuses it later than it tells of it. */
function asText(value) {
  return typeof value === "string" ? value : value === undefined || value === null ? "" : JSON.stringify(value);
}

export function shortPath(path) {
  if (!path) return "";
  const parts = String(path).split("/");
  return parts.length > 4 ? `…/${parts.slice(-3).join("/")}` : path;
}

function editsOf(name, input) {
  if (name === "Write") return [{ before: "", after: asText(input.content) }];
  if (name === "NotebookEdit") return [{ before: "", after: asText(input.new_source) }];
  const edits = name === "MultiEdit" && Array.isArray(input.edits) ? input.edits : [input];
  return edits.map((each) => ({ before: asText(each?.old_string), after: asText(each?.new_string) }));
}

/** What a call would do or did, its command, its diff or its input; all of it, where `most` lines are. */
export function inputView(name, input, most = SHOWN_LINES) {
  const told = described(name, input);
  const shows = told.command !== undefined ? panel("Command", told.command, "command", most) : told.edits?.map((each) => diffOf(told.path, each.before, each.after));
  if (!shows) return panel("Input", JSON.stringify(input, null, 2), "input", most);
  const others = Object.entries(input).filter(([field]) => !TOLD[name].includes(field));
  return h("div.edits", {}, shows, others.length ? panel("Further input", others.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join("\n"), "input", most) : null);
}

function panel(label, text, kind, most) {
  return h(`div.panel.${kind}`, {}, linesView(label, visible(text), most));
}

/** Text of any length: its first lines, and a button for all of them. */
function linesView(label, text, most = SHOWN_LINES, fromEnd = false) {
  const lines = String(text).replace(/\n$/, "").split("\n");
  const some = fromEnd ? lines.slice(-most) : lines.slice(0, most);
  const shown = h("pre", { tabIndex: 0, role: "group", "aria-label": label }, some.join("\n"));
  if (lines.length <= most) return shown;
  const all = h("button.quiet.small", { type: "button" }, `All ${plural(lines.length, "line")}`);
  all.addEventListener("click", () => {
    shown.textContent = lines.join("\n");
    all.remove();
  });
  return fromEnd ? h("div", {}, all, shown) : h("div", {}, shown, all);
}

// What the CLI puts around a sub-agent's answer.
const OF_AGENTS = /<usage>[^]*?<\/usage>|<tools-used-before-summary>[^]*?<\/tools-used-before-summary>|^agentId: .*$|^\[Subagent hand-back\][^\n]*$/gm;
const EXIT = /^(?:Error: )?Exit code (\d+)\n?/;

export class ToolLine {
  constructor({ id, name, input, parent_id: parent }) {
    this.id = id;
    this.name = name;
    this.input = input ?? {};
    this.parent = parent;
    this.state = "running";
    this.begun = performance.now();
    this.told = described(name, this.input);
    this.mark = h("span.mark", { "aria-hidden": "true" });
    this.side = h("span.side.num");
    this.word = h("span.sr", {}, "running");
    this.head = h(
      "button.tool-head",
      { type: "button" },
      this.mark,
      h("span.tool-name", {}, this.told.name),
      h("span.tool-does", { title: cut(this.told.does, 500) }, cut(this.told.does, 300)),
      this.word,
      this.side,
      icon("fold"),
    );
    this.body = h("div.tool-body");
    this.nested = h("div.nested");
    this.tail = h("div.tool-body");
    // What a sub-agent does is folded in its line, as the line's own input and result are.
    this.folded = this.isAgent ? h("div", {}, this.body, this.nested, this.tail) : this.body;
    this.show = foldable(id, this.head, this.folded, () => this.#fill());
    this.el = h("div.tool.running", {}, this.head, this.folded, this.isAgent ? null : this.nested);
    this.stat = this.told.edits && statView(diffStat(this.told.edits));
    this.#sides();
  }

  get isAgent() {
    return this.name === "Task" || this.name === "Agent";
  }

  get isQuiet() {
    return Object.hasOwn(QUIET, this.name) && this.state === "done" && !this.nested.hasChildNodes();
  }

  /** The seconds that it has taken so far; called each second while it runs. */
  tick() {
    const ms = performance.now() - this.begun;
    if (this.state === "running" && ms > 1000) this.#sides(null, Math.floor(ms / 1000) * 1000);
  }

  result({ content, is_error: isError, duration_ms: ms, truncated }) {
    const text = typeof content === "string" ? content : JSON.stringify(content, null, 2);
    // The words that a person sent with a no are the result then.
    const denied = isError && (this.wasDenied || this.name === "ExitPlanMode" || /(permission|denied|rejected|doesn't want to proceed)/i.test(text.slice(0, 300)) && !EXIT.test(text));
    const code = EXIT.exec(text)?.[1];
    this.output = text.replace(EXIT, "").replace(/<\/?tool_use_error>/g, "");
    this.truncated = truncated;
    this.#become(isError ? (denied ? "denied" : "failed") : "done");
    this.word.textContent = isError ? "" : "done";
    const fault = isError ? h("span.fault", {}, denied ? "not allowed" : code ? `failed, exit ${code}` : "failed") : null;
    this.#sides(fault, ms);
    // Whoever opened or closed it knows better.
    if (isError && !denied && foldOf(this.id) === null) this.#openEnd();
    else if (!this.folded.hidden) this.#fill();
  }

  /** Its turn ended without a result for it. */
  abandon() {
    if (this.state !== "running") return;
    this.#become("denied");
    this.word.textContent = "stopped";
    this.side.replaceChildren("stopped");
  }

  /** How many tools ran in it. */
  #inside() {
    const count = this.nested.querySelectorAll(".tool:not(.gathered)").length;
    return count ? plural(count, "tool") : "";
  }

  #become(state) {
    this.el.classList.replace(this.state, state);
    this.state = state;
    this.mark.replaceChildren(...(state === "done" ? [] : state === "failed" || state === "denied" ? [icon("cross")] : []));
  }

  #sides(fault = null, ms = null) {
    const inside = this.#inside();
    const parts = [fault, this.stat, inside && h("span", {}, inside), ms === null || ms === undefined ? null : h("span", {}, span(ms))];
    this.side.replaceChildren(...parts.filter(Boolean));
  }

  #openEnd() {
    const shown = this.output.trim() ? linesView("Output", this.output, FAILED_LINES, true) : h("p.faint", {}, "It printed nothing.");
    this.show(true);
    (this.isAgent ? this.tail : this.body).replaceChildren(h("div.panel.output.bad-panel", {}, shown));
  }

  #fill() {
    if (this.isAgent) {
      this.body.replaceChildren(panel("Asked", this.input.prompt ?? JSON.stringify(this.input, null, 2), "input"));
      const said = (this.output ?? "").replace(OF_AGENTS, "").trim();
      this.tail.replaceChildren(...(said ? [h("div.panel.output", {}, linesView("Output", said))] : []));
      return;
    }
    const seen = [inputView(this.name, this.input)];
    if (this.output?.trim()) seen.push(h("div.panel.output", {}, linesView("Output", this.output)));
    else if (this.state === "done") seen.push(h("p.faint.small-text", {}, "It printed nothing."));
    if (this.truncated) seen.push(h("p.faint.small-text", {}, "Cut at 64 KiB."));
    this.body.replaceChildren(...seen);
  }
}

/** Consecutive quiet calls as one line that opens to them. */
class Gathered {
  constructor(first) {
    this.lines = [];
    this.label = h("span.tool-name");
    this.names = h("span.tool-does");
    this.head = h("button.tool-head", { type: "button" }, h("span.mark", { "aria-hidden": "true" }), this.label, this.names, icon("fold"));
    this.body = h("div.nested");
    foldable(`${first.id}:gathered`, this.head, this.body);
    this.el = h("div.tool.done.gathered", {}, this.head, this.body);
    first.el.replaceWith(this.el);
    this.add(first);
  }

  add(line) {
    this.lines.push(line);
    this.body.append(line.el);
    const kinds = Map.groupBy(this.lines, (each) => QUIET[each.name]);
    const said = [...kinds].map(([kind, found]) => `${NOUNS[kind][0]} ${plural(found.length, NOUNS[kind][1]).replace("searchs", "searches")}`.trim());
    this.label.textContent = said.join(", ");
    this.names.textContent = cut(this.lines.map((each) => each.told.does).join(", "), 300);
  }
}

/** Put a quiet call that has its result into one line with the quiet one before it. */
export function gather(line, tools) {
  const before = line.isQuiet && line.el.parentNode && line.el.previousElementSibling;
  const earlier = before && [...tools.values()].find((each) => each.gathered?.el === before || each.el === before);
  if (!earlier?.isQuiet) return;
  earlier.gathered ??= new Gathered(earlier);
  line.gathered = earlier.gathered;
  line.gathered.add(line);
}
