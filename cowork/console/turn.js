// One question and its answer: frames come in, live or again, or what history holds; blocks come out.

import { announce, copy, cut, h, icon, iconButton, money, plural, count, span } from "./dom.js";
import { errorCard } from "./errors.js";
import { GrowingMarkdown, markdown } from "./markdown.js";
import { openMenu } from "./menu.js";
import { Gathered, ToolLine } from "./tools.js";

const DEEPEST = 3;
const LONG_QUESTION = 1500;
const LONG_QUESTION_LINES = 14;
const SPEAK_MS = 2500;
// Of a fast answer a screen reader is told the last of what was written.
const SPOKEN = 400;
const ENDED = new Set(["succeeded", "failed", "interrupted"]);
const RECORDS = { allow: "Allowed", deny: "Denied", answer: "Answered", expired: "Not answered in time", cancelled: "Taken back" };

function runningWord({ told }) {
  return told.name === "Run" ? `running ${cut(told.does, 60)}` : `${told.name.toLowerCase()} ${cut(told.does, 50)}`;
}

export class TurnView {
  /** `host` is the conversation: `again`, `fork`, `rewind`, `changed`. */
  constructor(host, { id = null, question = "", attachments = [], at = null }) {
    this.host = host;
    this.id = id;
    this.state = "sending";
    this.asked = performance.now();
    this.facts = {};
    this.waiting = new Map();
    this.said = h("div.question-text", {}, question);
    this.files = h("div.chips");
    this.whole = h("button.quiet.small", { type: "button", hidden: true, onclick: () => this.#showQuestion() }, "Show all of it");
    this.question = h("div.question", { title: at ? new Date(at).toLocaleString() : null }, this.said, this.whole, this.files);
    this.blocks = h("div.blocks");
    this.end = h("div.turn-end");
    this.foot = h("div.foot", { hidden: true });
    this.el = h("article.turn", { "aria-label": `Question: ${cut(question, 80)}` }, this.question, this.blocks, this.end, this.foot);
    this.setQuestion(question, attachments);
    this.#clear();
  }

  setQuestion(text, attachments = []) {
    this.text = text;
    this.said.textContent = text;
    this.files.replaceChildren(...attachments.map((each) => h("span.chip", {}, each.name ?? each.media_type ?? "file")));
    const isLong = text.length > LONG_QUESTION || text.split("\n").length > LONG_QUESTION_LINES;
    this.said.classList.toggle("cut", isLong);
    this.whole.hidden = !isLong;
    this.question.hidden = !text && !attachments.length;
    this.el.setAttribute("aria-label", `Question: ${cut(text, 80)}`);
  }

  get isLive() {
    return !ENDED.has(this.state);
  }

  #showQuestion() {
    this.said.classList.remove("cut");
    this.whole.hidden = true;
  }

  #clear() {
    this.blocks.replaceChildren();
    this.end.replaceChildren();
    this.tools = new Map();
    this.waiting.clear();
    this.approvals = new Map();
    this.steers = new Map();
    this.last = null;
    this.now = "starting";
    this.heard = -1;
    this.firstToken = null;
    this.unspoken = "";
    this.spokenAt = 0;
    this.todos = null;
  }

  /** Begin again, to be told everything from the first frame. */
  restart() {
    this.#clear();
    this.foot.hidden = true;
    this.state = "running";
  }

  /** A frame of the turn's stream; one that was seen before is passed over. */
  frame(data) {
    if (data.number <= this.heard) return;
    this.heard = data.number;
    this[`on_${data.type ?? (data.done ? "done" : "")}`]?.(data);
    this.host.changed(this);
  }

  on_turn({ turn_id: id, state, position }) {
    this.id = id;
    if (state === "queued") {
      this.state = "queued";
      this.position = position;
    } else this.#goesOn();
  }

  on_token({ token }) {
    this.#goesOn();
    this.firstToken ??= performance.now() - this.asked;
    this.now = "writing";
    this.#textBlock("text").append(token);
    this.unspoken = (this.unspoken + token).slice(-SPOKEN);
  }

