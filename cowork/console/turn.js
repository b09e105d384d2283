// One question and its answer: frames come in, live or again, or what history holds; blocks come out.

import { footOf } from "./actions.js";
import { fold, note, QuestionView, TextBlock, ThinkingBlock } from "./blocks.js";
import { announce, count, cut, h, icon } from "./dom.js";
import { errorCard } from "./errors.js";
import { gather, ToolLine } from "./tools.js";
import { Announcer, notes, record, runningWord, statusWord } from "./words.js";

const DEEPEST = 3;
const ENDED = new Set(["succeeded", "failed", "interrupted"]);

export class TurnView {
  /** `host` is the conversation: `again`, `fork`, `rewind`, `changed`. */
  constructor(host, { id = null, question = "", attachments = [], at = null }) {
    this.host = host;
    this.state = "sending";
    this.asked = performance.now();
    this.facts = {};
    this.waiting = new Map();
    this.question = new QuestionView(at);
    this.blocks = h("div.blocks");
    this.end = h("div.turn-end");
    this.foot = h("div.foot", { hidden: true });
    this.el = h("article.turn", {}, this.question.el, this.blocks, this.end, this.foot);
    this.id = id;
    this.setQuestion(question, attachments);
    this.#clear();
  }

  get id() {
    return this.el.dataset.turn ?? null;
  }
  set id(id) {
    if (id) this.el.dataset.turn = id;
  }

  setQuestion(text, attachments = []) {
    this.text = text;
    this.question.set(text, attachments);
    this.el.setAttribute("aria-label", this.question.label);
  }

  get isLive() {
    return !ENDED.has(this.state);
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
    this.announcer = new Announcer();
    this.texts = [];
    this.decided = null;
    this.todos = null;
    this.thoughts = 0;
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
    this.announcer.hear(token);
  }

  on_thinking({ text }) {
    this.#goesOn();
    this.now = "thinking";
    this.#textBlock("thinking").append(text);
  }

  on_replace({ text }) {
    this.#close();
    for (const block of this.texts) block.el.remove();
    this.texts = [];
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
    gather(line, this.tools);
  }

  on_status({ status, ...facts }) {
    if (status === "queued") {
      this.state = "queued";
      this.position = facts.position;
      return;
    }
    this.#goesOn();
    this.now = statusWord(status, facts, this.now);
    if (status === "steered") this.#steered(facts);
    if (notes[status]) this.#block(note(notes[status](facts)));
  }

  /** What was said to the running turn, and what became of it. */
  #steered({ steer_id: id, state, turn_id: turn, text }) {
    if (text) {
      this.steers.set(id, text);
      this.#block(h("div.question.steer", {}, h("div.question-text", {}, text)));
    }
    if (state === "joined") this.#block(note("Your words joined the answer.", "check"));
    if (state === "cancelled") this.#block(note("The answer ended before it took your words.", "cross"));
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
    this.#record(asked, { decision, by, isHere: this.host.decidedHere(id) });
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
    announce(data.success ? `${this.announcer.text} Answer finished.` : (this.fault?.error ?? "The answer failed."));
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
    this.cost = told.total_cost_usd;
    this.ended = told;
    this.foot.replaceChildren(...footOf(this, told));
    this.#revealFoot();
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
      else if (part.type === "summary") this.#block(fold(`${this.id}:summary`, "What was said before, in short", part.text));
      if (part.type === "text" || part.type === "thinking") this.#close();
    }
    this.#close();
    for (const line of this.tools.values()) line.abandon();
  }

  /** The answer in Markdown, as it was written. */
  textOfAnswer() {
    return this.texts.map((each) => each.text()).filter(Boolean).join("\n\n");
  }

  /** Draw what came since the last frame of the screen. */
  flush() {
    this.last?.flush();
    if (this.isLive) this.announcer.speak();
  }

  tick() {
    for (const line of this.tools.values()) line.tick();
  }

  #goesOn() {
    if (this.isLive) this.state = "running";
  }

  #textBlock(kind) {
    if (this.last?.kind === kind) return this.last;
    this.#close();
    this.last = kind === "text" ? new TextBlock() : new ThinkingBlock(`${this.id}:thought:${this.thoughts++}`);
    if (kind === "text") this.texts.push(this.last);
    this.blocks.append(this.last.el);
    return this.last;
  }

  #close() {
    const { last } = this;
    this.last = null;
    last?.close(this.isLive);
  }

  /** Something that stands by itself; what is said next is a text of its own. */
  #block(el) {
    this.#close();
    this.blocks.append(el);
  }

  #inside(parent) {
    const outer = parent && this.tools.get(parent);
    if (!outer) return this.blocks;
    let depth = 1;
    for (let each = outer; each?.parent; each = this.tools.get(each.parent)) depth += 1;
    return depth > DEEPEST ? this.#inside(outer.parent) : outer.nested;
  }

  /** What a person decided in the same way stands in one line, as long as nothing is said in between. */
  #record(asked, told) {
    const kind = [this.texts.length, ...Object.values(told)].join();
    if (this.decided?.kind !== kind) this.decided = { kind, asked: [] };
    this.decided.asked.push(asked);
    this.decided.el?.remove();
    this.decided.el = note(...record(this.decided.asked, told));
    this.#block(this.decided.el);
  }

  /** Below the whole answer, not below as much as is drawn. */
  #revealFoot() {
    const { growing } = this.texts.find((each) => each.growing.hasMore) ?? {};
    if (growing) growing.onDrawn = () => this.#revealFoot();
    else this.foot.hidden = false;
  }
}
