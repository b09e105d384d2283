// A project's conversation: its history, the turns that run or wait, and their streams.

import { CoworkError, newKey } from "../client.js";
import { curl, fork, rewind } from "./actions.js";
import { emit, toast } from "./dom.js";
import { Asked, historyOf, messagesOf, turnsOf } from "./history.js";
import { EVENTS, read } from "./reading.js";
import { client } from "./server.js";
import { TurnView } from "./turn.js";

const SHOWN_TURNS = 30;
const FEET = 8;
const MOST_KEPT = 20;
// What a server that starts could not say is asked again after this.
export const AGAIN_MS = 2000;

const all = new Map();
let knowsTurns = true;

export function conversationOf(project) {
  const found = all.get(project) ?? new Conversation(project);
  all.delete(project);
  all.set(project, found);
  for (const [name, each] of all) {
    if (all.size <= MOST_KEPT) break;
    if (!each.live.length) all.delete(name);
  }
  return found;
}

export const liveTurns = () => [...all.values()].flatMap((each) => each.live);
export const forget = (project) => all.delete(project);

export class Conversation {
  constructor(project) {
    this.project = project;
    this.el = document.createElement("div");
    this.el.className = "turns";
    this.turns = [];
    this.session = null;
    this.loaded = null;
    this.isLoaded = false;
    this.asked = new Asked(project);
    this.decided = new Set();
    this.listener = null;
  }

  get live() {
    return this.turns.filter((turn) => turn.isLive);
  }
  get running() {
    return this.live.find((turn) => turn.state !== "queued") ?? null;
  }
  get queued() {
    return this.live.filter((turn) => turn !== this.running);
  }
  get waiting() {
    return this.live.flatMap((turn) => [...turn.waiting.values()]);
  }

  changed(turn) {
    this.listener?.(turn);
  }

