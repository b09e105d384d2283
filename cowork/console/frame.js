// What stands around a conversation: its head, and what is over the composer.

import { button, copy, count, drawing, emit, h, icon, iconButton, money, plural, span } from "./dom.js";

const BANNER_MS = 2000;

/** The project, its session, what that took so far; Stop. */
export class ChatHead {
  constructor({ onStop }) {
    this.title = h("h1");
    this.facts = h("div.head-facts");
    this.stop = h("button.danger.stop", { type: "button", hidden: true, onclick: onStop }, icon("stop"), "Stop");
    this.el = h("header.head", {}, iconButton("menu", "Projects", () => emit("rail", true), "quiet.open-rail"), this.title, this.facts, this.stop);
  }

  show({ project, session, turns, live }) {
    this.stop.hidden = !live.length;
    const title = session?.title || project;
    if (this.title.textContent !== title) this.title.textContent = title;
    this.title.title = project;
    const model = turns.findLast((turn) => turn.ended?.model)?.ended.model;
    const shape = JSON.stringify([session?.session_id, model, session?.context, session?.total_cost_usd]);
    if (shape !== this.shown) this.facts.replaceChildren(...factsOf(session, model));
    this.shown = shape;
  }
}

function factsOf(session, model) {
  const { session_id: id, context, total_cost_usd: cost } = session ?? {};
  return [
    id && h("button.quiet.small.mono.wide-only", { type: "button", title: `Session ${id}: copy`, "aria-label": `Copy the session id ${id.slice(0, 8)}…`, onclick: () => copy(id) }, id.slice(0, 8), icon("copy")),
    model && h("span.soft.wide-only", { title: "The model of the last answer" }, model.replace(/^claude-/, "")),
    context && ring(context),
    cost && h("span.soft.num", { title: "Cost of this session" }, money(cost)),
  ].filter(Boolean);
}

/** How full the model's context is, as a ring and a number. */
function ring({ tokens, limit }) {
  const share = Math.min(1, tokens / limit);
  const percent = Math.round(share * 100);
  const kind = share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "fine";
  const circle = (name, length) => ["circle", { cx: 10, cy: 10, r: 7.5, class: name, pathLength: 100, "stroke-dasharray": `${length * 100} 100` }];
  const drawn = drawing(`ring ${kind}`, "0 0 20 20", circle("whole", 1), circle("part", Math.max(share, 0.01)));
  return h("span.context.soft.num", { title: `Context: ${count(tokens)} of ${count(limit)} tokens`, role: "img", "aria-label": `Context ${percent}% used` }, drawn, `${percent}%`);
}

export class NowStrip {
  constructor() {
    this.word = h("span.now-word");
    this.facts = h("span.now-facts.num.soft");
    this.el = h("div.now", { hidden: true }, h("span.mark", { "aria-hidden": "true" }), this.word, this.facts, h("span.hint", {}, "Esc stops"));
  }

  show(turn) {
    this.el.hidden = !turn;
    if (!turn) return;
    turn.tick();
    const word = turn.state === "queued" ? `queued${turn.position ? `, ${plural(turn.position, "question")} before it` : ""}` : turn.now;
    if (this.word.textContent !== word) this.word.textContent = word;
    const facts = [span(Math.max(1000, performance.now() - turn.asked)), turn.facts.out ? `${count(turn.facts.out)} tokens` : "", money(turn.facts.cost || null)].filter(Boolean).join(" · ");
    if (this.facts.textContent !== facts) this.facts.textContent = facts;
  }
}

/** A connection that is lost, once it is lost for longer than a blink. */
export class Banner {
  el = h("div.banner", { role: "status", hidden: true });
  #lostAt = null;

  show(connection) {
    const lost = connection?.state === "lost" ? connection : null;
    this.#lostAt = lost ? (this.#lostAt ?? performance.now()) : null;
    const isLong = lost && performance.now() - this.#lostAt >= BANNER_MS;
    this.el.hidden = !isLong;
    const said = isLong ? `${lost.error?.message ?? "The connection is lost"}. The answer goes on where it was as soon as it is back; tried ${plural(lost.attempt, "time")}.` : "";
    const shown = said.replace(/^./, (first) => first.toUpperCase());
    if (this.el.textContent !== shown) this.el.textContent = shown;
  }
}

/** How many of a list's items `{text, state}` are done. */
export const doneOf = (items) => `${items.filter(({ state }) => state === "completed").length} of ${items.length}`;

export function todoList(items) {
  return h("ul.todo-list", {}, items.map(({ text, state }) => h(`li.${state}`, {}, h("span.mark", { "aria-hidden": "true" }, state === "completed" ? icon("check") : ""), h("span", {}, text), h("span.sr", {}, state.replace("_", " ")))));
}

export class TodoStrip {
  el = h("div.todos", { hidden: true });

  show(turn) {
    const items = turn?.isLive ? turn.todos : null;
    this.el.hidden = !items?.length;
    if (!items?.length || items === this.shown) return;
    this.shown = items;
    const now = items.find((item) => item.state === "in_progress");
    this.el.replaceChildren(h("details", { open: this.el.querySelector("details")?.open ?? false }, h("summary", {}, icon("fold"), h("span.num", {}, doneOf(items), now ? ` · ${now.text}` : "")), todoList(items)));
  }
}

/** Questions that wait for the running one. */
export class QueueStrip {
  el = h("div.queue", { hidden: true, role: "group", "aria-label": "Queue" });

  /** `takeOut` takes a turn out of the queue; `edit` does, and gives its text back to be written on. */
  constructor({ takeOut, edit }) {
    this.takeOut = takeOut;
    this.edit = edit;
  }

  show(queued) {
    const shape = queued.map((turn) => `${turn.id} ${turn.text}`).join("\n");
    this.el.hidden = !queued.length;
    if (shape === this.shown) return;
    this.shown = shape;
    this.el.replaceChildren(...queued.map((turn, place) => this.#chip(turn, place + 1)));
  }

  #chip(turn, number) {
    return h("span.chip", {}, h("span.num.soft", {}, `${number}.`), h("span.chip-text", {}, turn.text), button("Edit", () => this.edit(turn), "quiet.small"), iconButton("cross", `Take question ${number} out of the queue`, () => this.takeOut(turn)));
  }
}
