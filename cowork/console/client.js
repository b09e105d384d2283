// A client of the XO Cowork API for pages and programs: one module, nothing to install.
// Served by every server at /client.js, its types at /client.d.ts; docs/console.md shows its use.

// Silence of this length is a dead connection: the server fills its own every few seconds.
const SILENCE_MS = 45000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8000;
// Refusals that go by: the server restarts, or a part that it needs does.
const PASSING = new Set(["server_unreachable", "shutting_down", "store_unavailable", "unreachable", "worker_unreachable"]);

/** What the server refused, or that it cannot be reached (`status` 0, code `unreachable`). */
export class CoworkError extends Error {
  constructor(status, detail, retryAfter = null) {
    const facts = describe(status, detail);
    super(facts.error);
    this.name = "CoworkError";
    this.status = status;
    this.code = facts.code;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may well be answered a moment later. */
  get isPassing() {
    return PASSING.has(this.code);
  }
}

function describe(status, detail) {
  if (Array.isArray(detail)) {
    const said = detail.map((fault) => `${fault.loc?.slice(1).join(".") || "request"}: ${fault.msg}`);
    return { error: said.join("; "), code: "invalid_request" };
  }
  if (detail && typeof detail === "object") return { error: detail.error ?? `status ${status}`, code: detail.code ?? `http_${status}` };
  // A proxy's page, not this server's answer; or its beginning, of which a cut has left "HTTP/1.1 2".
  const code = status < 200 || [502, 503, 504].includes(status) ? "server_unreachable" : `http_${status}`;
  return { error: typeof detail === "string" && detail ? detail : `the server answered ${status}`, code };
}

export class CoworkClient {
  #base;
  #key;
  #fetch;

  /** `url` is the server's, by default the one that this file came from; `key` a text or a function. */
  constructor({ url = new URL(".", import.meta.url).href, key = null, fetch = globalThis.fetch } = {}) {
    this.#base = String(url).replace(/\/+$/, "");
    this.#key = typeof key === "function" ? key : () => key;
    this.#fetch = fetch.bind(globalThis);
  }

  /** One call; resolves to the reply's JSON (null where there is none), rejects with `CoworkError`. */
  async call(method, path, body, { signal, headers } = {}) {
    const reply = await this.#send(method, path, body, { signal, headers });
    if (!reply.ok) throw await refusal(reply);
    if (reply.status === 204) return null;
    try {
      return await reply.json();
    } catch (fault) {
      throw signal?.aborted ? fault : unreachable(fault);
    }
  }

  /**
   * Ask, and read the answer's frames as they come: each is the frame's JSON with its `number`.
   * Connections that are lost are made again behind the last frame; nothing comes twice. The
   * question is asked once, by its idempotency key, whatever happens to its request.
   */
  async *ask(body, { idempotencyKey = newKey(), signal, onConnection, onTurn, lastEventId } = {}) {
    const headers = { Accept: "text/event-stream", "Idempotency-Key": idempotencyKey };
    const place = placeOf(lastEventId);
    const ask = () => this.#send("POST", "/ask_question_streaming", body, { signal, headers });
    yield* this.#follow(place, ask, null, { signal, onConnection, onTurn });
  }

  /** The frames of a turn, whoever asked it: from the first, or behind `after`, and then live. */
  async *events(turnId, { after = -1, events = null, signal, onConnection } = {}) {
    yield* this.#follow({ turn: turnId, after }, null, events, { signal, onConnection });
  }

  async *#follow(place, ask, events, { signal, onConnection, onTurn }) {
    for (let attempt = 0; ; ) {
      try {
        const reply = place.turn === null ? await ask() : await this.#resume(place, events, signal);
        if (reply.status === 204) return;
        if (!reply.ok) throw await refusal(reply);
        if (place.turn === null) {
          place.turn = reply.headers.get("X-Turn-ID");
          onTurn?.(place.turn);
        }
        onConnection?.({ state: "open", attempt: 0 });
        for await (const { id, data } of eventsOf(reply.body, signal)) {
          const number = Number(id.slice(id.lastIndexOf(".") + 1));
          if (number <= place.after) continue;
          attempt = 0;
          place.after = number;
          yield { ...data, number };
          if (data.done) return;
        }
        throw unreachable(new Error("the stream ended before the answer did"));
      } catch (fault) {
        if (signal?.aborted) throw fault;
        if (!(fault instanceof CoworkError) || !fault.isPassing) throw fault;
        attempt += 1;
        const pause = pauseBefore(attempt, fault.retryAfter);
        onConnection?.({ state: "lost", attempt, pause, error: fault });
        await wait(pause, signal);
      }
    }
  }

