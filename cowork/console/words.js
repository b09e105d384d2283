// What a turn does now and what became of it, in words.

import { announce, cut } from "./dom.js";

const EVERY_MS = 2500;
// Of a fast answer the last of what was written is told.
const MOST = 400;
const RECORDS = { allow: "Allowed", deny: "Denied", answer: "Answered", expired: "Not answered in time", cancelled: "Taken back" };

export function runningWord({ told }) {
  return told.name === "Run" ? `running ${cut(told.does, 60)}` : `${told.name.toLowerCase()} ${cut(told.does, 50)}`;
}

/** What a status says of the running turn; `now` is what was said before. */
export function statusWord(status, { attempt, max_retries: most }, now) {
  if (status === "requesting") return now === "starting" ? "asking the model" : "asking the model again";
  if (status === "compacting") return "compacting the conversation";
  if (status === "api_retry") return `the model's service failed, retry ${attempt ?? ""}${most ? ` of ${most}` : ""}`;
  if (status === "rate_limit") return "held up by a rate limit";
  return now;
}

export const notes = {
  compact_boundary: () => "The conversation was compacted here.",
  model_changed: ({ fallback_model: model }) => `The model changed to ${model ?? "another"}.`,
  media_removed: () => "An attachment was refused by the model's service and left out.",
};

/** What became in the same way of all that was asked of a person, as a text and its mark. */
export function record(asked, { decision, by, isHere }) {
  const isNobodys = decision === "expired" || decision === "cancelled";
  const who = isHere ? "by you" : by ? `by ${by}` : isNobodys ? "" : "elsewhere";
  const things = Map.groupBy(asked.filter(Boolean), ({ kind, tool }) => ({ question: "a question", plan: "the plan" })[kind] ?? tool);
  const what = [...things].map(([thing, { length }]) => (length > 1 ? `${thing} ${length} times` : thing));
  const isGranted = decision === "allow" || decision === "answer";
  return [`${RECORDS[decision] ?? decision}: ${[...what, who].filter(Boolean).join(", ")}`, isGranted ? "check" : "cross"];
}

/** Tells a screen reader the sentences of an answer that are whole, now and then. */
export class Announcer {
  text = "";
  #at = 0;

  hear(token) {
    this.text = (this.text + token).slice(-MOST);
  }

  speak() {
    const now = performance.now();
    if (now - this.#at < EVERY_MS) return;
    this.#at = now;
    const end = Math.max(...[". ", "! ", "? ", "\n"].map((sign) => this.text.lastIndexOf(sign)));
    if (end < 0) return;
    announce(this.text.slice(0, end + 1));
    this.text = this.text.slice(end + 1);
  }
}
