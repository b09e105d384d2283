// Clients as people write them, in a page of another origin than the server's.
// Each gives what the person saw: the joined text, and how many messages were delivered.
import { fetchEventSource } from "/modules/@microsoft/fetch-event-source/lib/esm/index.js";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// What the browser does when somebody looks at another tab, and comes back.
function show(isShown) {
  Object.defineProperty(document, "hidden", { value: !isShown, configurable: true });
  Object.defineProperty(document, "visibilityState", {
    value: isShown ? "visible" : "hidden",
    configurable: true,
  });
  document.dispatchEvent(new Event("visibilitychange"));
}

async function plainFetch({ url, headers, body }) {
  const reply = await fetch(`${url}/ask_question_streaming`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const seen = { status: reply.status, turn: reply.headers.get("X-Turn-ID"), text: "", messages: 0 };
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    rest += piece.value;
    for (let at; (at = rest.indexOf("\n\n")) >= 0; rest = rest.slice(at + 2)) {
      const block = rest.slice(0, at).trim();
      if (!block.startsWith("data: ")) continue;
      const data = JSON.parse(block.slice(6));
      seen.messages += 1;
      if (data.done) return { ...seen, done: data };
      seen.text += data.token;
    }
  }
  return seen;
}

// hideAt: after how many messages the tab is hidden; hideFor: for how many ms.
async function library({ url, headers, body, hideAt, hideFor }) {
  const seen = { text: "", messages: 0, opened: [], errors: [], done: null };
  let isHidden = false;
  await fetchEventSource(`${url}/ask_question_streaming`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
    async onopen(reply) {
      seen.opened.push(reply.status);
      if (reply.status !== 200) throw new Error(`status ${reply.status}`);
    },
    onmessage(message) {
      seen.messages += 1;
      const data = JSON.parse(message.data); // as everybody does it: an empty message throws
      if (data.done) seen.done = data;
      else seen.text += data.token;
      if (seen.messages === hideAt || (hideAt === "done" && data.done && !isHidden)) {
        isHidden = true;
        show(false);
        setTimeout(() => show(true), hideFor);
      }
    },
    onerror(error) {
      seen.errors.push(String(error));
      if (String(error).includes("status")) throw error; // not to be tried again
      return 50;
    },
  }).catch((error) => seen.errors.push(`ended: ${error}`));
  return seen;
}

async function eventSource({ url, headers, body, question }) {
  const asked = await fetch(`${url}/ask_question_streaming`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const turn = asked.headers.get("X-Turn-ID");
  await asked.body.cancel();
  const made = await fetch(`${url}/turns/${turn}/ticket`, { method: "POST", headers });
  const ticket = await made.json();
  const seen = { status: made.status, text: "", messages: 0, errors: 0, done: null };
  const source = new EventSource(url + ticket.url);
  await new Promise((end) => {
    source.onmessage = (message) => {
      const data = JSON.parse(message.data);
      seen.messages += 1;
      if (data.done) seen.done = data;
      else seen.text += data.token;
    };
    source.onerror = () => {
      seen.errors += 1;
      if (source.readyState === EventSource.CLOSED) end();
    };
  });
  return seen;
}

async function refused({ url, headers, body }) {
  return plainFetch({ url, headers, body }).then(
    (seen) => seen,
    (error) => ({ error: String(error) }),
  );
}

window.clients = { plainFetch, library, eventSource, refused };
