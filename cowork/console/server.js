// The one client of this page, and its key, which lives as long as the tab does.

import { CoworkClient } from "../client.js";
import { kept } from "./dom.js";

export const client = new CoworkClient({ key: () => kept.get("key") });

export const hasKey = () => Boolean(kept.get("key"));
export const setKey = (key) => kept.set("key", key || null);
