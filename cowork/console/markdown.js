// Markdown that grows: what is finished is rendered once, the last block again with each piece.
// Whatever a model writes becomes HTML here and nowhere else, and goes through the sanitizer.

import { lexer, parser, Renderer, use } from "./vendor/marked.esm.js";
import "./vendor/purify.min.js";
import { copy, h } from "./dom.js";

const TAGS =
  "a blockquote br code del em h3 h4 h5 h6 hr img li ol p pre s strong sub sup table tbody td th thead tr ul".split(" ");
// A last block longer than this is cut where it can be, so that a piece never costs the whole text.
const LONG = 6000;
const CODE_LINES = 200;

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

/** Markdown tokens as safe nodes: no scripts, styles, classes, ids, forms, frames. */
function rendered(tokens) {
  const fragment = purify.sanitize(parser(tokens), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", "title", "alt", "src", "start", "align"],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#|data:image\/(?:png|jpeg|gif|webp);base64,)/i,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
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

export class GrowingMarkdown {
  /** `el` gets the blocks. Nothing is drawn before `flush`. */
  constructor(el) {
    this.el = el;
    this.source = "";
    this.pending = "";
    this.tail = null;
    this.fence = null;
  }

  append(text) {
    this.pending += text;
  }

  /** Draw what has come: finished blocks for good, the last one until more comes. */
  flush(isEnd = false) {
    if (!this.pending && !isEnd) return;
    const fresh = this.pending;
    this.pending = "";
    if (this.fence) this.#code(fresh, isEnd);
    else this.source += fresh;
    if (!this.fence) this.#blocks(isEnd);
  }

  end() {
    this.flush(true);
  }

  #blocks(isEnd) {
    const opening = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)\n/;
    for (;;) {
      const tokens = lexer(this.source);
      const last = tokens.findLastIndex((token) => token.type !== "space");
      if (last < 0) return;
      for (const token of tokens.slice(0, last)) this.#final(token);
      this.source = this.source.slice(tokens.slice(0, last).reduce((sum, token) => sum + token.raw.length, 0));
      const token = tokens[last];
      const found = token.type === "code" && opening.exec(this.source);
      if (found) {
        this.#begin(found);
        const rest = this.source.slice(found[0].length);
        this.source = "";
        this.#code(rest, isEnd);
        if (this.fence || !this.source) return;
        continue;
      }
      if (isEnd) {
        this.#final(token);
        this.source = "";
      } else if (this.source.length <= LONG || !this.#shorten(token)) this.#last(token);
      return;
    }
  }

  #begin([, mark, info]) {
    const block = new CodeBlock(info.trim().split(/\s+/)[0]);
    this.#put(block.el);
    this.fence = { block, mark, line: "" };
  }

  /** Text of an open fence: whole lines go in as they are; one that may close it is waited for. */
  #code(fresh, isEnd) {
    const { block, mark } = this.fence;
    const lines = (this.fence.line + fresh).split(/(?<=\n)/);
    const sign = mark[0];
    const closing = new RegExp(`^ {0,3}\\${sign}{${mark.length},}[ \\t]*\\n?$`);
    const mayClose = new RegExp(`^ {0,3}\\${sign}*[ \\t]*$`);
    this.fence.line = "";
    let plain = "";
    for (const [place, line] of lines.entries()) {
      const isWhole = line.endsWith("\n");
      if (closing.test(line) && (isWhole || isEnd)) {
        block.append(plain);
        this.fence = null;
        this.source = lines.slice(place + 1).join("");
        return;
      }
      if (!isWhole && !isEnd && mayClose.test(line)) this.fence.line = line;
      else plain += line;
    }
    if (plain) block.append(plain);
    if (isEnd) this.fence = null;
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

  /** Let go of the beginning of a long last block: all but its last items, or up to a blank. */
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
    const done = this.source.slice(0, end);
    this.source = this.source.slice(end);
    for (const part of lexer(done)) this.#final(part);
    this.#blocks(false);
    return true;
  }
}
