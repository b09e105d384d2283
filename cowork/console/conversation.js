// A project's conversation: its history, the turns that run or wait, and their streams.

import { CoworkError, newKey } from "../client.js";
import { curl, fork, rewind } from "./actions.js";
import { emit, kept, toast } from "./dom.js";
import { client } from "./server.js";
import { TurnView } from "./turn.js";

export const EVENTS = ["tool", "thinking", "status", "approval", "usage", "subagent", "todo"];
// A browser opens six connections to a server: so many streams leave some for everything else.
const STREAMS = 4;
const PAGE = 200;
const SHOWN_TURNS = 30;
const FEET = 8;
const MOST_KEPT = 20;
// What a server that starts could not say is asked again after this.
export const AGAIN_MS = 2000;
const slots = { free: STREAMS, waiting: [] };

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

async function withSlot(signal, use) {
  if (slots.free > 0) slots.free -= 1;
  else await new Promise((resolve, reject) => {
    slots.waiting.push(resolve);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  try {
    return await use();
  } finally {
    const next = slots.waiting.shift();
    if (next) next();
    else slots.free += 1;
  }
}

export class Conversation {
  constructor(project) {
    this.project = project;
    this.el = document.createElement("div");
    this.el.className = "turns";
    this.turns = [];
    this.session = null;
    this.loaded = null;
    this.decided = new Set();
    this.listener = null;
    this.connection = { state: "open", attempt: 0 };
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
    const told = this.#toldBy(await this.#lastMessages());
    const found = [...told.values()];
    this.earlier = found.slice(0, -SHOWN_TURNS);
    this.turns = [...found.slice(-SHOWN_TURNS), ...this.turns.filter((turn) => !told.has(turn.id))];
    this.el.replaceChildren(...this.turns.map((turn) => turn.el));
    await this.#catchUp();
    this.changed(null);
  }

  /** The turns of these messages, by their ids. */
  #toldBy(messages) {
    const told = new Map();
    const seen = new Set();
    for (const message of messages) {
      const id = message.turn_id ?? message.id;
      let turn = told.get(id);
      // What this page has seen live says more than the messages do.
      const live = !turn && message.turn_id && this.turns.find((each) => each.id === message.turn_id);
      if (live) {
        told.set(id, live);
        seen.add(live);
      }
      if (live || seen.has(turn)) continue;
      if (message.role === "user" && turn) {
        turn.on_status({ status: "steered", steer_id: message.id, state: "joined", text: questionOf(message.parts)[0] });
        continue;
      }
      if (!turn) {
        turn = new TurnView(this, { id: message.turn_id, at: message.created_at });
        turn.state = message.state === "interrupted" ? "interrupted" : "succeeded";
        told.set(id, turn);
      }
      if (message.role === "user") turn.setQuestion(...questionOf(message.parts));
      else turn.history(message.parts);
      if (message.error) turn.refused(message.error);
    }
    return told;
  }

  get hasEarlier() {
    return this.earlier?.length > 0 || Boolean(this.before);
  }

  /** Show turns from before those that are shown. */
  async showEarlier() {
    if (!this.earlier.length) this.earlier = [...this.#toldBy(await this.#messagesBefore(this.before)).values()];
    this.turns.unshift(...this.earlier);
    this.el.prepend(...this.earlier.map((turn) => turn.el));
    this.earlier = [];
  }

  async #lastMessages() {
    try {
      const [session, messages] = await Promise.all([client.session(this.project), this.#messagesBefore()]);
      this.session = session;
      return messages;
    } catch (fault) {
      if (fault.code !== "session_not_found") throw fault;
      this.session = null;
      return [];
    }
  }

  /** The last messages, or those before one; `before` is where the rest is. */
  async #messagesBefore(before) {
    const { messages, next } = await client.messages(this.project, before ? { limit: PAGE, before } : { limit: PAGE, last: true });
    // A turn is shown whole: what a page has of one alone comes with the next page.
    const begin = next ? messages.findIndex((each) => each.id === each.turn_id) : 0;
    const whole = begin > 0 ? messages.slice(begin) : messages;
    this.before = next ? whole[0].id : null;
    return whole;
  }

  /** Read on in what still runs; tell what the last turns took. */
  async #catchUp() {
    const own = kept.get(`asked:${this.project}`, []);
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
      if (fault.code === "turn_expired" || fault.code === "turn_not_found") this.#done(id);
      if (fault.isPassing) setTimeout(() => this.#lookAt(id, own), AGAIN_MS);
      return;
    }
    const turn = this.turns.find((each) => each.id === id);
    if (told.state === "running" || told.state === "queued") {
      this.attach(id, own?.body?.question ?? turn?.text ?? told.question ?? "");
      return;
    }
    this.#done(id);
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
    if (!body.attachments?.length) this.#remember({ key, body, turn: null });
    const onTurn = (id) => {
      turn.id = id;
      if (!body.attachments?.length) this.#remember({ key, body, turn: id });
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
      await withSlot(signal, async () => {
        for await (const frame of open({ signal, onConnection })) turn.frame(frame);
      });
      if (turn.isLive) turn.finish(await client.turn(turn.id));
    } catch (fault) {
      if (signal.aborted) return;
      if (!(fault instanceof CoworkError)) console.error(fault);
      turn.refused(fault);
      if (fault.code === "unauthorized") emit("key-wanted");
    } finally {
      turn.reading = false;
      turn.connection = null;
      if (!turn.isLive) this.#done(turn.id, key);
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

  #remember(entry) {
    const others = kept.get(`asked:${this.project}`, []).filter((each) => each.key !== entry.key);
    kept.set(`asked:${this.project}`, [...others, entry].slice(-20));
  }

  #done(id, key = null) {
    const left = kept.get(`asked:${this.project}`, []).filter((each) => (!id || each.turn !== id) && each.key !== key);
    kept.set(`asked:${this.project}`, left.length ? left : null);
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
    this.#done(turn.id);
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

function questionOf(parts) {
  const text = parts.filter((part) => part.type === "text").map((part) => part.text).join("\n");
  const files = parts.filter((part) => part.type === "image" || part.type === "document");
  return [text, files.map((file) => ({ name: file.name ?? (file.type === "image" ? "image" : "document") }))];
}
