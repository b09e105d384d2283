// Small helpers: elements, icons, numbers as people read them, a bus for what others should know.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  send: "M8 13V3M3.5 7.5 8 3l4.5 4.5",
  stop: "M4.5 4.5h7v7h-7z",
  plus: "M8 3v10M3 8h10",
  clip: "M12.5 7.5 8 12a2.8 2.8 0 0 1-4-4l5-5a1.9 1.9 0 0 1 2.7 2.7l-5 5a.9.9 0 0 1-1.3-1.3L9.7 5.1",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  copy: "M5.5 5.5V3.2c0-.4.3-.7.7-.7h6.6c.4 0 .7.3.7.7v6.6c0 .4-.3.7-.7.7h-2.3M3.2 5.5h6.6c.4 0 .7.3.7.7v6.6c0 .4-.3.7-.7.7H3.2a.7.7 0 0 1-.7-.7V6.2c0-.4.3-.7.7-.7Z",
  fold: "m6 4 4 4-4 4",
  check: "m3.5 8.5 3 3 6-7",
  cross: "m4 4 8 8m0-8-8 8",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  down: "M8 3v10m4.5-4.5L8 13 3.5 8.5",
  options: "M2.5 5h6m3 0h2M2.5 11h2m3 0h6M10 3.3v3.4M6 9.3v3.4",
  side: "M3.2 3h9.6c.4 0 .7.3.7.7v8.6c0 .4-.3.7-.7.7H3.2a.7.7 0 0 1-.7-.7V3.7c0-.4.3-.7.7-.7ZM9.7 3v10",
  alert: "M8 2.5 14.5 13.5h-13L8 2.5ZM8 6.7v3M8 11.6h.01",
};

/** `h("button.quiet", {onclick}, "Text", element)`; null and false children are left out. */
export function h(what, given = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag || "div");
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An SVG of `shapes`, each `[tag, attributes]`, which says nothing by itself. */
export function drawing(kind, viewBox, ...shapes) {
  const make = (tag, given) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
    return made;
  };
  const drawn = make("svg", { class: kind, viewBox, "aria-hidden": "true" });
  drawn.append(...shapes.map((shape) => make(...shape)));
  return drawn;
}

export function icon(name) {
  return drawing("icon", "0 0 16 16", ["path", { d: ICONS[name] }]);
}

/** A button that shows an icon alone and has a name. */
export function iconButton(name, label, onclick, kind = "quiet") {
  return h(`button.${kind}.square`, { type: "button", title: label, "aria-label": label, onclick }, icon(name));
}

export function button(label, onclick, kind = "plain", more = {}) {
  return h(`button.${kind}`, { type: "button", onclick, ...more }, label);
}

const COUNT = new Intl.NumberFormat("en");
export const count = (number) => COUNT.format(number);
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

export function money(usd) {
  if (usd === null || usd === undefined) return "";
  return usd === 0 ? "$0" : usd < 0.01 ? "<$0.01" : `$${usd.toFixed(2)}`;
}

export function span(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (ms < 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A time that runs down: 4:05, or 2 h 10 min. */
export function clock(ms) {
  const seconds = Math.ceil(ms / 1000);
  return seconds < 3600 ? `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` : span(ms);
}

export function bytes(number) {
  if (number === null || number === undefined) return "";
  return number < 1e6 ? `${Math.max(1, Math.round(number / 1024))} kB` : `${(number / 1048576).toFixed(number < 1e8 ? 1 : 0)} MB`;
}

export function ago(text) {
  const seconds = Math.max(0, (Date.now() - Date.parse(text)) / 1000);
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function cut(text, length) {
  const line = String(text ?? "").slice(0, length * 4).replace(/\s+/g, " ").trim();
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}

// What is drawn as nothing or as a space, or turns the text around it; the end of a line may have "\r".
const UNSEEN = /\r(?!\n|$)|[^\P{C}\n\t\r]|\p{DI}|[\p{Zl}\p{Zp}\u2800]|(?! )\p{Zs}/gu;

/** Text that a person decides by, as it is: characters that would not be seen by their numbers. */
export const visible = (text) => String(text ?? "").replace(UNSEEN, (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`);

/** Short news for a screen reader and, for two seconds, for the eye. */
export function toast(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => {
    place.classList.remove("shown");
    place.textContent = "";
  }, 2000);
}

export function announce(text) {
  document.getElementById("live").textContent = text;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https the clipboard is not to be had that way.
    const field = h("textarea.sr", {}, text);
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  toast("Copied");
}

/** What this tab keeps over a reload; gone with the tab. */
export const kept = {
  get(name, otherwise = null) {
    try {
      return JSON.parse(sessionStorage.getItem(`cowork:${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(name, value) {
    try {
      if (value === null || value === "") sessionStorage.removeItem(`cowork:${name}`);
      else sessionStorage.setItem(`cowork:${name}`, JSON.stringify(value));
    } catch {
      // Full, or switched off: it is lost at a reload.
    }
  },
};

const listeners = new Map();
export function on(name, listener) {
  listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}
export function emit(name, fact) {
  for (const listener of listeners.get(name) ?? []) listener(fact);
}

// What was opened or closed by hand, over a reload; by the ids of tools and the places of thoughts.
const MOST_FOLDS = 200;
const folds = new Map(Object.entries(kept.get("folds", {})));

/** Whether it is to be open; null where nobody touched it. */
export const foldOf = (name) => folds.get(name) ?? null;

function keep(name, isOpen) {
  folds.delete(name);
  folds.set(name, isOpen);
  if (folds.size > MOST_FOLDS) folds.delete(folds.keys().next().value);
  kept.set("folds", Object.fromEntries(folds));
}

/** Make `head` open and close `body`; `fill` is called before it opens. Returns what does so from elsewhere. */
export function foldable(name, head, body, fill = () => {}) {
  const show = (isOpen) => {
    if (isOpen) fill();
    body.hidden = !isOpen;
    head.setAttribute("aria-expanded", String(isOpen));
  };
  head.addEventListener("click", () => {
    keep(name, body.hidden);
    show(body.hidden);
  });
  show(folds.get(name) ?? false);
  return show;
}
