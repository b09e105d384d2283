// What a turn is made of beside its tools: its question, text, thoughts, folds, notes.

import { Chunks } from "./code.js";
import { cut, foldable, h, icon, span } from "./dom.js";
import { GrowingMarkdown, markdown } from "./markdown.js";

const THOUGHT = 160;
const LONG_QUESTION = 1500;
const LONG_QUESTION_LINES = 14;

/** A question as it stands over its answer: of a long one the beginning, until all of it is wanted. */
export class QuestionView {
  constructor(at) {
    this.said = h("div.question-text");
    this.files = h("div.chips");
    this.whole = h("button.quiet.small", { type: "button", hidden: true, onclick: () => this.#showAll() }, "Show all of it");
    this.el = h("div.question", { title: at ? new Date(at).toLocaleString() : null }, this.said, this.whole, this.files);
  }

  set(text, attachments) {
    this.text = text;
    const beginning = text.slice(0, LONG_QUESTION).split("\n").slice(0, LONG_QUESTION_LINES).join("\n");
    const isLong = beginning.length < text.length;
    this.said.textContent = beginning;
    this.said.classList.toggle("cut", isLong);
    this.whole.hidden = !isLong;
    this.files.replaceChildren(...attachments.map((each) => h("span.chip", {}, each.name ?? each.media_type ?? "file")));
    this.el.hidden = !text && !attachments.length;
  }

  get label() {
    return `Question: ${cut(this.text, 80)}`;
  }

  #showAll() {
    this.said.replaceChildren();
    new Chunks(this.said).append(this.text);
    this.said.classList.remove("cut");
    this.whole.hidden = true;
  }
}

export class TextBlock {
  kind = "text";

  constructor() {
    this.el = h("div.prose");
    this.growing = new GrowingMarkdown(this.el);
    this.said = [];
  }

  append(text) {
    const said = this.said.length ? text : text.replace(/^\n+/, "");
    if (!said) return;
    this.said.push(said);
    this.growing.append(said);
  }

  text() {
    return this.said.join("").trim();
  }

  flush() {
    this.growing.flush();
  }

  close() {
    this.growing.end();
    if (!this.said.length) this.el.remove();
  }
}

function foldHead(...children) {
  return h("button.thinking", { type: "button" }, ...children, icon("fold"));
}

export class ThinkingBlock {
  kind = "thinking";

  constructor(name) {
    this.shown = h("span.thought");
    this.label = h("span.thinking-word", {}, "Thinking");
    this.body = h("div.thoughts");
    this.chunks = new Chunks(this.body);
    this.texts = [];
    this.written = 0;
    this.recent = "";
    this.begun = performance.now();
    const head = foldHead(this.label, this.shown);
    foldable(name, head, this.body, () => this.#write());
    this.el = h("div.thinking-block", {}, head, this.body);
  }

  append(text) {
    this.texts.push(text);
    this.recent = (this.recent + text).slice(-THOUGHT);
  }

  /** Only what is open is drawn. */
  #write() {
    this.chunks.append(this.texts.slice(this.written).join(""));
    this.written = this.texts.length;
  }

  flush() {
    this.shown.textContent = cut(this.recent, THOUGHT);
    if (!this.body.hidden) this.#write();
  }

  close(isLive) {
    this.flush();
    this.shown.textContent = "";
    const ms = performance.now() - this.begun;
    this.label.textContent = isLive && ms > 50 ? `Thought for ${span(ms)}` : "Thought";
    if (!this.texts.some((text) => text.trim())) this.el.remove();
  }
}

/** A text behind a line that opens to it. */
export function fold(name, label, text) {
  const body = markdown(text);
  const head = foldHead(h("span.thinking-word", {}, label));
  foldable(name, head, body);
  return h("div.thinking-block", {}, head, body);
}

export function note(text, mark = null) {
  return h("p.note", {}, mark ? icon(mark) : null, text);
}
