// The chat: a project's head, its turns, and at the foot the composer or what waits for a person.

import { Composer } from "./composer.js";
import { AGAIN_MS, EVENTS, conversationOf } from "./conversation.js";
import { Dock } from "./dock.js";
import { button, copy, count, emit, h, icon, iconButton, money, on, plural, span, toast } from "./dom.js";
import { errorCard, lostTurn } from "./errors.js";
import { EXAMPLES, demoStrip } from "./examples.js";
import { closeMenu } from "./menu.js";
import { client, features, known } from "./server.js";

const NEAR_END = 60;
const BANNER_MS = 2000;
const SKELETON_MS = 300;
// So long after an answer of this page the session's count of turns grows by that one.
const OWN_MS = 8000;
// A process that idles is kept for longer than that.
const WARM_MS = 60000;

export class ChatView {
  constructor(rail) {
    this.rail = rail;
    this.conversation = null;
    this.follows = true;
    this.composer = new Composer({
      ask: (text, options) => this.ask(text, options),
      steer: (text) => this.conversation.steer(text),
      warm: () => this.#warm(),
      lastQuestion: () => this.conversation?.turns.at(-1)?.text,
    });
    this.dock = new Dock({ onDecided: (id) => this.conversation.decided.add(id), onGone: (id, fault) => this.#gone(id, fault) });
    this.#makeHead();
    this.stream = h("div.stream", { tabIndex: 0, role: "region", "aria-label": "Conversation" });
    this.pill = h("button.pill", { type: "button", hidden: true, onclick: () => this.toEnd() }, icon("down"), "New text");
    this.banner = h("div.banner", { role: "status", hidden: true });
    this.todos = h("div.todos", { hidden: true });
    this.now = h("div.now", { hidden: true }, h("span.mark", { "aria-hidden": "true" }), (this.nowWord = h("span.now-word")), (this.nowFacts = h("span.num.soft")), h("span.hint", {}, "Esc stops"));
    this.demo = h("div");
    this.queue = h("div.queue", { hidden: true, role: "group", "aria-label": "Queue" });
    this.el = h("div.chat", {}, this.stream, h("div.base", {}, this.pill, this.banner, this.queue, this.now, this.todos, this.demo, this.dock.el, this.composer.el));
    this.stream.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.follows && this.toEnd()).observe(this.stream);
    this.el.addEventListener("dragover", (event) => event.preventDefault());
    this.el.addEventListener("drop", (event) => {
      event.preventDefault();
      this.composer.add(event.dataTransfer.files);
    });
    on("ask", ({ text, options }) => this.ask(text, options));
    on("edit", ({ text }) => {
      this.composer.set(text);
      this.composer.focus();
    });
    on("drawn", () => this.follows && this.toEnd());
    on("features", () => {
      this.stream.querySelector(".empty")?.remove();
      this.#changed(null);
    });
    on("listed", (sessions) => this.#listed(sessions));
    setInterval(() => this.#second(), 1000);
    document.addEventListener("visibilitychange", () => this.#draw());
  }

  #makeHead() {
    this.title = h("h1");
    this.sub = h("div.head-facts");
    this.stop = h("button.danger.stop", { type: "button", hidden: true, onclick: () => this.conversation.stop() }, icon("stop"), "Stop");
    this.head = h("header.head", {}, iconButton("menu", "Projects", () => emit("rail", true), "quiet.open-rail"), this.title, this.sub, this.stop);
  }

  async open(project, turn = null) {
    if (this.conversation?.project !== project) {
      if (this.conversation) this.conversation.listener = null;
      this.conversation = conversationOf(project);
      this.conversation.listener = (changed) => this.#changed(changed);
      this.composer.open(project);
      this.dock.show([]);
      this.follows = true;
      this.#title();
      this.stream.replaceChildren(this.conversation.el);
      this.rail.choose(project);
    }
    const { conversation } = this;
    const late = setTimeout(() => conversation === this.conversation && !conversation.turns.length && this.stream.prepend(skeleton()), SKELETON_MS);
    try {
      await conversation.load();
      this.stream.querySelector(".fault-place")?.remove();
      if (conversation !== this.conversation) return;
      if (turn && !conversation.turns.some((each) => each.id === turn)) await this.#strange(turn);
    } catch (fault) {
      if (conversation !== this.conversation) return;
      this.stream.querySelector(".fault-place")?.remove();
      if (fault.code !== "unauthorized") this.stream.prepend(h("div.fault-place", {}, errorCard(fault, { again: () => this.reload(), project })));
      else emit("key-wanted");
      if (fault.isPassing) setTimeout(() => conversation === this.conversation && !conversation.loaded && this.reload(), AGAIN_MS);
    } finally {
      clearTimeout(late);
      this.stream.querySelector(".skeleton")?.remove();
    }
    if (conversation !== this.conversation) return;
    this.#changed(null);
    const wanted = turn && conversation.turns.find((each) => each.id === turn);
    const lost = this.stream.querySelector(".fault-place");
    if (lost) {
      this.follows = false;
      this.stream.scrollTop = 0;
      this.height = this.stream.scrollHeight;
    } else if (wanted && wanted !== conversation.turns.at(-1)) wanted.el.scrollIntoView({ block: "start" });
    else this.toEnd();
  }

  reload() {
    this.open(this.conversation.project);
  }

  /** A link to a turn that the conversation does not show. */
  async #strange(id) {
    try {
      const told = await client.turn(id);
      if (told.project_id !== this.conversation.project) {
        location.hash = `#/chat/${encodeURIComponent(told.project_id)}/${id}`;
        return;
      }
      if (told.state === "running" || told.state === "queued") this.conversation.attach(id);
    } catch (fault) {
      if (fault.code === "unauthorized") throw fault;
      this.stream.prepend(h("div.fault-place", {}, lostTurn(id, this.conversation, fault)));
    }
  }

  async ask(text, options) {
    const { conversation } = this;
    // Whether a question may ask for approvals is the server's to say.
    await known();
    const given = options ?? this.composer.options.values();
    this.follows = true;
    const turn = conversation.ask(text, given);
    this.#changed(turn);
    this.toEnd();
  }

  /** Have a process ready by the time that the question is written, where the project has none. */
  #warm() {
    const { conversation } = this;
    const isWarm = performance.now() - (conversation.warmedAt ?? -WARM_MS) < WARM_MS;
    if (isWarm || conversation.live.length || conversation.session?.process) return;
    conversation.warmedAt = performance.now();
    const asks = features.approvals === "optional" && this.composer.options.approvals;
    // What is wrong with it is said when the question is asked.
    client.warm(conversation.project, { events: EVENTS, ...(asks ? { approvals: true } : {}) }).catch(() => {});
  }

  leave() {
    closeMenu();
  }

  toEnd() {
    this.follows = true;
    this.pill.hidden = true;
    this.stream.scrollTop = this.stream.scrollHeight;
  }

  #scrolled() {
    const left = this.stream.scrollHeight - this.stream.scrollTop - this.stream.clientHeight;
    // Whoever goes up stays there; that the frame around it changes its size moves nobody.
    if (left < NEAR_END) this.follows = true;
    else if (this.stream.scrollTop < this.top - 1) this.follows = false;
    this.top = this.stream.scrollTop;
    if (this.follows) this.pill.hidden = true;
  }

