// The chat: a project's head, its turns, and at the foot the composer or what waits for a person.

import { Composer } from "./composer.js";
import { AGAIN_MS, conversationOf } from "./conversation.js";
import { Dock } from "./dock.js";
import { button, emit, h, icon, kept, on, toast } from "./dom.js";
import { errorCard, lostTurn } from "./errors.js";
import { demoStrip, emptyState } from "./examples.js";
import { Follow } from "./follow.js";
import { Banner, ChatHead, NowStrip, QueueStrip, TodoStrip } from "./frame.js";
import { closeMenu } from "./menu.js";
import { EVENTS } from "./reading.js";
import { client, features, known } from "./server.js";

const SKELETON_MS = 300;
// A page that is not seen has no frames; what its title tells is brought up to date this often.
const HIDDEN_MS = 500;
// So long after an answer of this page the session's count of turns grows by that one.
const OWN_MS = 8000;
// A process that idles is kept for longer than that.
const WARM_MS = 60000;

export class ChatView {
  constructor(rail) {
    this.rail = rail;
    this.conversation = null;
    this.dirty = new Set();
    this.composer = new Composer({
      ask: (text, options) => this.ask(text, options),
      steer: (text) => this.conversation.steer(text),
      warm: () => this.#warm(),
      lastQuestion: () => this.conversation?.turns.at(-1)?.text,
    });
    this.dock = new Dock({ onDecided: (id) => this.conversation.decided.add(id), onGone: (id, fault) => this.#gone(id, fault) });
    this.top = new ChatHead({ onStop: () => this.conversation.stop() });
    this.head = this.top.el;
    this.now = new NowStrip();
    this.banner = new Banner();
    this.todos = new TodoStrip();
    this.queue = new QueueStrip({ takeOut: (turn) => this.conversation.unqueue(turn), edit: async (turn) => this.#edit(await this.conversation.unqueue(turn)) });
    this.#build();
    this.#listen();
  }

  #build() {
    this.stream = h("div.stream", { tabIndex: 0, role: "region", "aria-label": "Conversation" });
    this.pill = h("button.pill", { type: "button", hidden: true, onclick: () => this.follow.toEnd() }, icon("down"), "New text");
    this.follow = new Follow(this.stream, this.pill);
    this.demo = h("div.demo-place");
    const { now, banner, todos, queue, demo, dock, composer } = this;
    this.el = h("div.chat", {}, this.stream, h("div.base", {}, this.pill, now.el, banner.el, queue.el, todos.el, demo, dock.el, composer.el));
  }

  #listen() {
    this.el.addEventListener("dragover", (event) => event.preventDefault());
    this.el.addEventListener("drop", (event) => {
      event.preventDefault();
      this.composer.add(event.dataTransfer.files);
    });
    on("ask", ({ text, options }) => this.ask(text, options));
    on("edit", ({ text }) => this.#edit(text));
    on("features", () => {
      this.stream.querySelector(":scope > .empty")?.remove();
      this.#changed(null);
    });
    on("listed", (sessions) => this.#listed(sessions));
    setInterval(() => this.#second(), 1000);
    document.addEventListener("visibilitychange", () => {
      this.cancel?.();
      if (document.hidden) this.#changed(null);
      else this.#draw();
    });
    addEventListener("pagehide", () => this.conversation && kept.set(`place:${this.conversation.project}`, this.follow.place()));
  }

  #edit(text) {
    this.composer.set(text);
    this.composer.focus();
  }

  async open(project, turn = null) {
    if (this.conversation?.project !== project) this.#choose(project);
    const { conversation } = this;
    const isCurrent = () => conversation === this.conversation;
    const late = setTimeout(() => isCurrent() && !conversation.turns.length && this.stream.prepend(skeleton()), SKELETON_MS);
    try {
      await conversation.load();
      this.stream.querySelector(".fault-place")?.remove();
      if (!isCurrent()) return;
      if (turn && !conversation.turns.some((each) => each.id === turn)) await this.#strange(turn);
    } catch (fault) {
      if (!isCurrent()) return;
      this.stream.querySelector(".fault-place")?.remove();
      if (fault.code !== "unauthorized") this.stream.prepend(h("div.fault-place", {}, errorCard(fault, { again: () => this.reload(), project })));
      else emit("key-wanted");
      if (fault.isPassing) setTimeout(() => isCurrent() && !conversation.loaded && this.reload(), AGAIN_MS);
    } finally {
      clearTimeout(late);
      this.stream.querySelector(".skeleton")?.remove();
    }
    if (!isCurrent()) return;
    this.#changed(null);
    this.#goTo(turn);
  }

  #choose(project) {
    if (this.conversation) this.conversation.listener = null;
    this.leave();
    this.conversation = conversationOf(project);
    this.conversation.listener = (changed) => this.#changed(changed);
    this.composer.open(project);
    this.dock.show([]);
    this.top.show(this.conversation);
    this.stream.replaceChildren(this.conversation.el);
    this.follow.watch(this.conversation.el);
    this.rail.choose(project);
  }

  /** To a card that says what is not here, to the place where one was before a reload or in another view, else to the turn of the link, else to the end. */
  #goTo(id) {
    if (this.stream.querySelector(":scope > .fault-place")) {
      this.follow.hold();
      this.stream.scrollTop = 0;
      return;
    }
    const name = `place:${this.conversation.project}`;
    const place = kept.get(name);
    kept.set(name, null);
    const wanted = id && this.conversation.turns.find((each) => each.id === id);
    if (place && this.conversation.turns.some((each) => each.id === place.turn)) this.follow.restore(place);
    else if (wanted && wanted !== this.conversation.turns.at(-1)) {
      this.follow.hold();
      wanted.el.scrollIntoView({ block: "start" });
    } else this.follow.toEnd();
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
    const turn = conversation.ask(text, given);
    this.#changed(turn);
    this.follow.toEnd();
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
    if (this.conversation && this.stream.isConnected) kept.set(`place:${this.conversation.project}`, this.follow.place());
  }

  #changed(turn) {
    if (turn) this.dirty.add(turn);
    if (this.cancel) return;
    const draw = () => this.#draw();
    const id = document.hidden ? setTimeout(draw, HIDDEN_MS) : requestAnimationFrame(draw);
    const cancel = document.hidden ? clearTimeout : cancelAnimationFrame;
    this.cancel = () => {
      cancel(id);
      this.cancel = null;
    };
  }

  /** Once for each frame of the screen, whatever came meanwhile. */
  #draw() {
    this.cancel?.();
    if (!this.conversation) return;
    // First, so that what waits for a person is there whatever becomes of a text.
    this.#parts();
    if (document.hidden) return;
    const { dirty } = this;
    this.dirty = new Set();
    for (const turn of dirty) turn.flush();
    if (dirty.size && this.conversation.running) this.follow.grown();
  }