  on_thinking({ text }) {
    this.#goesOn();
    this.now = "thinking";
    this.#textBlock("thinking").append(text);
  }

  on_replace({ text }) {
    for (const block of this.blocks.querySelectorAll(":scope > .prose")) block.remove();
    this.#close();
    if (text) this.#textBlock("text").append(text);
  }

  on_tool_use(data) {
    this.#goesOn();
    this.#close();
    const line = new ToolLine(data);
    this.tools.set(data.id, line);
    this.now = runningWord(line);
    this.#inside(data.parent_id).append(line.el);
  }

  on_tool_result(data) {
    const line = this.tools.get(data.id);
    if (!line) return;
    line.result(data);
    this.now = "reading the result";
    this.#gather(line);
  }

  on_status({ status, ...facts }) {
    const words = {
      queued: "queued",
      requesting: this.now === "starting" ? "asking the model" : "asking the model again",
      compacting: "compacting the conversation",
      api_retry: `the model's service failed, retry ${facts.attempt ?? ""}${facts.max_retries ? ` of ${facts.max_retries}` : ""}`,
      rate_limit: "held up by a rate limit",
    };
    if (status === "queued") {
      this.state = "queued";
      this.position = facts.position;
      return;
    }
    this.#goesOn();
    if (words[status]) this.now = words[status];
    const notes = {
      compact_boundary: "The conversation was compacted here.",
      model_changed: `The model changed to ${facts.fallback_model ?? "another"}.`,
      media_removed: "An attachment was refused by the model's service and left out.",
    };
    if (status === "steered") this.#steered(facts);
    if (notes[status]) this.#note(notes[status]);
  }

