// What the page saw in the last quarter of an hour, as `[when, value]`; kept as long as it lives.

import { on } from "./dom.js";

export const WINDOW_MS = 15 * 60000;
export const seen = { first: [], speed: [], queue: [], cost: [] };

export function note(name, value) {
  const now = Date.now();
  seen[name] = [...seen[name].filter(([at]) => now - at < WINDOW_MS), [now, value]];
}

on("ended", ({ turn }) => {
  const { ended, firstToken } = turn;
  if (!ended || turn.wasReplayed) return;
  if (firstToken !== null) note("first", firstToken);
  const out = ended.usage?.output_tokens;
  const wrote = ended.duration_ms - (firstToken ?? 0);
  if (out && wrote > 0) note("speed", (out * 1000) / wrote);
});
