// The console: routes, the key, the keyboard; each view is a module of its own.

import { ChatView } from "./chat.js";
import { forget, liveTurns } from "./conversation.js";
import { button, cut, emit, h, iconButton, kept, on, toast } from "./dom.js";
import { lostCard } from "./errors.js";
import { ask as askDialog, closeMenu, goTo } from "./menu.js";
import { Rail, setTitle } from "./rail.js";
import "./seen.js";
import { client, features, known, look, setKey } from "./server.js";
import { Side } from "./side.js";

const main = document.getElementById("main");
const stage = document.getElementById("stage");
const rail = new Rail(document.getElementById("rail"));
const chat = new ChatView(rail);
const scrim = document.getElementById("scrim");
const side = new Side(document.getElementById("side"));
chat.head.append(side.button);
const tables = () => import("./tables.js");
const LOADERS = { sessions: tables, processes: tables, health: () => import("./health.js") };
let shown = null;

function routeOf(hash) {
  const [view = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  const decoded = rest.map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { view: view || "chat", rest: decoded };
}

async function show() {
  closeMenu();
  document.body.classList.remove("rail-open");
  if (side.isOverlay) side.toggle(false);
  const { view, rest } = routeOf(location.hash);
  if (view === "demo") {
    location.replace("#/chat");
    return;
  }
  if (view === "new") {
    history.replaceState(null, "", kept.get("place", "#/chat"));
    newProject();
    return;
  }
  shown?.leave?.();
  rail.view(view);
  document.body.dataset.view = view;
  if (view !== "chat") {
    rail.choose(null);
    const open = Object.hasOwn(LOADERS, view) ? (await LOADERS[view]())[view] : () => ({ el: nowhere() });
    if (routeOf(location.hash).view !== view) return;
    const made = open();
    shown = made;
    const name = LOADERS[view] ? `${view[0].toUpperCase()}${view.slice(1)}` : "Not found";
    // It may be longer than the screen, with nothing in it to go to by the keyboard.
    Object.assign(made.el, { tabIndex: 0, role: "region", ariaLabel: name });
    place(pageHead(name), made.el);
    setTitle(name);
    return;
  }
  const [project, turn] = rest;
  if (!project) {
    location.replace(`#/chat/${encodeURIComponent(await firstProject())}`);
    return;
  }
  kept.set("place", location.hash);
  if (shown !== chat) {
    place(chat.head, chat.el);
    chat.dock.settle();
  }
  shown = chat;
  rail.choose(project);
  const isWide = matchMedia("(min-width: 720px)").matches;
  chat.open(project, turn || null);
  if (isWide && !chat.dock.isOpen && !rail.el.contains(document.activeElement)) chat.composer.focus();
}

function place(head, view) {
  stage.querySelector("header")?.replaceWith(head);
  main.replaceChildren(view);
}

/** An address that the page does not know. */
const nowhere = () => h("div.page", {}, lostCard("There is no such page", location.hash, null, [["#/chat", "Chat"], ["#/sessions", "Sessions"], ["#/processes", "Processes"], ["#/health", "Health"]]));

function pageHead(title) {
  return h("header.head", {}, iconButton("menu", "Projects", () => emit("rail", true), "quiet.open-rail"), h("h1", { tabIndex: -1 }, title));
}

/** Where `#/chat` leads: what was open last, else the newest project, else a first one. */
async function firstProject() {
  const { rest } = routeOf(kept.get("place", ""));
  if (rest[0]) return rest[0];
  if (!rail.sessions.length) await rail.refresh();
  await known();
  const name = rail.sessions[0]?.project_id;
  return name && !features.demo ? name : "my-project";
}

async function newProject() {
  const names = new Set(rail.sessions.map((each) => each.project_id));
  let number = names.size + 1;
  while (names.has(`project-${number}`)) number += 1;
  const given = await askDialog("New project", { text: "Its session begins with its first question.", fields: [["name", "Name", `project-${number}`]], yes: "Begin" });
  if (given?.name) location.hash = `#/chat/${encodeURIComponent(given.name.slice(0, 200))}`;
}

// The key

let asking = false;
async function wantKey() {
  if (asking) return;
  asking = true;
  const had = Boolean(kept.get("key"));
  const body = h("p.soft.small-text", {}, "It is one of COWORK_API_KEYS or of COWORK_API_KEYS_FILE; ", h("code", {}, "make key"), " makes one. It stays in this tab and goes with it.");
  const given = await askDialog(had ? "This key is not taken" : "An API key is needed", { body, fields: [["key", "API key", ""]], yes: "Use it" });
  asking = false;
  if (given === null) {
    rail.draw();
    return;
  }
  setKey(given.key);
  await Promise.all([rail.refresh(), look().catch(() => null)]);
  if (!rail.fault) {
    toast("The key is taken");
    if (shown === chat) chat.reload();
    else show();
  }
}

on("key-wanted", wantKey);
on("rail", (isOpen) => {
  document.body.classList.toggle("rail-open", isOpen);
  if (isOpen) rail.filter.focus();
});
on("delete-session", async (project) => {
  const given = await askDialog(`Delete the session of ${cut(project, 60)}?`, {
    text: "What was said in it, its turns, the CLI's transcript and checkpoints are gone for good. Files in the workspace stay.",
    yes: "Delete",
    danger: true,
  });
  if (!given) return;
  try {
    const { message } = await client.deleteSession(project);
    forget(project);
    toast(message);
    emit("sessions");
    emit("deleted", project);
    if (shown === chat && chat.conversation?.project === project) {
      chat.conversation = null;
      chat.open(project);
    }
  } catch (fault) {
    toast(fault.message);
  }
});

// Other tabs of this browser

if ("BroadcastChannel" in globalThis) {
  const channel = new BroadcastChannel("cowork");
  on("turn", (fact) => channel.postMessage(fact));
  channel.addEventListener("message", ({ data }) => {
    rail.refresh();
    const { conversation } = chat;
    if (conversation?.project === data.project && !conversation.live.some((turn) => turn.id === data.turn || !turn.id)) {
      conversation.loaded = null;
      conversation.load().catch(() => {});
    }
  });
}

// The keyboard

const KEYS = [
  ["/", "Filter projects"],
  ["j, k", "Next and previous: turn, row or project, where the focus is"],
  ["Enter", "Open; on a turn: what can be done with it; in the composer: send"],
  ["Shift Enter", "New line"],
  ["Ctrl Enter", "Interrupt and ask"],
  ["↑", "Edit the last question"],
  ["Esc", "Stop the answer; close what is open"],
  ["Ctrl K", "Go to a project"],
  ["n", "New project"],
  ["c", "To the composer"],
  ["A, S, D, E", "Allow, for this session, deny, edit what waits for you"],
  ["1 to 9", "Choose an answer"],
  ["p", "Side panel: changes, todos, processes"],
  ["?", "This list"],
];

function help() {
  const rows = KEYS.map(([key, says]) => h("div.key-row", {}, h("span", {}, key.split(/[ ,]+/).map((each) => (each === "to" ? "to" : h("kbd", {}, each)))), h("span", {}, says)));
  askDialog("Keys", { body: h("div.keys", {}, rows), yes: "Close", no: null });
}

async function goToProject() {
  const name = await goTo(rail.sessions);
  if (name !== null) location.hash = `#/chat/${encodeURIComponent(name)}`;
}

/** What j and k move the focus among: the projects, the turns, or the rows of a table. */
function movable() {
  const isAtRail = rail.el.contains(document.activeElement);
  if (!isAtRail && shown === chat) return [...chat.stream.querySelectorAll(".turn")];
  const rows = isAtRail ? [] : [...main.querySelectorAll("tbody tr")].map((row) => row.querySelector("a, button")).filter(Boolean);
  return rows.length ? rows : rail.links;
}

function move(step) {
  const found = movable();
  if (!found.length) return;
  const now = found.findIndex((each) => each.contains(document.activeElement));
  const first = found.findIndex((each) => each.getAttribute("aria-current"));
  // Without a place among turns, the last one is the nearest.
  const from = now >= 0 ? now + step : first >= 0 ? first + step : found[0].matches(".turn") ? found.length - 1 : 0;
  const next = found[Math.max(0, Math.min(found.length - 1, from))];
  if (next.matches(".turn")) next.tabIndex = -1;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: next.matches(".turn") ? "start" : "nearest" });
}