  /** What was said to the running turn, and what became of it. */
  #steered({ steer_id: id, state, turn_id: turn, text }) {
    if (text) {
      this.#close();
      this.steers.set(id, text);
      this.blocks.append(h("div.question.steer", {}, h("div.question-text", {}, text)));
    }
    if (state === "joined") this.#note("Your words joined the answer.", "check");
    if (state === "cancelled") this.#note("The answer ended before it took your words.", "cross");
    if (state === "queued" && turn) this.host.attach(turn, this.steers.get(id) ?? "");
  }

  on_usage({ cost_usd: cost, output_tokens: out }) {
    this.facts.cost = cost ?? this.facts.cost;
    this.facts.out = (this.facts.out ?? 0) + (out ?? 0);
  }

  on_subagent({ id, state, name, description, last_tool: tool, tokens }) {
    this.now = state === "ended" ? "reading what the sub-agent found" : `sub-agent: ${cut(description || name, 50)}${tool ? `, ${tool}` : ""}`;
    const line = this.tools.get(id);
    if (line && line.state === "running" && tokens) line.side.textContent = `${count(tokens)} tokens`;
  }

  on_todo({ items }) {
    this.todos = items;
  }

  on_approval(data) {
    this.#goesOn();
    this.waiting.set(data.id, data);
    this.approvals.set(data.id, data);
    this.now = "waiting for you";
  }

  on_approval_resolved({ id, decision, decided_by: by }) {
    const asked = this.approvals.get(id);
    this.waiting.delete(id);
    const runs = [...this.tools.values()].findLast((line) => line.state === "running");
    const asking = [...this.tools.values()].find((line) => line.state === "running" && line.name === asked?.tool);
    if (asking && (decision === "deny" || decision === "expired")) asking.wasDenied = true;
    this.now = this.waiting.size ? "waiting for you" : runs ? runningWord(runs) : "going on";
    this.host.resolved(id);
    const who = this.host.decidedHere(id) ? "by you" : by ? `by ${by}` : decision === "expired" || decision === "cancelled" ? "" : "elsewhere";
    const what = asked ? (asked.kind === "question" ? "a question" : asked.kind === "plan" ? "the plan" : asked.tool) : "";
    this.#note(`${RECORDS[decision] ?? decision}: ${[what, who].filter(Boolean).join(", ")}`, decision === "allow" || decision === "answer" ? "check" : "cross");
  }

  on_error({ error, code, retry_after: after, ...facts }) {
    this.fault = { error, code, retryAfter: after, facts };
  }

  on_done(data) {
    this.#close();
    if (data.message !== undefined && data.message !== null) this.on_replace({ text: data.message });
    this.#close();
    this.finish({
      state: data.success ? "succeeded" : this.fault?.code === "turn_interrupted" ? "interrupted" : "failed",
      ...data,
    });
    announce(data.success ? `${this.unspoken} Answer finished.` : (this.fault?.error ?? "The answer failed."));
  }

  /** The turn is over; `told` are the last frame's facts, or those of `GET /turns/{id}`. */
  finish(told) {
    this.state = told.state;
    this.#close();
    for (const line of this.tools.values()) line.abandon();
    this.waiting.clear();
    const fault = this.fault ?? (told.error && typeof told.error === "object" ? told.error : null);
    if (this.state === "interrupted") this.end.replaceChildren(h("p.note", {}, icon("stop"), "Stopped."));
    else if (this.state === "failed" && fault) this.end.replaceChildren(errorCard(fault, { again: () => this.host.again(this), project: this.host.project }));
    this.fault = fault;
    this.#showFoot(told);
  }

  /** It could not be asked at all. */
  refused(fault) {
    this.state = "failed";
    this.fault = fault;
    this.end.replaceChildren(errorCard(fault, { again: () => this.host.again(this), project: this.host.project }));
    this.#close();
  }

  /** What history holds of the answer. */
  history(parts) {
    for (const part of parts) {
      if (part.type === "text") this.#textBlock("text").append(part.text);
      else if (part.type === "thinking") this.#textBlock("thinking").append(part.text);
      else if (part.type === "tool_use") this.on_tool_use(part);
      else if (part.type === "tool_result") this.on_tool_result(part);
      else if (part.type === "summary") this.#fold("What was said before, in short", part.text);
      if (part.type === "text" || part.type === "thinking") this.#close();
    }
    this.#close();
    for (const line of this.tools.values()) line.abandon();
  }

  text_of_answer() {
    return this.last_texts().join("\n\n");
  }

  last_texts() {
    return [...this.blocks.querySelectorAll(":scope > .prose")].map((each) => each.textContent.trim()).filter(Boolean);
  }

  /** Draw what came since the last frame of the screen. */
  flush() {
    this.last?.growing?.flush();
    if (this.last?.kind === "thinking") this.last.shown.textContent = cut(this.last.text.slice(-160), 160);
    const now = performance.now();
    if (this.isLive && now - this.spokenAt > SPEAK_MS) this.#speak(now);
  }

  tick() {
    for (const line of this.tools.values()) line.tick();
  }

  #goesOn() {
    if (this.isLive) this.state = "running";
  }

  /** Tell a screen reader the sentences that are whole. */
  #speak(now) {
    const end = Math.max(...[". ", "! ", "? ", "\n"].map((sign) => this.unspoken.lastIndexOf(sign)));
    this.spokenAt = now;
    if (end < 0) return;
    announce(this.unspoken.slice(0, end + 1));
    this.unspoken = this.unspoken.slice(end + 1);
  }

  #textBlock(kind) {
    if (this.last?.kind === kind) return this.last;
    this.#close();
    if (kind === "text") {
      const el = h("div.prose");
      const growing = new GrowingMarkdown(el);
      let isFirst = true;
      this.blocks.append(el);
      this.last = { kind, el, growing, append: (text) => {
        const said = isFirst ? text.replace(/^\n+/, "") : text;
        isFirst = isFirst && !said;
        growing.append(said);
      } };
    } else {
      const shown = h("span.thought");
      const label = h("span.thinking-word", {}, "Thinking");
      const body = h("div.thoughts", { hidden: true });
      const head = h("button.thinking", { type: "button", "aria-expanded": "false", onclick: () => {
        body.hidden = !body.hidden;
        head.setAttribute("aria-expanded", String(!body.hidden));
        if (!body.hidden) body.textContent = this_block.text;
      } }, label, shown, icon("fold"));
      const el = h("div.thinking-block", {}, head, body);
      this.blocks.append(el);
      const this_block = { kind, el, shown, label, begun: performance.now(), text: "", append(text) {
        this.text += text;
        if (!body.hidden) body.append(text);
      } };
      this.last = this_block;
    }
    return this.last;
  }

  #close() {
    const { last } = this;
    this.last = null;
    if (!last) return;
    if (last.kind === "text") {
      last.growing.end();
      if (!last.el.hasChildNodes() && !last.growing.hasMore) last.el.remove();
      return;
    }
    last.shown.textContent = "";
    const ms = performance.now() - last.begun;
    last.label.textContent = this.isLive && ms > 50 ? `Thought for ${span(ms)}` : "Thought";
    if (!last.text.trim()) last.el.remove();
  }

  #inside(parent) {
    const outer = parent && this.tools.get(parent);
    if (!outer) return this.blocks;
    let depth = 1;
    for (let each = outer; each?.parent; each = this.tools.get(each.parent)) depth += 1;
    return depth > DEEPEST ? this.#inside(outer.parent) : outer.nested;
  }

  #gather(line) {
    if (!line.isQuiet || !line.el.parentNode) return;
    const before = line.el.previousElementSibling;
    const earlier = before && [...this.tools.values()].find((each) => each.gathered?.el === before || each.el === before);
    if (!earlier || !earlier.isQuiet) return;
    const group = earlier.gathered ?? new Gathered(earlier);
    earlier.gathered = group;
    line.gathered = group;
    group.add(line);
  }

  #note(text, mark = null) {
    this.#close();
    this.blocks.append(h("p.note", {}, mark ? icon(mark) : null, text));
  }

  #fold(label, text) {
    this.#close();
    const body = markdown(text);
    body.hidden = true;
    const head = h("button.thinking", { type: "button", "aria-expanded": "false", onclick: () => {
      body.hidden = !body.hidden;
      head.setAttribute("aria-expanded", String(!body.hidden));
    } }, h("span.thinking-word", {}, label), icon("fold"));
    this.blocks.append(h("div.thinking-block", {}, head, body));
  }

  #showFoot(told) {
    const usage = told.usage ?? {};
    const input = (usage.input_tokens ?? 0) + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
    const files = told.files_changed ?? [];
    this.cost = told.total_cost_usd;
    this.ended = told;
    const facts = [
      this.firstToken === null || this.wasReplayed ? null : `${span(this.firstToken)} to first word`,
      told.duration_ms === null || told.duration_ms === undefined ? null : span(told.duration_ms),
      input ? `${count(input)} in, ${count(usage.output_tokens ?? 0)} out` : null,
      told.total_cost_usd ? money(told.total_cost_usd) : null,
      files.length ? plural(files.length, "file") + " changed" : null,
    ].filter(Boolean);
    const more = iconButton("more", "More about this turn", () => openMenu(more, this.#actions()));
    this.foot.replaceChildren(
      h("span.num", { title: files.join("\n") }, facts.join("  ·  ")),
      h("span.actions", {}, iconButton("copy", "Copy the answer", () => copy(this.text_of_answer())), more),
    );
    this.foot.hidden = false;
  }

  #actions() {
    return [
      ["Ask again", () => this.host.again(this)],
      ["Edit and ask", () => this.host.edit(this)],
      ["Copy as curl", () => copy(this.host.curl(this))],
      this.id && ["Copy the link", () => copy(`${location.href.split("#")[0]}${this.host.hash(this)}`)],
      this.id && ["Fork from here…", () => this.host.fork(this)],
      this.id && ["Rewind to here…", () => this.host.rewind(this)],
    ].filter(Boolean);
  }
}

