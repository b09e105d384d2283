// Markdown that grows: what is finished is rendered once, the last block again; plain words are appended to it.

import { CodeBlock } from "./code.js";
import { h } from "./dom.js";
import { lexed, rendered } from "./render.js";
import { cutOf, endsInText, meanwhile, MOST } from "./shorten.js";

// So much is looked at at a time, and for so long before the screen has its turn.
const WINDOW = 4000;
const CODE_SLICE = 32000;
const LONGEST_FENCE = 100;
const BATCH = 800;
const BUDGET_MS = 8;
// Blocks are in sections, of which those off the screen cost no layout.
const SECTION = 3000;
const LINE = { chars: 70, px: 24 };
// One paragraph, list or table of more is several.
const ELEMENT = 6000;
const OPENING = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)\n/;
// What follows a text without a meaning of its own in Markdown.
const PLAIN = /^[\p{L}\p{M}\p{N} ,.'"?%-]+$/u;
const ADDRESS = /www|@/i;

/** Markdown that is whole. */
export function markdown(text) {
  const made = h("div.prose");
  const growing = new GrowingMarkdown(made);
  growing.append(text);
  growing.end();
  return made;
}

const behind = new Set();
let frame = null;

/** Draw on in the next frame of the screen what one frame had no time for. */
function later(growing) {
  behind.add(growing);
  frame ??= requestAnimationFrame(() => {
    frame = null;
    const all = [...behind];
    behind.clear();
    for (const each of all) each.flush();
  });
}

const kindOf = (node) => (node?.classList.contains("table") ? "TABLE" : node?.tagName);
const innerOf = (node) => node.querySelector(":scope > table > tbody") ?? node;

export class GrowingMarkdown {
  /** `el` gets the blocks. Nothing is drawn before `flush`. */
  constructor(el) {
    this.el = el;
    this.source = "";
    this.pending = "";
    this.section = null;
    this.tail = [];
    // The text that plain words are appended to.
    this.open = null;
    // What was cut and goes on with the next block.
    this.into = null;
    this.fence = null;
    this.isEnd = false;
  }

  append(text) {
    this.pending += text;
  }

  /** Draw what has come, once in a frame: finished blocks for good, the last one until more comes. */
  flush() {
    if (!this.pending && !this.hasMore && !this.isEnd) return;
    const now = document.timeline.currentTime;
    if (now === this.drawnAt && !this.isEnd) {
      later(this);
      return;
    }
    if (this.#appendWords()) return;
    this.drawnAt = now;
    if (!this.isEnd) this.el.classList.add("grows");
    this.source += this.pending;
    this.pending = "";
    const until = performance.now() + BUDGET_MS;
    do this.hasMore = this.fence ? this.#code() : this.#blocks(until);
    while (this.hasMore && performance.now() < until);
    if (this.hasMore) later(this);
    else this.onDrawn?.();
  }

  end() {
    this.isEnd = true;
    this.flush();
  }

  /** Append plain words to the text that they go on, without a look at anything else. */
  #appendWords() {
    const fresh = this.pending;
    const { open } = this;
    if (!open || this.hasMore || this.isEnd || this.source.length + fresh.length > MOST || !PLAIN.test(fresh)) return false;
    if (fresh.includes(".") && ADDRESS.test(this.source.slice(-200) + fresh)) return false;
    this.pending = "";
    this.source += fresh;
    const text = open.spaces + fresh;
    const shown = text.trimEnd();
    open.node.appendData(shown);
    open.spaces = text.slice(shown.length);
    return true;
  }

  /** Render what stands at the source's beginning; whether there may be more. */
  #blocks(until) {
    const isWhole = this.source.length <= WINDOW;
    const tokens = lexed(isWhole ? this.source : this.source.slice(0, WINDOW));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    if (last < 0) {
      this.source = isWhole ? "" : this.source.slice(WINDOW);
      return !isWhole;
    }
    if (!this.#finish(tokens.slice(0, last), until)) return true;
    const token = tokens[last];
    const fence = token.type === "code" && OPENING.exec(this.source);
    if (fence) {
      this.#begin(fence);
      return true;
    }
    if (!isWhole) {
      if (last === 0 && !this.#shorten(token)) this.#finish([token], Infinity);
      return true;
    }
    if (this.isEnd) {
      this.#finish([token], Infinity);
      this.source = "";
    } else if (this.#shorten(token)) return true;
    else this.#last(token);
    return false;
  }

  /** Render blocks for good; whether there was time for all. */
  #finish(tokens, until) {
    for (let next = 0; next < tokens.length; ) {
      const begin = next;
      let length = 0;
      do length += tokens[next++].raw.length;
      while (next < tokens.length && length < BATCH && tokens[next].type !== "code" && tokens[begin].type !== "code");
      this.#put(nodesOf(tokens.slice(begin, next)), length);
      this.source = this.source.slice(length);
      if (next < tokens.length && performance.now() > until) return false;
    }
    return true;
  }

  #begin([opening, mark, info]) {
    const block = new CodeBlock(info.trim().split(/\s+/)[0]);
    this.#put([block.el], 0);
    this.source = this.source.slice(opening.length);
    const sign = `\\${mark[0]}`;
    this.fence = {
      block,
      atLine: true,
      closing: new RegExp(`\\n {0,3}${sign}{${mark.length},}[ \\t]*(?:\\n|$)`),
      mayClose: new RegExp(`\\n {0,3}${sign}*[ \\t]*$`),
    };
  }

  /** Text of an open fence: it goes in as it is; a line that may close it is waited for. */
  #code() {
    const { block, closing, mayClose, atLine } = this.fence;
    const isAll = this.source.length <= CODE_SLICE;
    const begin = atLine ? 1 : 0;
    const text = (atLine ? "\n" : "") + this.source.slice(0, CODE_SLICE);
    const found = closing.exec(text);
    if (found && (found[0].endsWith("\n") || (this.isEnd && isAll))) {
      block.append(text.slice(begin, found.index + 1));
      this.source = this.source.slice(found.index + found[0].length - begin);
      this.fence = null;
      return Boolean(this.source);
    }
    const held = this.isEnd && isAll ? null : mayClose.exec(text);
    const end = held && held[0].length < LONGEST_FENCE ? held.index + 1 : text.length;
    const plain = text.slice(begin, end);
    if (plain) block.append(plain);
    this.fence.atLine = plain ? plain.endsWith("\n") : atLine;
    this.source = this.source.slice(end - begin);
    if (this.isEnd && isAll) this.fence = null;
    return !isAll && Boolean(plain);
  }

  #put(nodes, length) {
    this.#dropTail();
    this.#place(nodes);
    this.into = null;
    this.size += length;
    if (!this.section || this.size <= SECTION) return;
    // Of one that was on the screen the browser knows the height.
    this.section.style.containIntrinsicBlockSize = `auto ${Math.ceil(this.size / LINE.chars) * LINE.px}px`;
    this.section = null;
  }

  /** Put nodes at the end, the first into what it goes on; returns all that were put somewhere. */
  #place(nodes) {
    const [first, ...others] = nodes;
    const isMore = this.into && first?.nodeType === Node.ELEMENT_NODE && kindOf(first) === this.into.kind;
    if (isMore && !this.into.el) first.classList.add("goes-on");
    const inner = isMore && this.into.el ? [...innerOf(first).childNodes] : [];
    if (inner.length) innerOf(this.into.el).append(...inner);
    const top = inner.length ? others : nodes;
    if (!this.section && top.length) {
      this.section = h("div.section");
      this.size = 0;
      this.el.append(this.section);
    }
    if (top.length) this.section.append(...top);
    return [...inner, ...top];
  }

  #dropTail() {
    for (const node of this.tail) node.remove();
    this.tail = [];
    this.open = null;
  }

  #last(token) {
    const [shown, mayGrow] = meanwhile(this.source);
    const isAsIs = shown === this.source;
    const tokens = isAsIs ? [token] : lexed(shown);
    const nodes = nodesOf(tokens);
    this.#dropTail();
    this.tail = this.#place(nodes);
    const line = this.source.slice(this.source.lastIndexOf("\n") + 1);
    if (mayGrow && tokens.length && /\p{L}/u.test(line) && endsInText(tokens.at(-1), !isAsIs)) this.#openText();
  }

  #openText() {
    const node = lastText(this.tail);
    const word = /[\p{L}\p{N}]*$/u.exec(this.source.trimEnd())[0];
    if (!node?.data.trimEnd().endsWith(word)) return;
    const spaces = / *$/.exec(this.source)[0];
    this.open = { node, spaces: node.data.endsWith(spaces) ? "" : spaces };
  }

  /** Let go of the beginning of a long block. */
  #shorten(token) {
    const cut = cutOf(token, this.source);
    if (!cut) return false;
    const nodes = nodesOf(lexed(this.source.slice(0, cut.end)));
    const first = nodes.find((node) => node.nodeType === Node.ELEMENT_NODE);
    const { into } = this;
    const kind = kindOf(first);
    const goesOn = into?.el && into.kind === kind;
    const length = (goesOn ? into.length : 0) + cut.end;
    this.#put(nodes, cut.end);
    this.into = { kind, length, el: length > ELEMENT ? null : goesOn ? into.el : first };
    this.source = cut.head + this.source.slice(cut.end);
    return true;
  }
}

/** The tokens as nodes; code is one block for each. */
function nodesOf(tokens) {
  if (tokens[0]?.type !== "code") return [...rendered(tokens).childNodes];
  const block = new CodeBlock((tokens[0].lang ?? "").split(/\s+/)[0]);
  block.append(tokens[0].text);
  return [block.el, ...(tokens.length > 1 ? nodesOf(tokens.slice(1)) : [])];
}

function lastText(nodes) {
  const last = nodes.findLast((node) => node.nodeType === Node.ELEMENT_NODE || node.data?.trim());
  return last?.nodeType === Node.ELEMENT_NODE ? lastText([...last.childNodes]) : last;
}
