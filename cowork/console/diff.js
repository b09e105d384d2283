// The difference of two texts by lines, as a table that is read like any other.

import { copy, h } from "./dom.js";

const AROUND = 3;
const MOST_ROWS = 400;
// Beyond this many cells the longest common part is not looked for: all out, all in.
const MOST_CELLS = 400000;

const lines = (text) => (text === "" ? [] : text.replace(/\n$/, "").split("\n"));

/** Rows `[sign, text, old number, new number]` of both texts. */
export function diffRows(before, after) {
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
  if (a.length * b.length > MOST_CELLS || !a.length || !b.length) return whole;
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

export function diffStat(edits) {
  const rows = edits.flatMap((each) => diffRows(each.before, each.after));
  return { added: rows.filter(([sign]) => sign === "+").length, removed: rows.filter(([sign]) => sign === "-").length };
}

export function diffOf(path, before, after) {
  const rows = diffRows(before, after);
  const near = rows.map((_, place) => rows.slice(Math.max(0, place - AROUND), place + AROUND + 1).some(([sign]) => sign !== " "));
  const body = h("div.diff-rows", { tabIndex: 0, role: "group", "aria-label": `Changes to ${path ?? "a file"}` });
  let skipped = 0;
  const shown = rows.filter((_, place) => near[place]).length;
  for (const [place, [sign, text, old, fresh]] of rows.entries()) {
    if (!near[place]) {
      skipped += 1;
      continue;
    }
    if (skipped) body.append(h("div.diff-gap", {}, `${skipped} unchanged`));
    skipped = 0;
    if (body.childElementCount >= MOST_ROWS) continue;
    const kind = sign === "+" ? "add" : sign === "-" ? "del" : "same";
    const word = sign === "+" ? "added: " : sign === "-" ? "removed: " : "";
    body.append(
      h(`div.diff-row.${kind}`, {}, h("span.no.old", { "aria-hidden": "true" }, String(old ?? "")), h("span.no", { "aria-hidden": "true" }, String(fresh ?? "")), h("span.sign", { "aria-hidden": "true" }, sign === "-" ? "−" : sign), h("span.sr", {}, word), h("span.text", {}, text || " ")),
    );
  }
  if (shown > MOST_ROWS) body.append(h("div.diff-gap", {}, `${shown - MOST_ROWS} more lines`));
  const copyPath = path && h("button.quiet.small", { type: "button", onclick: () => copy(path) }, "Copy path");
  return h("div.diff", {}, h("div.code-head", {}, h("span.path", { title: path }, path ?? ""), copyPath), body);
}
