// Streams of turns: few at a time, read in slices, so that the screen has its turn.

// A browser opens six connections to a server: so many streams leave some for everything else.
const STREAMS = 4;
const SLICE_MS = 8;
const slots = { free: STREAMS, waiting: [] };

export const EVENTS = ["tool", "thinking", "status", "approval", "usage", "subagent", "todo"];

async function withSlot(signal, use) {
  if (slots.free > 0) slots.free -= 1;
  else await new Promise((resolve, reject) => {
    slots.waiting.push(resolve);
    signal.addEventListener("abort", () => {
      slots.waiting = slots.waiting.filter((each) => each !== resolve);
      reject(signal.reason);
    });
  });
  try {
    return await use();
  } finally {
    const next = slots.waiting.shift();
    if (next) next();
    else slots.free += 1;
  }
}

function breath() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Hand each frame of what `open` opens to `take`; what was said long ago comes as fast as it can be read. */
export function read(open, signal, take) {
  return withSlot(signal, async () => {
    let until = performance.now() + SLICE_MS;
    for await (const frame of open()) {
      take(frame);
      if (performance.now() < until) continue;
      await breath();
      until = performance.now() + SLICE_MS;
    }
  });
}
