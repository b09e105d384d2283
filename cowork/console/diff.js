// The difference of two texts by lines, as a table that is read like any other.

import { copy, h, visible } from "./dom.js";

const AROUND = 3;
const MOST_ROWS = 400;
// Beyond this many cells the longest common part is not looked for: all out, all in.
const MOST_CELLS = 400000;
// Beyond this many, or with less in common, two lines are not held against each other by words.
const MOST_WORD_CELLS = 40000;
const LEAST_SHARE = 0.4;

const lines = (text) => (text === "" ? [] : text.replace(/\n$/, "").split("\n"));

/** Rows `[sign, text, old number, new number]` of both texts. */
function diffRows(before, after) {
  const a = lines(before);
  const b = lines(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const middle = between(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const same = (text) => [" ", text];
  const signed = [...a.slice(0, head).map(same), ...middle, ...a.slice(a.length - tail).map(same)];
  let old = 0;
  let fresh = 0;
  return signed.map(([sign, text]) => [sign, text, sign === "+" ? null : (old += 1), sign === "-" ? null : (fresh += 1)]);
}

function between(a, b) {
  const whole = [...a.map((text) => ["-", text]), ...b.map((text) => ["+", text])];
  return a.length * b.length > MOST_CELLS || !a.length || !b.length ? whole : aligned(a, b);
}

/** `[sign, piece]` of both, with the longest part that they have in common as " ". */
function aligned(a, b) {
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
  const found = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push([" ", a[i]]);
      i += 1;
      j += 1;
    } else if (i < a.length && (j === b.length || longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      found.push(["-", a[i]]);
      i += 1;
    } else {
      found.push(["+", b[j]]);
      j += 1;
    }
  }
  return found;
}

const wordsOf = (text) => text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? [];

/** The pieces `[text, whether it differs]` of both lines; null where they have too little in common. */
function changedWords(before, after) {
  const [a, b] = [wordsOf(before), wordsOf(after)];
  if (a.length * b.length > MOST_WORD_CELLS) return null;
  const all = aligned(a, b);
  const same = all.filter(([sign, text]) => sign === " " && text.trim()).reduce((sum, [, text]) => sum + text.length, 0);
  if (same < LEAST_SHARE * Math.max(before.trim().length, after.trim().length, 1)) return null;
  return ["+", "-"].map((other) => joined(all.filter(([sign]) => sign !== other).map(([sign, text]) => [text, sign !== " "])));
}

/** Neighbours that both differ, or both do not, as one piece; the blanks around what differs do not. */
function joined(pieces) {
  const found = [];
  const add = (text, differs) => {
    const last = found.at(-1);
    if (last && last[1] === differs) last[0] += text;
    else if (text) found.push([text, differs]);
  };
  for (const [place, [text, differs]] of pieces.entries()) {
    const isEdge = !text.trim() && !(pieces[place - 1]?.[1] && pieces[place + 1]?.[1]);
    add(text, differs && !isEdge);
  }
  return found;
}

/** Of rows `[sign, text, ...]`, the pieces of each that took the place of another, by its place. */
function changedPieces(rows) {
  const found = new Map();
  for (let at = 0; at < rows.length; ) {
    let dels = at;
    while (dels < rows.length && rows[dels][0] === "-") dels += 1;
    let adds = dels;
    while (adds < rows.length && rows[adds][0] === "+") adds += 1;
    for (let pair = 0; pair < Math.min(dels - at, adds - dels); pair += 1) {
      const pieces = changedWords(rows[at + pair][1], rows[dels + pair][1]);
      if (pieces) {
        found.set(at + pair, pieces[0]);
        found.set(dels + pair, pieces[1]);
      }
    }
    at = Math.max(adds, at + 1);
  }
  return found;
}

export function diffStat(edits) {
  const rows = edits.flatMap((each) => diffRows(each.before, each.after));
  return { added: rows.filter(([sign]) => sign === "+").length, removed: rows.filter(([sign]) => sign === "-").length };
}

export const statView = ({ added, removed }) => h("span.stat.num", {}, h("span.plus", {}, `+${added}`), " ", h("span.minus", {}, `−${removed}`));

export function diffOf(path, before, after) {
  const rows = diffRows(before, after);
  const near = rows.map((_, place) => rows.slice(Math.max(0, place - AROUND), place + AROUND + 1).some(([sign]) => sign !== " "));
  const body = h("div.diff-rows", { tabIndex: 0, role: "group", "aria-label": `Changes to ${path ?? "a file"}` });
  const pieces = changedPieces(rows);
  let skipped = 0;
  const rest = [];
  for (const [place, [sign, text, old, fresh]] of rows.entries()) {
    if (!near[place]) {
      skipped += 1;
      continue;
    }
    if (skipped) body.append(h("div.diff-gap", {}, `${skipped} unchanged`));
    skipped = 0;
    if (body.childElementCount >= MOST_ROWS) {
      rest.push(`${sign} ${visible(text)}`);
      continue;
    }
    const kind = sign === "+" ? "add" : sign === "-" ? "del" : "same";
    const word = sign === "+" ? "added: " : sign === "-" ? "removed: " : "";
    body.append(
      h(`div.diff-row.${kind}`, {}, h("span.no.old", { "aria-hidden": "true" }, String(old ?? "")), h("span.no", { "aria-hidden": "true" }, String(fresh ?? "")), h("span.sign", { "aria-hidden": "true" }, sign === "-" ? "−" : sign), h("span.sr", {}, word), h("span.text", {}, pieces.get(place)?.map(([piece, differs]) => (differs ? h("span.changed", {}, visible(piece)) : visible(piece))) ?? (visible(text) || " "))),
    );
  }
  // Rows of their own would take the page its time; none is left out, since a person allows all of it.
  if (rest.length) body.append(h("div.diff-gap", {}, `${rest.length} more lines`), h("pre.diff-rest", {}, rest.join("\n")));
  const copyPath = path && h("button.quiet.small", { type: "button", onclick: () => copy(path) }, "Copy path");
  return h("div.diff", {}, h("div.code-head", {}, h("span.path", { title: path }, visible(path)), copyPath), body);
}
