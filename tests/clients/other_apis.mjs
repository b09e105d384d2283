// Other APIs' JavaScript clients against the server: node other_apis.mjs URL
// Prints what each scene has come to, as one JSON object.
import Anthropic from "@anthropic-ai/sdk";
import { DefaultChatTransport, readUIMessageStream } from "ai";
import OpenAI from "openai";

const url = process.argv[2];
const model = "cowork";
const asked = (content) => [{ role: "user", content }];
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
const anthropic = new Anthropic({ baseURL: url, apiKey: "any" });
const transport = new DefaultChatTransport({ api: `${url}/api/chat` });
const user = (text) => ({ id: `u-${text}`, role: "user", parts: [{ type: "text", text }] });
const textOf = (message) => message.parts.filter((p) => p.type === "text").map((p) => p.text).join("");

async function last(stream) {
  let found;
  for await (const message of readUIMessageStream({ stream })) found = message;
  return found;
}

async function send(chatId, messages) {
  const given = { chatId, messages, trigger: "submit-message", abortSignal: undefined };
  return last(await transport.sendMessages(given));
}

async function errorOf(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return error.status ?? error.message;
  }
}

const scenes = {
  async "openai text"() {
    const reply = await openai.chat.completions.create({ model, messages: asked("[[words 3]]") });
    return reply.choices[0].message.content;
  },
  async "openai stream"() {
    const stream = openai.chat.completions.stream({ model, messages: asked("[[words 3]]") });
    return (await stream.finalChatCompletion()).choices[0].message.content;
  },
  async "openai response"() {
    const stream = openai.responses.stream({ model, input: "[[words 3]]" });
    return (await stream.finalResponse()).output_text;
  },
  async "openai error"() {
    const messages = asked("[[fail 529]]");
    return errorOf(() => openai.chat.completions.create({ model, messages }));
  },
  async "anthropic text"() {
    const messages = asked("[[words 3]]");
    return (await anthropic.messages.create({ model, max_tokens: 64, messages })).content[0].text;
  },
  async "anthropic stream"() {
    const messages = asked("[[words 3]]");
    return anthropic.messages.stream({ model, max_tokens: 64, messages }).finalText();
  },
  async "anthropic error"() {
    const messages = asked("[[fail 529]]");
    return errorOf(() => anthropic.messages.create({ model, max_tokens: 64, messages }));
  },
  async "ai chat"() {
    const first = await send("chat", [user("[[count]] one")]);
    const second = await send("chat", [user("[[count]] one"), first, user("[[count]] two")]);
    const edited = await send("chat", [user("[[count]] one"), first, user("[[count]] I mean")]);
    return [first, second, edited].map(textOf);
  },
  async "ai tools"() {
    const message = await send("tools", [user("[[tool]] hi")]);
    return message.parts.map((part) => part.type);
  },
  async "ai resumed"() {
    const whole = send("resumed", [user("[[words 60]] [[delay 20]]")]);
    let stream = null;
    for (let tries = 0; stream === null && tries < 100; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      stream = await transport.reconnectToStream({ chatId: "resumed" });
    }
    const again = await last(stream);
    const message = await whole;
    return [again.id === message.id, textOf(again) === textOf(message)];
  },
  async "ai idle"() {
    return transport.reconnectToStream({ chatId: "idle" });
  },
  async "ai error"() {
    return errorOf(() => send("error", [user("[[fail 529]]")]));
  },
};

const found = {};
for (const [name, play] of Object.entries(scenes)) {
  try {
    found[name] = await play();
  } catch (error) {
    found[name] = `${error}`;
  }
}
process.stdout.write(JSON.stringify(found));
