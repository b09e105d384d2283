// npm's eventsource, which can send headers: reads a URL's events to their end.
// usage: node eventsource.mjs URL JSON-HEADERS; prints [id, data] of each message as a JSON list.
import { EventSource } from "eventsource";

const [url, given] = process.argv.slice(2);
const headers = JSON.parse(given);
const seen = [];
const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
});
source.addEventListener("message", (event) => seen.push([event.lastEventId, JSON.parse(event.data)]));
source.addEventListener("error", () => {
  if (source.readyState !== EventSource.CLOSED) return;
  process.stdout.write(JSON.stringify(seen));
  process.exit(0);
});
setTimeout(() => process.exit(1), 30000);
