// Chromium on the console: usage: node console.mjs CHROMIUM PLAYWRIGHT URL WORDS PAINTS; prints JSON.

import { tasksOf, traced } from "./trace.mjs";

const [binary, playwright, url, words, paints] = process.argv.slice(2);
const { chromium } = await import(playwright);
const LIMIT_MS = 240_000;
const browser = await chromium.launch({ executablePath: binary, headless: true, args: ["--no-sandbox", "--disable-gpu"] });

async function opened(address) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(address);
  return { context, page };
}

async function firstPaint(address) {
  const { context, page } = await opened(address);
  const at = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const tell = (entries) => entries.getEntriesByName("first-contentful-paint").forEach((entry) => resolve(entry.startTime));
        new PerformanceObserver(tell).observe({ type: "paint", buffered: true });
      }),
  );
  await context.close();
  return at;
}

async function until(page, expression) {
  for (const begun = Date.now(); !(await page.evaluate(expression)); await page.waitForTimeout(100))
    if (Date.now() - begun > LIMIT_MS) throw new Error(`not within ${LIMIT_MS} ms: ${expression}`);
}

async function streamed() {
  const { context, page } = await opened(`${url}/#/chat/bench`);
  await page.waitForSelector(".empty");
  await page.evaluate(() => {
    globalThis.shift = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => !entry.hadRecentInput && (globalThis.shift += entry.value))).observe({ type: "layout-shift" });
  });
  const events = await traced(page, async () => {
    await page.fill("#question", `[[delay 0]] [[words ${words}]]`);
    await page.keyboard.press("Enter");
    await until(page, "document.querySelector('.turn .foot:not([hidden])') !== null");
  });
  const tokens = await page.evaluate("document.querySelector('.turn .blocks').textContent.trim().split(/\\s+/).length");
  if (tokens !== Number(words)) throw new Error(`${tokens} words came of ${words}`);
  const shift = await page.evaluate("shift");
  await context.close();
  return { tasks: tasksOf(events), shift, tokens };
}

try {
  const paint = { console: [], bare: [] };
  // The first of each fills the caches of the machine.
  for (let round = 0; round <= Number(paints); round += 1) {
    const [bare, console_] = [await firstPaint(`${url}/client.d.ts`), await firstPaint(`${url}/`)];
    if (round) paint.bare.push(bare) && paint.console.push(console_);
  }
  process.stdout.write(JSON.stringify({ paint, ...(await streamed()) }));
} finally {
  await browser.close();
}
