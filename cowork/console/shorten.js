// How a block that is still written is kept short, and what its open marks are taken for.

// A first block longer than this is cut where it can be, so that a piece never costs the whole text.
const LONG = 2500;
// What may still be open at the end is not cut.
export const MOST = LONG + 500;
const MANY = 1000;
const SENTENCE = /[.!?:] +(?=\p{L})/gu;
const WORD = / +(?=\p{L})/gu;

/** Where `token`, the first block of the source, may be cut: what is behind `end`, with `head` before it, goes on in the same block. */
export function cutOf(token, source) {
  if (source.length <= (token.type === "paragraph" ? MOST : MANY)) return null;
  const end = { list: endOfItem, paragraph: endOfSentence, table: endOfRow, blockquote: endOfQuoted }[token.type]?.(token) ?? 0;
  if (end <= 0 || end >= source.length) return null;
  const head = token.type === "table" ? token.raw.split("\n", 2).join("\n") + "\n" : "";
  return end > head.length ? { end, head } : null;
}

const endOfItem = ({ items }) => items.slice(0, -1).reduce((sum, item) => sum + item.raw.length, 0);
const endOfRow = ({ raw }) => raw.trimEnd().lastIndexOf("\n") + 1;
const endOfQuoted = ({ raw }) => {
  const empty = [...raw.matchAll(/\n>[ \t]*\n(?=>)/g)].at(-1);
  return empty ? empty.index + empty[0].length : 0;
};

/** Behind a sentence, or a word, or a letter; between two inline tokens or in plain text, never in a link or bold text. */
function endOfSentence({ tokens }) {
  const ends = [0, 0, 0];
  let at = 0;
  for (const { type, raw } of tokens) {
    if (at >= LONG) break;
    if (type === "text") {
      for (const [rank, sign] of [SENTENCE, WORD].entries())
        for (const { index, 0: found } of raw.matchAll(sign)) if (at + index + found.length <= LONG) ends[rank] = at + index + found.length;
      if (at + raw.length > LONG) ends[2] = at + (LONG - at) + (/[\uDC00-\uDFFF]/.test(raw[LONG - at]) ? 1 : 0);
    }
    at += raw.length;
  }
  return ends.find((end) => end > LONG / 2) ?? 0;
}

/** A source whose end is being written, as it is shown meanwhile: `[text, whether plain words may follow]`. */
export function meanwhile(source) {
  const begin = source.lastIndexOf("\n") + 1;
  const line = source.slice(begin);
  if (/^ {0,3}(?:``|~~~)/.test(line)) return [source.slice(0, begin), false];
  for (const mark of ["`", "**"]) {
    if (line.split(mark).length % 2) continue;
    if (line.endsWith(mark)) return [source.slice(0, -mark.length), false];
    return [source.trimEnd() + mark, mark === "**"];
  }
  const shown = source.replace(/!?\[([^[\]\n]*)\]\([^()\s]*$/, "$1");
  return [shown, shown === source];
}

const CARRIERS = new Set(["paragraph", "heading", "list", "list_item", "blockquote", "text"]);
const MARKED = new Set(["strong", "em", "del"]);
/** Whether plain words behind a block are more of its last text; in `strong` only where it is still open. */
export function endsInText(token, isOpen) {
  const inner = (token.items ?? token.tokens)?.at(-1);
  if (!inner) return token.type === "text";
  return (CARRIERS.has(token.type) || (isOpen && MARKED.has(token.type))) && endsInText(inner, isOpen);
}
