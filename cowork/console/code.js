// Plain text of any length in chunks, of which those off the screen cost no layout; code.

import { copy, h } from "./dom.js";

const LINES = 200;
const CHARS = 16000;
// A line longer than this is broken: one line of a megabyte is laid out anew with each piece.
const LONGEST_LINE = 4000;
const LINE_PX = 20;

export class Chunks {
  constructor(el) {
    this.el = el;
    this.node = null;
  }

  append(text) {
    for (let at = 0; at < text.length; ) {
      if (!this.node || this.#isFull()) this.#next();
      const end = this.#endOf(text, at);
      this.node.appendData(text.slice(at, end));
      at = end;
    }
  }

  #isFull() {
    if (this.column >= LONGEST_LINE) return true;
    return this.column === 0 && (this.lines >= LINES || this.chars >= CHARS);
  }

  #endOf(text, at) {
    while (at < text.length && !this.#isFull()) {
      const most = Math.min(text.length, at + LONGEST_LINE - this.column);
      const line = text.indexOf("\n", at) + 1;
      const isWhole = line && line <= most;
      const end = isWhole ? line : most;
      this.lines += isWhole ? 1 : 0;
      this.column = isWhole ? 0 : this.column + end - at;
      this.chars += end - at;
      at = end;
    }
    return at;
  }

  #next() {
    if (this.last) this.last.style.containIntrinsicBlockSize = `auto ${Math.max(1, this.lines) * LINE_PX}px`;
    this.node = document.createTextNode("");
    this.last = h("span.chunk", {}, this.node);
    this.el.append(this.last);
    this.lines = this.chars = this.column = 0;
  }
}

export class CodeBlock {
  constructor(language = "") {
    this.text = [];
    const copyAll = h("button.quiet.small", { type: "button", onclick: () => copy(this.text.join("")) }, "Copy");
    const wrap = h("button.quiet.small", { type: "button", "aria-pressed": "false", onclick: () => this.#wrap(wrap) }, "Wrap");
    const code = h("code");
    this.chunks = new Chunks(code);
    const scroller = h("pre", { tabIndex: 0, role: "group", "aria-label": language ? `Code, ${language}` : "Code" }, code);
    this.el = h("div.code", {}, h("div.code-head", {}, h("span", {}, language), wrap, copyAll), scroller);
  }

  append(text) {
    this.text.push(text);
    this.chunks.append(text);
  }

  #wrap(pressed) {
    const wraps = this.el.classList.toggle("wraps");
    pressed.setAttribute("aria-pressed", String(wraps));
  }
}
