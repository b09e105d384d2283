// The one client of this page, its key, which lives as long as the tab does, and what the server has.

import { CoworkClient } from "../client.js";
import { emit, kept } from "./dom.js";

const LATE_MS = 2000;

export const client = new CoworkClient({ key: () => kept.get("key") });

export const setKey = (key) => kept.set("key", key || null);

/** What its operator has set: `approvals` (null: not known yet), `checkpoints`, `demo`. */
export const features = { approvals: null, checkpoints: false, demo: false, ...kept.get("features") };

/** The server's health, by which the page knows its features, too. */
export async function look() {
  const health = await client.health();
  if (JSON.stringify(features) !== JSON.stringify(health.features)) {
    Object.assign(features, health.features);
    kept.set("features", features);
    emit("features");
  }
  return health;
}

const late = new Promise((resolve) => setTimeout(resolve, LATE_MS));
const first = Promise.race([look().catch(() => null), late]);
/** Resolves when the server was asked for its features; what it said last counts where it is late. */
export const known = () => first;
