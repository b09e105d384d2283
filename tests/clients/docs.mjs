// Tries the page of /docs as a person does: a key, a question, and looks while the answer comes.
// usage: node docs.mjs CHROMIUM FOLDER URL KEY QUESTION SCREENSHOT; prints what was seen as JSON.
import { chromium } from "playwright-core";

const [binary, folder, url, key, question, screenshot] = process.argv.slice(2);
const browser = await chromium.launchPersistentContext(folder, {
  executablePath: binary,
  headless: true,
  viewport: { width: 1280, height: 900 },
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const seen = { problems: [], lengths: [] };
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20000);
  page.on("console", (message) => message.type() === "error" && seen.problems.push(message.text()));
  page.on("pageerror", (error) => seen.problems.push(String(error)));
  await page.goto(`${url}/docs`);
  await page.waitForSelector(".opblock");
  seen.operations = await page.locator(".opblock").count();
  seen.locked = await page.locator("#key").count();

  await page.click("#send"); // without a key
  await page.waitForFunction(() => document.querySelector("#facts").textContent.startsWith("status"));
  seen.refused = await page.textContent("#answer");
  seen.problems = []; // the browser tells of a 401 by itself

  await page.fill("#key", key);
  await page.fill("#question", question);
  await page.click("#send");
  while (!(await page.textContent("#facts")).includes(" in all") || !(await page.isDisabled("#stop"))) {
    seen.lengths.push((await page.textContent("#answer")).length);
    await page.waitForTimeout(100);
  }
  seen.answer = await page.textContent("#answer");
  seen.facts = await page.textContent("#facts");
  if (screenshot) {
    await page.screenshot({ path: `${screenshot}/wide.png` });
    await page.setViewportSize({ width: 390, height: 844 });
    await page.screenshot({ path: `${screenshot}/narrow.png` });
  }
  seen.width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);

  // Swagger UI has the key now, too.
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.click("#operations-sessions-list_sessions .opblock-summary-control");
  await page.click("#operations-sessions-list_sessions .try-out__btn");
  await page.click("#operations-sessions-list_sessions .execute");
  await page.waitForSelector("#operations-sessions-list_sessions .live-responses-table");
  seen.sessions = await page.textContent("#operations-sessions-list_sessions .live-responses-table tbody .response-col_status");
  process.stdout.write(JSON.stringify(seen));
} finally {
  await browser.close();
}
process.exit(0);
