// Chromium on a leash: reads a command a line on standard input, answers each with a line.
// usage: node browser.mjs CHROMIUM PLAYWRIGHT; a command is {"page", "call", "given"}: a page is
// opened by {"open": name, "context": name, "options"}; `call` is a method of it, as "keyboard.press".
import { createInterface } from "node:readline";
import { tasksOf, traced } from "../../bench/trace.mjs";

const [binary, playwright] = process.argv.slice(2);
const { chromium } = await import(playwright);
const LIMIT_MS = 30000;
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: binary, headless: true, args: ARGS });
const contexts = new Map();
const pages = new Map();

async function open({ open: name, context, options }) {
  if (!contexts.has(context)) contexts.set(context, await browser.newContext(options));
  const page = await contexts.get(context).newPage();
  page.setDefaultTimeout(LIMIT_MS);
  const seen = { page, problems: [], requests: [] };
  page.on("console", (message) => message.type() === "error" && seen.problems.push(message.text()));
  page.on("pageerror", (error) => seen.problems.push(error.stack));
  page.on("request", (request) => seen.requests.push(`${request.method()} ${request.url()}`));
  pages.set(name, seen);
}

async function run(command) {
  if (command.open) return open(command);
  const { page, problems, requests } = pages.get(command.page);
  if (command.call === "problems") return problems.splice(0);
  if (command.call === "requests") return requests.splice(0);
  if (command.call === "offline") return page.context().setOffline(command.given[0]);
  if (command.call === "tasks") {
    const [work, ended] = command.given;
    return JSON.stringify(tasksOf(await traced(page, async () => {
      await page.evaluate(work);
      await run({ page: command.page, call: "until", given: [ended, 2 * LIMIT_MS] });
    })));
  }
  if (command.call === "freeze") {
    const session = await page.context().newCDPSession(page);
    return session.send("Page.setWebLifecycleState", { state: command.given[0] ? "frozen" : "active" });
  }
  if (command.call === "until") {
    // Playwright's own way needs `eval`, which the page's policy forbids.
    const [expression, limit] = command.given;
    for (const begun = Date.now(); !(await page.evaluate(expression)); await page.waitForTimeout(50))
      if (Date.now() - begun > limit) throw new Error(`not within ${limit} ms: ${await page.evaluate("document.body.innerText")}`);
    return null;
  }
  if (command.call === "forget") {
    await page.context().close();
    return null;
  }
  const path = command.call.split(".");
  const method = path.pop();
  const owner = path.reduce((found, name) => found[name], page);
  const result = await owner[method](...command.given);
  return ["string", "number", "boolean"].includes(typeof result) || method === "evaluate" ? (result ?? null) : null;
}

process.stdout.write("{}\n");
for await (const line of createInterface({ input: process.stdin })) {
  const answer = await run(JSON.parse(line)).then(
    (result) => ({ result: result ?? null }),
    (error) => ({ error: String(error.stack ?? error) }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
process.exit(0);