  #resume(place, events, signal) {
    const wanted = events === null ? "" : `?events=${encodeURIComponent(events.join(","))}`;
    const headers = { Accept: "text/event-stream" };
    if (place.after >= 0) headers["Last-Event-ID"] = `${place.turn}.${place.after}`;
    return this.#send("GET", `/turns/${segment(place.turn)}/events${wanted}`, undefined, { signal, headers });
  }

  async #send(method, path, body, { signal, headers = {} } = {}) {
    const sent = { Accept: "application/json", ...headers };
    const key = this.#key();
    if (key) sent.Authorization = `Bearer ${key}`;
    if (body !== undefined) sent["Content-Type"] = "application/json";
    try {
      return await this.#fetch(this.#base + path, {
        method,
        headers: sent,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        signal,
      });
    } catch (fault) {
      throw signal?.aborted ? fault : unreachable(fault);
    }
  }

  // Turns
  turn(turnId) { return this.call("GET", `/turns/${segment(turnId)}`); }
  interrupt(turnId) { return this.call("POST", `/turns/${segment(turnId)}/interrupt`); }
  /** Give the running turn a further text; it joins at the next tool, or becomes the next question. */
  steer(turnId, text, { idempotencyKey = newKey() } = {}) {
    const headers = { "Idempotency-Key": idempotencyKey };
    return this.call("POST", `/turns/${segment(turnId)}/steer`, { text }, { headers });
  }
  /** A ticket with which an `EventSource` reads the turn's events without a key. */
  ticket(turnId) { return this.call("POST", `/turns/${segment(turnId)}/ticket`); }

  // Approvals
  approvals(query = {}) { return this.call("GET", `/approvals${search(query)}`); }
  /** `answer` is `{decision: "allow" | "deny" | "answer", ...}`. */
  decide(approvalId, answer) { return this.call("POST", `/approvals/${segment(approvalId)}`, answer); }

  // Sessions
  sessions(query = {}) { return this.call("GET", `/sessions${search({ details: "true", ...query })}`); }
  session(project) { return this.call("GET", `/sessions/${segment(project)}`); }
  messages(project, query = {}) { return this.call("GET", `/sessions/${segment(project)}/messages${search(query)}`); }
  turns(project, query = {}) { return this.call("GET", `/sessions/${segment(project)}/turns${search(query)}`); }
  rename(project, title) { return this.call("PATCH", `/sessions/${segment(project)}`, { title }); }
  deleteSession(project) { return this.call("DELETE", `/sessions/${segment(project)}`); }
  interruptProject(project) { return this.call("POST", `/sessions/${segment(project)}/interrupt`); }
  /** Have a process ready for the next question; `wanted` is what that will have of `approvals`, `events`. */
  warm(project, wanted) { return this.call("POST", `/sessions/${segment(project)}/warm`, wanted); }
  fork(project, { to, at_turn }, { idempotencyKey = newKey() } = {}) {
    const headers = { "Idempotency-Key": idempotencyKey };
    return this.call("POST", `/sessions/${segment(project)}/fork`, { to, at_turn }, { headers });
  }
  rewind(project, body, { idempotencyKey = newKey() } = {}) {
    const headers = { "Idempotency-Key": idempotencyKey };
    return this.call("POST", `/sessions/${segment(project)}/rewind`, body, { headers });
  }

  // The server
  health() { return this.call("GET", "/health"); }
  models() { return this.call("GET", "/models"); }
  skills() { return this.call("GET", "/skills"); }
  mcpServers() { return this.call("GET", "/mcp"); }
  usage(query = {}) { return this.call("GET", `/usage${search(query)}`); }
  processes() { return this.call("GET", "/processes"); }
  endProcess(processId) { return this.call("DELETE", `/processes/${segment(processId)}`); }
  outbox() { return this.call("GET", "/outbox"); }
  retryOutbox() { return this.call("POST", "/outbox/retry"); }
}

/** 128 bits; `crypto.randomUUID` is there on https and localhost only. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The server-sent events of a body, each `{id, data}`; rejects where it is silent for too long. */
async function* eventsOf(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let id = "";
  try {
    for (;;) {
      const { value, done } = await withinSilence(reader.read());
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("id: ")) id = line.slice(4).trimEnd();
        else if (line.startsWith("data: ")) yield { id, data: JSON.parse(line.slice(6)) };
      }
    }
  } catch (fault) {
    throw signal?.aborted || fault instanceof CoworkError ? fault : unreachable(fault);
  } finally {
    reader.cancel().catch(() => {});
  }
}

function withinSilence(read) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(unreachable(new Error("the connection is silent"))), SILENCE_MS);
  });
  return Promise.race([read, late]).finally(() => clearTimeout(timer));
}

async function refusal(reply) {
  const retryAfter = Number(reply.headers.get("Retry-After")) || null;
  const text = await reply.text().catch(() => "");
  let detail = null;
  try {
    detail = JSON.parse(text).detail;
  } catch {
    // A proxy's page.
  }
  return new CoworkError(reply.status, detail, retryAfter);
}

function unreachable(fault) {
  return new CoworkError(0, { error: "the server cannot be reached", code: "unreachable", why: String(fault?.message ?? fault) });
}

function pauseBefore(attempt, retryAfter) {
  const grown = Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LONGEST_PAUSE_MS);
  const asked = retryAfter === null ? grown : Math.min(retryAfter * 1000, LONGEST_PAUSE_MS);
  return Math.round(Math.max(grown, asked) * (0.8 + Math.random() * 0.4));
}

/** So long, or until the network is back or the page is looked at again. */
function wait(ms, signal) {
  return new Promise((resolve, reject) => {
    const wakers = globalThis.addEventListener ? ["online", "pageshow"] : [];
    const end = (finish) => (reason) => {
      clearTimeout(timer);
      for (const name of wakers) removeEventListener(name, wake);
      signal?.removeEventListener("abort", abort);
      finish(reason);
    };
    const wake = end(resolve);
    const abort = end(() => reject(signal.reason));
    const timer = setTimeout(wake, ms);
    for (const name of wakers) addEventListener(name, wake);
    signal?.addEventListener("abort", abort);
  });
}

function placeOf(lastEventId) {
  const cut = lastEventId?.lastIndexOf(".") ?? -1;
  return cut < 0 ? { turn: null, after: -1 } : { turn: lastEventId.slice(0, cut), after: Number(lastEventId.slice(cut + 1)) };
}

const segment = (text) => encodeURIComponent(text).replace(/^\.{1,2}$/, (dots) => dots.replaceAll(".", "%2E"));

function search(query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