  /** Get what the server has, once; again after it failed. */
  load() {
    this.loaded ??= this.#load().catch((fault) => {
      this.loaded = null;
      throw fault;
    });
    return this.loaded;
  }

  async #load() {
    const { session, messages, before } = await historyOf(this.project);
    this.session = session;
    this.before = before;
    const told = turnsOf(messages, this);
    const found = [...told.values()];
    this.earlier = found.slice(0, -SHOWN_TURNS);
    // What stood before all of these is older than they are: it comes with the earlier turns.
    const first = this.turns.findIndex((turn) => told.has(turn.id));
    const further = this.turns.slice(Math.max(first, 0)).filter((turn) => !told.has(turn.id));
    this.turns = [...found.slice(-SHOWN_TURNS), ...further];
    this.el.replaceChildren(...this.turns.map((turn) => turn.el));
    // With nothing said before, what runs now may be all there is.
    this.isLoaded = this.turns.length > 0;
    this.changed(null);
    await this.#catchUp();
    this.isLoaded = true;
    this.changed(null);
  }

  get hasEarlier() {
    return this.earlier?.length > 0 || Boolean(this.before);
  }

  /** Have the turns before those that are shown. */
  async readEarlier() {
    if (this.earlier.length) return;
    const { messages, before } = await messagesOf(this.project, this.before);
    this.before = before;
    this.earlier = [...turnsOf(messages, this).values()];
  }

  /** Show those of them that were read. */
  showEarlier() {
    this.turns.unshift(...this.earlier);
    this.el.prepend(...this.earlier.map((turn) => turn.el));
    this.earlier = [];
  }

  /** Read on in what still runs; tell what the last turns took. */
  async #catchUp() {
    const own = this.asked.all();
    const ids = new Set(this.turns.slice(-FEET).map((turn) => turn.id));
    for (const id of await this.#runningIds()) ids.add(id);
    for (const each of own) if (each.turn) ids.add(each.turn);
    await Promise.all([...ids].filter(Boolean).map((id) => this.#lookAt(id, own.find((each) => each.turn === id))));
    for (const each of own.filter((one) => !one.turn)) this.#ask(each.body, { key: each.key, isAgain: true });
  }

  async #runningIds() {
    if (!knowsTurns) return [];
    try {
      const { turns } = await client.turns(this.project, { limit: 20 });
      return turns.filter((turn) => turn.state === "running" || turn.state === "queued").map((turn) => turn.turn_id).reverse();
    } catch (fault) {
      // An older server; the last message tells of the turn that runs.
      if (fault.code === "http_404") knowsTurns = false;
      return [];
    }
  }

  /** Show a turn that was asked elsewhere, if it is not shown. */
  async join(id) {
    if (!this.turns.some((turn) => turn.id === id)) await this.#lookAt(id);
  }

  async #lookAt(id, own) {
    let told;
    try {
      told = await client.turn(id);
    } catch (fault) {
      if (fault.code === "turn_expired" || fault.code === "turn_not_found") this.asked.done(id);
      if (fault.isPassing) setTimeout(() => this.#lookAt(id, own), AGAIN_MS);
      return;
    }
    const turn = this.turns.find((each) => each.id === id);
    if (told.state === "running" || told.state === "queued") {
      this.attach(id, own?.body?.question ?? turn?.text ?? told.question ?? "");
      return;
    }
    this.asked.done(id);
    if (turn && !turn.isLive) turn.finish(told);
    else if (!turn && own) this.#recall(id, own, told);
  }

  /** A turn that this tab asked, which ended without a trace in the conversation. */
  #recall(id, own, told) {
    const turn = this.#add(new TurnView(this, { id, question: own.body.question }));
    if (told.message) turn.history([{ type: "text", text: told.message }]);
    turn.finish(told);
  }

  #add(turn) {
    this.turns.push(turn);
    this.el.append(turn.el);
    return turn;
  }

  /** Read a turn's events from its first on, live, whoever asked it. */
  attach(id, question = "") {
    let turn = this.turns.find((each) => each.id === id);
    if (turn?.reading) return turn;
    if (!turn) turn = this.#add(new TurnView(this, { id, question }));
    turn.wasReplayed = true;
    turn.restart();
    this.#read(turn, (options) => client.events(id, { events: EVENTS, ...options }));
    return turn;
  }

  ask(text, options = {}) {
    const body = { project_name: this.project, question: text, events: EVENTS, ...options };
    return this.#ask(body, { key: newKey() });
  }

  #ask(body, { key, isAgain = false }) {
    const turn = this.#add(new TurnView(this, { question: body.question, attachments: body.attachments }));
    turn.options = body;
    const { project_name: _, question: __, events: ___, ...askedWith } = body;
    turn.askedWith = askedWith;
    turn.wasReplayed = isAgain;
    if (this.live.length > 1) turn.state = "queued";
    if (!body.attachments?.length) this.asked.keep({ key, body, turn: null });
    const onTurn = (id) => {
      turn.id = id;
      if (!body.attachments?.length) this.asked.keep({ key, body, turn: id });
      emit("turn", { project: this.project, turn: id });
      this.changed(turn);
    };
    this.#read(turn, (options) => client.ask(body, { idempotencyKey: key, onTurn, ...options }), key);
    this.changed(turn);
    emit("asked", { project: this.project, text: body.question });
    return turn;
  }

  async #read(turn, open, key) {
    turn.abort = new AbortController();
    turn.reading = true;
    const { signal } = turn.abort;
    const onConnection = (connection) => {
      turn.connection = connection;
      this.changed(turn);
    };
    try {
      await read(() => open({ signal, onConnection }), signal, (frame) => turn.frame(frame));
      if (turn.isLive) turn.finish(await client.turn(turn.id));
    } catch (fault) {
      if (signal.aborted) return;
      if (!(fault instanceof CoworkError)) console.error(fault);
      turn.refused(fault);
      if (fault.code === "unauthorized") emit("key-wanted");
    } finally {
      turn.reading = false;
      turn.connection = null;
      if (!turn.isLive) this.asked.done(turn.id, key);
      this.endedAt = performance.now();
      this.changed(turn);
      emit("ended", { project: this.project, turn });
    }
  }

  drop(turn) {
    turn.state = "interrupted";
    turn.abort?.abort();
    turn.el.remove();
    this.turns = this.turns.filter((each) => each !== turn);
  }

  async stop(turn = this.running) {
    if (!turn) return;
    try {
      if (turn.id) await client.interrupt(turn.id);
      else await client.interruptProject(this.project);
    } catch (fault) {
      toast(fault.message);
    }
  }

  /** Take a question out of the queue; its text, to be edited. */
  async unqueue(turn) {
    if (turn.id) await client.interrupt(turn.id).catch((fault) => toast(fault.message));
    this.asked.done(turn.id);
    this.drop(turn);
    this.changed(null);
    return turn.text;
  }

  async steer(text) {
    const turn = this.running;
    await client.steer(turn.id, text);
    toast("Given to the running answer");
  }

  // What a turn's own buttons do: actions.js.
  again = (turn) => emit("ask", { project: this.project, text: turn.text, options: turn.askedWith });
  edit = (turn) => emit("edit", { text: turn.text });
  hash = (turn) => `#/chat/${encodeURIComponent(this.project)}/${turn.id}`;
  fork = (turn) => fork(this, turn);
  rewind = (turn) => rewind(this, turn);
  curl = (turn) => curl(this, turn);

  decidedHere(id) {
    return this.decided.has(id);
  }
  resolved(id) {
    emit("resolved", id);
  }
}
