// Readers of a stream as people write them in JavaScript, with fetch and nothing else.
// usage: node readers.mjs JSON, a list of [url, reader, headers, body], which are asked side by side;
// prints the list of the answers' texts as JSON.
const asked = JSON.parse(process.argv[2]);

const readers = {
  // Line by line; the last, which is not whole, waits for the next chunk.
  async "by line"(chunks) {
    let text = "", rest = "";
    for await (const chunk of chunks) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data: ")) continue;
        const data = JSON.parse(line.slice(6));
        if (data.done) return text;
        text += data.token;
      }
    }
  },
  // Event by event; each is `data: ` and JSON.
  async "by blank line"(chunks) {
    let text = "", rest = "";
    for await (const chunk of chunks) {
      rest += chunk;
      let at;
      while ((at = rest.indexOf("\n\n")) >= 0) {
        const event = rest.slice(0, at).trim();
        rest = rest.slice(at + 2);
        if (!event) continue;
        const data = JSON.parse(event.replace(/^data: /, ""));
        if (data.done) return text;
        if (data.type === "token") text += data.token;
      }
    }
  },
  // All of it, then a regular expression.
  async "by match"(chunks) {
    let whole = "";
    for await (const chunk of chunks) {
      whole += chunk;
      if (whole.includes('"done": true')) break;
    }
    return [...whole.matchAll(/^data: (\{"type": "token".*\})$/gm)]
      .map((found) => JSON.parse(found[1]).token)
      .join("");
  },
};

async function read([url, reader, given, body]) {
  const headers = { "Content-Type": "application/json", ...given };
  const reply = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (reply.status !== 200) throw new Error(`${reply.status}: ${await reply.text()}`);
  return readers[reader](reply.body.pipeThrough(new TextDecoderStream()));
}

process.stdout.write(JSON.stringify(await Promise.all(asked.map(read))));
process.exit(0);