  #parts() {
    const { conversation } = this;
    const { running, queued, waiting, live } = conversation;
    const had = this.dock.isOpen;
    this.dock.show(waiting);
    this.composer.el.hidden = this.dock.isOpen;
    if (had && !this.dock.isOpen) this.composer.focus();
    this.composer.busy(Boolean(live.length), queued.length);
    this.#empty();
    this.top.show(conversation);
    this.todos.show(running ?? conversation.turns.at(-1));
    this.queue.show(queued);
    this.#second();
    this.rail.tell(conversation.project, live.length ? { state: waiting.length ? "waiting" : "running", queued: queued.length } : null);
    if (running?.id) this.#address(running);
    emit("conversation", conversation);
  }

  /** The running turn stands in the address, so that a reload and a copied link lead to it. */
  #address(turn) {
    const wanted = this.conversation.hash(turn);
    if (location.hash.startsWith("#/chat") && location.hash !== wanted) history.replaceState(null, "", wanted);
  }

  #empty() {
    const { conversation } = this;
    const isEmpty = !conversation.turns.length && conversation.isLoaded;
    const shown = this.stream.querySelector(":scope > .empty");
    const earlier = this.stream.querySelector(":scope > .earlier");
    if (isEmpty && !shown) this.stream.append(emptyState((text) => this.ask(text)));
    if (!isEmpty) shown?.remove();
    if (conversation.hasEarlier && !earlier) {
      const show = button("Show earlier turns", () => this.#showEarlier(show), "plain.earlier");
      this.stream.prepend(show);
    }
    if (features.demo && !this.demo.hasChildNodes()) this.demo.replaceChildren(demoStrip((text) => this.ask(text)));
    this.demo.hidden = this.dock.isOpen;
    this.demo.classList.toggle("away", Boolean(conversation.live.length));
  }

  async #showEarlier(button) {
    const { conversation } = this;
    button.disabled = true;
    await conversation.readEarlier().catch((fault) => toast(fault.message));
    const place = conversation === this.conversation && this.follow.place();
    conversation.showEarlier();
    button.remove();
    if (place) this.follow.restore(place);
    this.#changed(null);
  }

  /** What goes on with time alone. */
  #second() {
    const turn = this.conversation?.running ?? this.conversation?.queued[0] ?? null;
    this.now.show(this.dock.isOpen ? null : turn);
    this.banner.show(turn?.connection);
  }

  #gone(id, fault) {
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
