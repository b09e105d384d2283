// Questions to begin with: for any model, and for the demo model, which knows a few tricks.

import { h } from "./dom.js";
import { features } from "./server.js";

const EXAMPLES = {
  real: [
    ["Look around", "Look at the files here and say in a few lines what this is.", "reads and searches"],
    ["Plan a change", "Which three improvements would help this project most? Do not change anything yet.", "thinks and lists"],
    ["Write a first file", "Write a short NOTES.md that says what is in this folder.", "asks you before it writes"],
  ],
  demo: [
    ["Work something out", "What is 12 * (3 + 4)?", "an answer"],
    ["List the files", "list the files", "a tool that may run by itself"],
    ["Create a file", "run touch hello.txt", "a tool that waits for you"],
  ],
};

const TRICKS = [
  ["A tool", "list the files"],
  ["An approval", "run touch hello.txt"],
  ["An edit", "write a file"],
  ["A question to you", "ask me a question"],
  ["A plan", "make a plan"],
  ["A list", "work through a list"],
  ["A sub-agent", "ask a sub-agent"],
  ["Thinking", "think about the sea"],
  ["A long answer", "write 600 words"],
  ["Silence", "be silent for 10 seconds"],
  ["An error", "fail with 529"],
];

/** Says that it is the demo model, with a button for each of its tricks. */
export function demoStrip(ask) {
  const tricks = TRICKS.map(([label, text]) => h("button.trick", { type: "button", title: text, onclick: () => ask(text) }, label));
  return h("div.demo", { role: "group", "aria-label": "The demo model" }, h("span.soft", { title: "It cannot think, but everything between its words and you is real." }, "Demo model"), h("div.tricks", {}, tricks));
}

/** What stands where nothing was said yet: questions that are asked by a click. */
export function emptyState(ask) {
  const says = `${features.demo ? "This is the demo model: it cannot think, but everything between its words and you is real. " : ""}Ask below, or begin with one of these.`;
  const examples = EXAMPLES[features.demo ? "demo" : "real"].map(([label, text, note]) => h("button.example", { type: "button", onclick: () => ask(text) }, h("span", {}, label), h("span.soft.small-text", {}, note)));
  return h("div.empty", {}, h("h2", {}, "What is to be done?"), h("p.soft", {}, says), h("div.examples", {}, examples));
}
