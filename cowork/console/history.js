// What there is of a conversation: its messages on the server, as turns; what this tab asked.

import { kept } from "./dom.js";
import { client } from "./server.js";
import { TurnView } from "./turn.js";

const PAGE = 200;
const MOST_PAGES = 10;
const MOST_ASKED = 20;

/** The project's session (null where there is none), its last messages, and before which there are more. */
export async function historyOf(project) {
  try {
    const [session, last] = await Promise.all([client.session(project), messagesOf(project)]);
    return { session, ...last };
  } catch (fault) {
    if (fault.code !== "session_not_found") throw fault;
    return { session: null, messages: [], before: null };
  }
}

/** The last messages, or those before one, of whole turns; `before` is where the rest is, null where none is. */
export async function messagesOf(project, before = null) {
  let messages = [];
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const found = await client.messages(project, before ? { limit: PAGE, before } : { limit: PAGE, last: true });
    messages = [...found.messages, ...messages];
    if (!found.next) return { messages, before: null };
    // Of the turn that the page cuts, all comes with the next page.
    const begin = messages.findIndex((each) => each.id === each.turn_id);
    if (begin >= 0) return { messages: messages.slice(begin), before: messages[begin].id };
    before = messages[0].id;
  }
  return { messages, before };
}

/** Messages as turns by their ids; of those that `host` has already seen, what it has. */
export function turnsOf(messages, host) {
  const told = new Map();
  const seen = new Set();
  for (const message of messages) {
    const id = message.turn_id ?? message.id;
    let turn = told.get(id);
    // What this page has seen live says more than the messages do.
    const live = !turn && message.turn_id && host.turns.find((each) => each.id === message.turn_id);
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
      turn = new TurnView(host, { id: message.turn_id, at: message.created_at });
      turn.state = message.state === "interrupted" ? "interrupted" : "succeeded";
      // Its foot comes later, and moves nothing.
      turn.el.classList.add("past");
      told.set(id, turn);
    }
    if (message.role === "user") turn.setQuestion(...questionOf(message.parts));
    else turn.history(message.parts);
    if (message.error) turn.refused(message.error);
  }
  return told;
}

function questionOf(parts) {
  const text = parts.filter((part) => part.type === "text").map((part) => part.text).join("\n");
  const files = parts.filter((part) => part.type === "image" || part.type === "document");
  return [text, files.map((file) => ({ name: file.name ?? (file.type === "image" ? "image" : "document") }))];
}

/** Questions of this tab whose end it has not seen: a reload reads on, or asks them again by their key. */
export class Asked {
  constructor(project) {
    this.name = `asked:${project}`;
  }

  /** Each `{key, body, turn}`; `turn` is null where none was acknowledged. */
  all() {
    return kept.get(this.name, []);
  }

  keep(entry) {
    kept.set(this.name, [...this.all().filter((each) => each.key !== entry.key), entry].slice(-MOST_ASKED));
  }

  done(id, key = null) {
    const left = this.all().filter((each) => (!id || each.turn !== id) && each.key !== key);
    kept.set(this.name, left.length ? left : null);
  }
}
