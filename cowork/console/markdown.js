// Markdown that grows: what is finished is rendered once, the last block again with each piece.
// Whatever a model writes becomes HTML here and nowhere else, and goes through the sanitizer.

import { lexer, parser, Renderer, use } from "./vendor/marked.esm.js";
import "./vendor/purify.min.js";
import { copy, emit, h } from "./dom.js";

const TAGS =
  "a blockquote br code del em h3 h4 h5 h6 hr img li ol p pre s strong sub sup table tbody td th thead tr ul".split(" ");
// A last block longer than this is cut where it can be, so that a piece never costs the whole text.
const LONG = 2500;
// So much is looked at at a time, and for so long before the screen has its turn.
const WINDOW = 10000;
const BUDGET_MS = 8;
const CODE_LINES = 200;
const OPENING = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)\n/;

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const base = new Renderer();
use({
  gfm: true,
  renderer: {
    // HTML in an answer is shown as it was written; a line break alone is meant.
    html: ({ text }) => (/^<br\s*\/?>$/i.test(text.trim()) ? "<br>" : escaped(text)),
    heading(token) {
      const depth = Math.min(token.depth + 2, 6);
      return `<h${depth}>${this.parser.parseInline(token.tokens)}</h${depth}>\n`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    // Nothing is loaded from elsewhere: an image of another host is a link to it.
    image(token) {
      if (/^data:image\/(png|jpeg|gif|webp);base64,/i.test(token.href)) return base.image.call(this, token);
      return `<a href="${escaped(token.href)}">${escaped(token.text || token.href)}</a>`;
    },
  },
});

const purify = globalThis.DOMPurify;
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
});

/** The text's blocks; what is nested deeper than can be followed is code, as it was written. */
function lexed(text) {
  try {
    return lexer(text);
  } catch (fault) {
    if (!(fault instanceof RangeError)) throw fault;
    return [{ type: "code", raw: text, text, lang: "" }];
  }
}

function html(tokens) {
  try {
    return parser(tokens);
  } catch (fault) {
    if (!(fault instanceof RangeError)) throw fault;
    return `<pre>${escaped(tokens.map((token) => token.raw).join(""))}</pre>`;
  }
}

/** Markdown tokens as safe nodes: no scripts, styles, classes, ids, forms, frames. */
function rendered(tokens) {
  const fragment = purify.sanitize(html(tokens), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", "title", "alt", "src", "start", "align"],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#|data:image\/(?:png|jpeg|gif|webp);base64,)/i,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  // A picture of a button that leads elsewhere.
  for (const image of fragment.querySelectorAll("a img")) image.replaceWith(image.alt);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div.table", { tabIndex: 0, role: "group", "aria-label": "Table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}

/** Markdown that is whole. */
export function markdown(text) {
  const made = h("div.prose");
  const growing = new GrowingMarkdown(made);
  growing.append(text);
  growing.end();
  return made;
}

/** Code in a frame of its own, with what it is and a button that copies it. */
export class CodeBlock {
  constructor(language = "") {
    this.text = [];
    const copyAll = h("button.quiet.small", { type: "button", onclick: () => copy(this.text.join("")) }, "Copy");
    const wrap = h("button.quiet.small", { type: "button", "aria-pressed": "false", onclick: () => this.#wrap(wrap) }, "Wrap");
    this.code = h("code");
    const scroller = h("pre", { tabIndex: 0, role: "group", "aria-label": language ? `Code, ${language}` : "Code" }, this.code);
    this.el = h("div.code", {}, h("div.code-head", {}, h("span", {}, language), wrap, copyAll), scroller);
    this.lines = CODE_LINES;
  }

  append(text) {
    this.text.push(text);
    // In chunks of their own, so that a line that comes lays out its neighbours alone.
    for (const line of text.split(/(?<=\n)/)) {
      if (this.lines >= CODE_LINES) {
        this.chunk = document.createTextNode("");
        this.code.append(h("span.chunk", {}, this.chunk));
        this.lines = 0;
      }
      this.chunk.appendData(line);
      if (line.endsWith("\n")) this.lines += 1;
    }
  }

  #wrap(pressed) {
    const wraps = this.el.classList.toggle("wraps");
    pressed.setAttribute("aria-pressed", String(wraps));
  }
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
    emit("drawn");
  });
}

export class GrowingMarkdown {
  /** `el` gets the blocks. Nothing is drawn before `flush`. */
  constructor(el) {
    this.el = el;
    this.source = "";
    this.pending = "";
    this.tail = null;
    this.fence = null;
    this.isEnd = false;
    this.restUntil = 0;
  }

  append(text) {
    this.pending += text;
  }

