// Tasks of a page's main thread, from a trace: by their CPU time, which a busy machine does not change, and by the clock.

const LONG_US = 50_000;
const CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"];

/** What Chromium traces of the page while `work` goes on. */
export async function traced(page, work) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on("Tracing.dataCollected", ({ value }) => value.forEach((event) => events.push(event)));
  await session.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { recordMode: "recordContinuously", includedCategories: CATEGORIES, excludedCategories: ["*"] } });
  await work();
  const ended = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await ended;
  return events;
}

/** The tasks of the page's main thread: the one that calls most functions. */
export function tasksOf(events) {
  const calls = {};
  for (const { name, pid, tid } of events) if (name === "FunctionCall") calls[`${pid} ${tid}`] = (calls[`${pid} ${tid}`] ?? 0) + 1;
  const main = Object.keys(calls).reduce((most, each) => (calls[each] > calls[most] ? each : most));
  const tasks = events.filter(({ name, pid, tid, tdur }) => name === "RunTask" && tdur !== undefined && `${pid} ${tid}` === main);
  const told = (times) => ({
    long: times.filter((time) => time > LONG_US).length,
    worst_ms: times.reduce((most, time) => Math.max(most, time), 0) / 1000,
    sum_ms: times.reduce((sum, time) => sum + time, 0) / 1000,
  });
  return { cpu: told(tasks.map(({ tdur }) => tdur)), clock: told(tasks.map(({ dur }) => dur)) };
}
