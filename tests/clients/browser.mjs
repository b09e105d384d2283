// Runs the clients of page/clients.js in Chromium, one after the other.
// usage: node browser.mjs CHROMIUM FOLDER PAGE-URL JSON-LIST; each of the list is
// {"name": client, "page": URL?, ...its arguments}; prints what each has seen as a JSON list.
import { chromium } from "playwright-core";

const [binary, folder, page, given] = process.argv.slice(2);
const LIMIT_MS = 20000;
const browser = await chromium.launchPersistentContext(folder, {
  executablePath: binary,
  headless: true,
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
try {
  const seen = await Promise.all(
    JSON.parse(given).map(async ({ name, at, ...wanted }) => {
      const tab = await browser.newPage();
      tab.setDefaultTimeout(LIMIT_MS);
      await tab.goto(at ?? page);
      await tab.waitForFunction("window.clients");
      const run = tab.evaluate(([which, what]) => window.clients[which](what), [name, wanted]);
      const late = new Promise((_, fail) => setTimeout(() => fail(new Error("late")), LIMIT_MS));
      return Promise.race([run, late]).catch((error) => ({ failed: String(error) }));
    }),
  );
  process.stdout.write(JSON.stringify(seen));
} finally {
  await browser.close();
}
process.exit(0);
