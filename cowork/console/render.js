// Whatever a model writes becomes HTML here and nowhere else, and goes through the sanitizer.

import { lexer, parser, Renderer, use } from "./vendor/marked.esm.js";
import "./vendor/purify.min.js";
import { h } from "./dom.js";

const TAGS =
  "a blockquote br code del em h3 h4 h5 h6 hr img li ol p pre s strong sub sup table tbody td th thead tr ul".split(" ");

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
export function lexed(text) {
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
export function rendered(tokens) {
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
