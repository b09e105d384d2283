// The console: routes, the key, the keyboard; each view is a module of its own.

import { ChatView } from "./chat.js";
import { forget, liveTurns } from "./conversation.js";
import { button, cut, emit, h, iconButton, kept, on, toast } from "./dom.js";
import { ask as askDialog, closeMenu } from "./menu.js";
import { Rail } from "./rail.js";
import "./seen.js";
import { client, setKey } from "./server.js";

const main = document.getElementById("main");
const stage = document.getElementById("stage");
const rail = new Rail(document.getElementById("rail"));
const chat = new ChatView(rail);
const LOADERS = {
  sessions: () => import("./sessions.js"),
  processes: () => import("./processes.js"),
  health: () => import("./health.js"),
};
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
  const { view, rest } = routeOf(location.hash);
  if (view === "demo") {
    kept.set("demo", true);
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
  if (LOADERS[view]) {
    rail.choose(null);
    const { open } = await LOADERS[view]();
    if (routeOf(location.hash).view !== view) return;
    const made = open();
    shown = made;
    place(pageHead(view), made.el);
    document.title = `${view[0].toUpperCase()}${view.slice(1)} · XO Cowork`;
    return;
  }
  const [project, turn] = rest;
  if (!project) {
    location.replace(`#/chat/${encodeURIComponent(await firstProject())}`);
    return;
  }
  kept.set("place", location.hash);
  if (shown !== chat) place(chat.head, chat.el);
  shown = chat;
  const isWide = matchMedia("(min-width: 720px)").matches;
  chat.open(project, turn || null);
  if (isWide && !chat.dock.isOpen && !rail.el.contains(document.activeElement)) chat.composer.focus();
}

function place(head, view) {
  stage.querySelector("header")?.replaceWith(head);
  main.replaceChildren(view);
}

function pageHead(view) {
  const title = view[0].toUpperCase() + view.slice(1);
  return h("header.head", {}, iconButton("menu", "Projects", () => emit("rail", true), "quiet.open-rail"), h("h1", { tabIndex: -1 }, title));
}

/** Where `#/chat` leads: what was open last, else the newest project, else a first one. */
async function firstProject() {
  const { rest } = routeOf(kept.get("place", ""));
  if (rest[0]) return rest[0];
  if (!rail.sessions.length) await rail.refresh();
  const name = rail.sessions[0]?.project_id;
  return name && !kept.get("demo") ? name : "my-project";
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
  await rail.refresh();
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
  ["j, k", "Next and previous project or turn"],
  ["Enter", "Open; in the composer: send"],
  ["Shift Enter", "New line"],
  ["Ctrl Enter", "Interrupt and ask"],
  ["↑", "Edit the last question"],
  ["Esc", "Stop the answer; close what is open"],
  ["Ctrl K", "Go to a project"],
  ["n", "New project"],
  ["c", "To the composer"],
  ["A, S, D, E", "Allow, for this session, deny, edit what waits for you"],
  ["?", "This list"],
];

function help() {
  const rows = KEYS.map(([key, says]) => h("div.key-row", {}, h("span", {}, key.split(" ").map((each) => h("kbd", {}, each))), h("span", {}, says)));
  askDialog("Keys", { body: h("div.keys", {}, rows), yes: "Close" });
}

async function goTo() {
  const list = h("datalist", { id: "projects-known" }, rail.sessions.map((each) => h("option", { value: each.project_id })));
  const dialog = askDialog("Go to a project", { body: list, fields: [["name", "Name", ""]], yes: "Open" });
  document.getElementById("ask-name")?.setAttribute("list", "projects-known");
  const given = await dialog;
  if (!given?.name) return;
  const wanted = given.name.toLowerCase();
  const found = rail.sessions.find((each) => each.project_id.toLowerCase().includes(wanted));
  location.hash = `#/chat/${encodeURIComponent(found?.project_id ?? given.name)}`;
}

function escape() {
  if (closeMenu()) return;
  if (document.body.classList.contains("rail-open")) emit("rail", false);
  else if (shown === chat && !chat.composer.options.el.hidden) chat.composer.toggleOptions();
  else if (document.activeElement === rail.filter) rail.filter.blur();
  else if (shown === chat && chat.conversation?.live.length) chat.conversation.stop();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    goTo();
    return;
  }
  if (event.key === "Escape") {
    escape();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const act = {
    "/": () => rail.filter.focus(),
    "?": help,
    n: newProject,
    c: () => shown === chat && chat.composer.focus(),
    j: () => rail.move(1),
    k: () => rail.move(-1),
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
document.getElementById("scrim").addEventListener("click", () => emit("rail", false));

async function lookAfterHealth() {
  try {
    const { ready } = await client.health();
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