  #changed(turn) {
    this.dirty ??= new Set();
    if (turn) this.dirty.add(turn);
    // A tab that nobody sees has no frames, but its title tells what waits.
    this.frame ??= document.hidden ? setTimeout(() => this.#draw(), 250) : requestAnimationFrame(() => this.#draw());
  }

  /** Once for each frame of the screen, whatever came meanwhile. */
  #draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    const { conversation } = this;
    if (!conversation) return;
    const before = this.height;
    const dirty = this.dirty ?? [];
    this.dirty = new Set();
    // First, so that what waits for a person is there whatever becomes of a text.
    this.#parts();
    for (const turn of dirty) turn.flush();
    this.height = this.stream.scrollHeight;
    if (this.follows) this.stream.scrollTop = this.height;
    else if (this.height > before && conversation.live.length) this.pill.hidden = false;
  }

  #parts() {
    const { conversation } = this;
    const { running, queued } = conversation;
    const { waiting } = conversation;
    const had = this.dock.isOpen;
    this.dock.show(waiting);
    this.composer.el.hidden = this.dock.isOpen;
    if (had && !this.dock.isOpen) this.composer.focus();
    this.composer.busy(Boolean(conversation.live.length), queued.length);
    this.stop.hidden = !conversation.live.length;
    this.#empty();
    this.#title();
    this.#todos(running ?? conversation.turns.at(-1));
    this.#queue(queued);
    this.#second();
    this.rail.tell(conversation.project, conversation.live.length ? { state: waiting.length ? "waiting" : "running", queued: queued.length } : null);
    const turn = running ?? conversation.turns.at(-1);
    if (turn?.id && running) this.#address(turn);
    emit("conversation", conversation);
  }

  /** The running turn stands in the address, so that a reload and a copied link lead to it. */
  #address(turn) {
    const wanted = this.conversation.hash(turn);
    if (location.hash.startsWith("#/chat") && location.hash !== wanted) history.replaceState(null, "", wanted);
  }

  #empty() {
    const { conversation } = this;
    const isEmpty = !conversation.turns.length && conversation.loaded;
    const shown = this.stream.querySelector(".empty");
    const earlier = this.stream.querySelector(".earlier");
    if (isEmpty && !shown) this.stream.append(this.#emptyState());
    if (!isEmpty) shown?.remove();
    if (conversation.hasEarlier && !earlier) {
      const show = button("Show earlier turns", async () => {
        show.disabled = true;
        await conversation.showEarlier().catch((fault) => toast(fault.message));
        const height = this.stream.scrollHeight;
        show.remove();
        this.stream.scrollTop += this.stream.scrollHeight - height;
        this.#changed(null);
      }, "plain.earlier");
      this.stream.prepend(show);
    }
    if (features.demo && !this.demo.hasChildNodes()) this.demo.replaceChildren(demoStrip((text) => this.ask(text)));
    this.demo.hidden = this.dock.isOpen || Boolean(conversation.live.length);
  }

  #emptyState() {
    const examples = features.demo ? EXAMPLES.demo : EXAMPLES.real;
    return h(
      "div.empty",
      {},
      h("h2", {}, "What is to be done?"),
      h("p.soft", {}, features.demo ? "This is the demo model: it cannot think, but everything between its words and you is real. Ask below, or begin with one of these." : "Ask below, or begin with one of these."),
      h("div.examples", {}, examples.map(([label, text, note]) => h("button.example", { type: "button", onclick: () => this.ask(text) }, h("span", {}, label), h("span.soft.small-text", {}, note)))),
    );
  }

  #title() {
    const { project, session } = this.conversation;
    this.title.textContent = session?.title || project;
    this.title.title = project;
    const ended = this.conversation.turns.findLast((turn) => turn.ended?.model)?.ended;
    const facts = [];
    if (session?.session_id) facts.push(h("button.quiet.small.mono.wide-only", { type: "button", title: `Session ${session.session_id}: copy`, "aria-label": `Copy the session id ${session.session_id.slice(0, 8)}…`, onclick: () => copy(session.session_id) }, session.session_id.slice(0, 8), icon("copy")));
    if (ended?.model) facts.push(h("span.soft.wide-only", { title: "The model of the last answer" }, ended.model.replace(/^claude-/, "")));
    if (session?.context) facts.push(ring(session.context));
    if (session?.total_cost_usd) facts.push(h("span.soft.num", { title: "Cost of this session" }, money(session.total_cost_usd)));
    const shape = JSON.stringify([session?.session_id, ended?.model, session?.context, session?.total_cost_usd]);
    if (shape !== this.titled) this.sub.replaceChildren(...facts);
    this.titled = shape;
  }

  #todos(turn) {
    const items = turn?.isLive ? turn.todos : null;
    this.todos.hidden = !items?.length;
    if (!items?.length || items === this.shownTodos) return;
    this.shownTodos = items;
    const done = items.filter((item) => item.state === "completed").length;
    const now = items.find((item) => item.state === "in_progress");
    const list = h("ul.todo-list", {}, items.map((item) => h(`li.${item.state}`, {}, h("span.mark", { "aria-hidden": "true" }, item.state === "completed" ? icon("check") : ""), h("span", {}, item.text), h("span.sr", {}, item.state.replace("_", " ")))));
    this.todos.replaceChildren(h("details", { open: this.todos.querySelector("details")?.open ?? false }, h("summary", {}, icon("fold"), h("span.num", {}, `${done} of ${items.length}`, now ? ` · ${now.text}` : "")), list));
  }

  #queue(queued) {
    const shape = queued.map((turn) => `${turn.id} ${turn.text}`).join("\n");
    this.queue.hidden = !queued.length;
    if (shape === this.queued) return;
    this.queued = shape;
    this.queue.replaceChildren(
      ...queued.map((turn, place) => h("span.chip", {}, h("span.num.soft", {}, `${place + 1}.`), h("span.chip-text", {}, turn.text), button("Edit", async () => {
        const text = await this.conversation.unqueue(turn);
        this.composer.set(text);
        this.composer.focus();
      }, "quiet.small"), iconButton("cross", `Take question ${place + 1} out of the queue`, () => this.conversation.unqueue(turn)))),
    );
  }

  /** What runs, for how long, and whether the connection is there. */
  #second() {
    const turn = this.conversation?.running ?? this.conversation?.queued[0];
    this.now.hidden = !turn || this.dock.isOpen;
    if (turn) {
      turn.tick();
      const word = turn.state === "queued" ? `queued${turn.position ? `, ${plural(turn.position, "question")} before it` : ""}` : turn.now;
      if (this.nowWord.textContent !== word) this.nowWord.textContent = word;
      const facts = [span(Math.max(1000, performance.now() - turn.asked)), turn.facts.out ? `${count(turn.facts.out)} tokens` : "", money(turn.facts.cost || null)];
      this.nowFacts.textContent = facts.filter(Boolean).join(" · ");
    }
    const lost = turn?.connection?.state === "lost" ? turn.connection : null;
    this.lostAt = lost ? (this.lostAt ?? performance.now()) : null;
    const isLong = lost && performance.now() - this.lostAt >= BANNER_MS;
    this.banner.hidden = !isLong;
    const said = isLong ? `${lost.error?.message ?? "The connection is lost"}. The answer goes on where it was as soon as it is back; tried ${plural(lost.attempt, "time")}.` : "";
    if (this.banner.textContent !== said) this.banner.textContent = said.replace(/^./, (first) => first.toUpperCase());
  }

  async #gone(id, fault) {
    for (const turn of this.conversation.turns) turn.waiting.delete(id);
    if (fault) {
      const { decided_by: by, decision } = fault.detail ?? {};
      toast(fault.code === "approval_resolved" ? `Already answered${by ? ` by ${by}` : " elsewhere"}: ${decision}` : fault.message);
    }
    this.#changed(null);
  }

  /** The list of sessions tells of turns that others ask here, and what this one took. */
  #listed(sessions) {
    const { conversation } = this;
    const session = conversation && sessions.find((each) => each.project_id === conversation.project);
    if (!session) return;
    const before = conversation.session;
    conversation.session = session;
    const isAsked = session.state !== "idle" && !conversation.live.length;
    const isOwn = performance.now() - (conversation.endedAt ?? -OWN_MS) < OWN_MS;
    const isFurther = before && session.turns > before.turns && !conversation.live.length && !isOwn;
    if (isAsked && conversation.loaded && !isFurther && !session.queued && session.running_turn_id) conversation.join(session.running_turn_id);
    else if ((isAsked || isFurther) && conversation.loaded) {
      conversation.loaded = null;
      conversation.load().catch(() => {});
    }
    this.#changed(null);
  }
}

function skeleton() {
  return h("div.skeleton", { role: "status", "aria-label": "Reading the conversation" }, h("div.bone.short"), h("div.bone"), h("div.bone"));
}

/** How full the model's context is, as a ring and a number. */
function ring({ tokens, limit }) {
  const share = Math.min(1, tokens / limit);
  const percent = Math.round(share * 100);
  const kind = share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "fine";
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawn.setAttribute("viewBox", "0 0 20 20");
  drawn.setAttribute("class", `ring ${kind}`);
  drawn.setAttribute("aria-hidden", "true");
  for (const [name, length] of [["whole", 1], ["part", Math.max(share, 0.01)]]) {
    const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [key, value] of Object.entries({ cx: 10, cy: 10, r: 7.5, class: name, pathLength: 100, "stroke-dasharray": `${length * 100} 100` })) circle.setAttribute(key, value);
    drawn.append(circle);
  }
  return h("span.context.soft.num", { title: `Context: ${count(tokens)} of ${count(limit)} tokens`, role: "img", "aria-label": `Context ${percent}% used` }, drawn, `${percent}%`);
}