function escape() {
  if (closeMenu()) return;
  if (document.body.classList.contains("rail-open")) emit("rail", false);
  else if (side.isOverlay) side.toggle(false);
  else if (shown === chat && !chat.composer.options.el.hidden) chat.composer.toggleOptions();
  else if (document.activeElement === rail.filter) rail.filter.blur();
  else if (shown === chat && chat.conversation?.live.length) chat.conversation.stop();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    goToProject();
    return;
  }
  if (event.key === "Escape") {
    escape();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "Enter" && event.target.matches(".turn")) {
    event.preventDefault();
    event.target.querySelector(".foot .actions button:last-child")?.click();
    return;
  }
  const act = {
    "/": () => rail.filter.focus(),
    "?": help,
    n: newProject,
    c: () => shown === chat && chat.composer.focus(),
    p: () => shown === chat && side.toggle(),
    j: () => move(1),
    k: () => move(-1),
  }[event.key];
  if (!act || (shown === chat && chat.dock.isOpen && event.target.closest(".dock"))) return;
  event.preventDefault();
  act();
});

addEventListener("hashchange", show);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  if (shown !== chat) main.querySelector("a, button, [tabindex]")?.focus();
  else if (chat.dock.isOpen) chat.dock.el.focus();
  else chat.composer.focus();
});
scrim.addEventListener("click", () => {
  emit("rail", false);
  if (side.isOverlay) side.toggle(false);
});

async function lookAfterHealth() {
  try {
    const { ready } = await look();
    rail.health(ready);
  } catch {
    // The list says what is wrong with the server.
  }
  setTimeout(lookAfterHealth, document.hidden ? 60000 : 20000);
}

const footing = h("div.rail-foot", {}, button("Keys", help, "quiet.small"), h("a.quiet.small", { href: "docs" }, "API"), button("Forget the key", () => {
  setKey(null);
  location.reload();
}, "quiet.small.forget"));
rail.el.append(footing);
footing.querySelector(".forget").hidden = !kept.get("key");
rail.refresh();
show();
lookAfterHealth();
globalThis.addEventListener("pagehide", () => liveTurns().forEach((turn) => turn.abort?.abort()));