  /** Draw what has come: finished blocks for good, the last one until more comes. */
  flush() {
    if (!this.pending && !this.source && !this.fence) return;
    const begun = performance.now();
    // What takes long is done less often, so that the page has most of the time for itself.
    if (begun < this.restUntil && !this.isEnd) {
      later(this);
      return;
    }
    const until = begun + BUDGET_MS;
    const fresh = this.pending;
    this.pending = "";
    if (this.fence) this.#code(fresh);
    else this.source += fresh;
    while (this.source && !this.fence) if (!this.#blocks() || performance.now() > until) break;
    const took = performance.now() - begun;
    this.restUntil = begun + (took > 4 ? took * 8 : 0);
    if (this.hasMore) later(this);
  }

  end() {
    this.isEnd = true;
    this.flush();
  }

  /** Render what stands at the source's beginning; whether there may be more to do at once. */
  #blocks() {
    const isWhole = this.source.length <= WINDOW;
    const tokens = lexed(isWhole ? this.source : this.source.slice(0, WINDOW));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    this.hasMore = false;
    if (last < 0) {
      this.source = isWhole ? "" : this.source.slice(WINDOW);
      return !isWhole;
    }
    this.#finals(tokens.slice(0, last));
    const token = tokens[last];
    const fence = token.type === "code" && OPENING.exec(this.source);
    if (fence) {
      this.#begin(fence);
      const rest = this.source.slice(fence[0].length);
      this.source = "";
      this.#code(rest);
      this.hasMore = Boolean(this.source);
      return this.hasMore;
    }
    this.hasMore = true;
    if (!isWhole) {
      if (last === 0 && !this.#shorten(token)) this.#finals([token]);
      return true;
    }
    if (this.isEnd) this.#finals([token]);
    else if (this.source.length > LONG && this.#shorten(token)) return true;
    else this.#last(token);
    if (this.isEnd) this.source = "";
    this.hasMore = false;
    return false;
  }

  #finals(tokens) {
    let length = 0;
    for (const token of tokens) {
      this.#final(token);
      length += token.raw.length;
    }
    this.source = this.source.slice(length);
  }

  #begin([, mark, info]) {
    const block = new CodeBlock(info.trim().split(/\s+/)[0]);
    this.#put(block.el);
    this.fence = { block, mark, line: "" };
  }

  /** Text of an open fence: whole lines go in as they are; one that may close it is waited for. */
  #code(fresh) {
    const { block, mark } = this.fence;
    const lines = (this.fence.line + fresh).split(/(?<=\n)/);
    const sign = mark[0];
    const closing = new RegExp(`^ {0,3}\\${sign}{${mark.length},}[ \\t]*\\n?$`);
    const mayClose = new RegExp(`^ {0,3}\\${sign}*[ \\t]*$`);
    this.fence.line = "";
    let plain = "";
    for (const [place, line] of lines.entries()) {
      const isWhole = line.endsWith("\n");
      if (closing.test(line) && (isWhole || this.isEnd)) {
        block.append(plain);
        this.fence = null;
        this.source = lines.slice(place + 1).join("");
        return;
      }
      if (!isWhole && !this.isEnd && mayClose.test(line)) this.fence.line = line;
      else plain += line;
    }
    if (plain) block.append(plain);
    if (this.isEnd) this.fence = null;
  }

  #put(node) {
    this.tail?.remove();
    this.tail = null;
    this.el.append(node);
  }

  #final(token) {
    if (token.type === "space") return;
    if (token.type !== "code") {
      this.#put(rendered([token]));
      return;
    }
    const block = new CodeBlock((token.lang ?? "").split(/\s+/)[0]);
    block.append(token.text);
    this.#put(block.el);
  }

  #last(token) {
    const holder = h("div.tail", {}, rendered([token]));
    if (this.tail) this.tail.replaceWith(holder);
    else this.el.append(holder);
    this.tail = holder;
  }

  /** Let go of the beginning of a long block: all but its last item, or up to the end of a sentence. */
  #shorten(token) {
    let end = 0;
    if (token.type === "list" && token.items.length > 2) {
      end = token.items.slice(0, -1).reduce((sum, item) => sum + item.raw.length, 0);
    } else if (token.type === "paragraph") {
      end = this.source.lastIndexOf(". ", LONG) + 2;
      if (end < LONG / 2) end = this.source.lastIndexOf(" ", LONG) + 1;
      if (end < LONG / 2) end = LONG;
    }
    if (!end || end >= this.source.length) return false;
    for (const part of lexed(this.source.slice(0, end))) this.#final(part);
    this.source = this.source.slice(end);
    return true;
  }
}
