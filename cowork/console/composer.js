// Where a question is written: draft, attachments, options, and what to do while another is answered.

import { bytes, count, h, icon, iconButton, kept } from "./dom.js";
import { openMenu } from "./menu.js";
import { OptionsDrawer } from "./options.js";

const TYPES = {
  png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp",
  pdf: "application/pdf", txt: "text/plain", md: "text/markdown", csv: "text/csv",
};
const LIMITS = { image: 5 * 1048576, "application/pdf": 20 * 1048576, text: 1048576 };
const MOST_FILES = 20;
const LINES = 10;
const LINE_PX = 24;
const PADDING_PX = 20;
const LONG = 4000;

export class Composer {
  /** `acts`: `ask(text, options)`, `steer(text)`, `stop()`, `lastQuestion()`, `warm()`. */
  constructor(acts) {
    this.acts = acts;
    this.project = null;
    this.files = [];
    this.text = h("textarea", { rows: 1, id: "question", "aria-label": "Your question", placeholder: "Ask something", enterkeyhint: "send" });
    this.chips = h("div.chips");
    this.options = new OptionsDrawer(() => this.#showOptions());
    this.optionsButton = h("button.quiet.options-button", { type: "button", "aria-expanded": "false", onclick: () => this.toggleOptions() });
    this.why = h("p.fault.small-text", { role: "alert", hidden: true });
    this.file = h("input", { type: "file", multiple: true, hidden: true, accept: Object.keys(TYPES).map((end) => `.${end}`).join(",") });
    this.send = h("button.primary.send", { type: "button", onclick: () => this.submit() });
    this.how = iconButton("fold", "Other ways to send", () => this.#ways(), "primary.how");
    this.el = h(
      "section.composer",
      { "aria-label": "Ask" },
      this.options.el,
      h("div.composer-box", {}, this.chips, this.text, h("div.composer-foot", {}, iconButton("clip", "Attach files", () => this.file.click()), this.file, this.optionsButton, h("span.space"), h("span.split", {}, this.send, this.how))),
      this.why,
    );
    this.text.addEventListener("input", () => {
      this.#changed();
      if (this.text.value.trim()) this.acts.warm();
    });
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.text.addEventListener("paste", (event) => this.#paste(event));
    this.file.addEventListener("change", () => {
      this.add(this.file.files);
      this.file.value = "";
    });
    this.#showOptions();
    this.busy(false, 0);
  }

  /** Be another project's: its draft comes back. */
  open(project) {
    this.project = project;
    if (!this.options.el.hidden) this.toggleOptions();
    this.files = [];
    this.text.value = kept.get(`draft:${project}`, "");
    this.#grow();
    this.#showFiles();
    this.refuse("");
  }

  busy(isBusy, queued) {
    this.isBusy = isBusy;
    const label = isBusy ? "Queue" : "Send";
    this.send.replaceChildren(isBusy ? label : icon("send"), isBusy && queued ? h("span.num", {}, ` ${queued + 1}`) : "");
    if (isBusy) this.send.removeAttribute("aria-label");
    else this.send.setAttribute("aria-label", "Send");
    this.send.title = isBusy ? "Ask it when the running answer is done (Enter)" : "Send (Enter)";
    this.send.classList.toggle("square", !isBusy);
    this.how.hidden = !isBusy;
  }

  submit(how = "queue") {
    const text = this.text.value;
    if (!text.trim()) {
      this.text.focus();
      return;
    }
    let options;
    try {
      options = this.options.values();
    } catch (fault) {
      this.refuse(fault.message);
      return;
    }
    if (this.files.length) options.attachments = this.files.map(({ size: _, ...file }) => file);
    if (how === "interrupt") options.on_busy = "interrupt";
    this.set("");
    this.files = [];
    this.#showFiles();
    if (!this.options.el.hidden) this.toggleOptions();
    if (how === "steer") this.acts.steer(text).catch((fault) => {
      this.set(text);
      this.refuse(fault.status === 404 || fault.status === 405 ? "This server cannot take words into a running answer; queue them." : fault.message);
    });
    else this.acts.ask(text, options);
  }

  set(text) {
    this.text.value = text;
    this.#changed();
  }

  focus() {
    this.text.focus({ preventScroll: true });
  }

  refuse(why) {
    this.why.textContent = why;
    this.why.hidden = !why;
  }

  toggleOptions() {
    const isOpen = this.options.toggle();
    this.optionsButton.setAttribute("aria-expanded", String(isOpen));
  }

  async add(list) {
    for (const file of list) {
      const media = TYPES[file.name.split(".").pop().toLowerCase()] ?? (Object.values(TYPES).includes(file.type) ? file.type : null);
      const kind = media?.startsWith("image/") ? "image" : "document";
      const limit = LIMITS[kind === "image" ? "image" : media] ?? LIMITS.text;
      if (!media) this.refuse(`${file.name}: images, PDF, text, Markdown and CSV can be attached.`);
      else if (file.size > limit) this.refuse(`${file.name} is ${bytes(file.size)}; ${bytes(limit)} is the most.`);
      else if (this.files.length >= MOST_FILES) this.refuse(`${count(MOST_FILES)} files are the most.`);
      else if (!file.size) this.refuse(`${file.name} is empty.`);
      else this.files.push({ type: kind, media_type: media, data: await base64(file), name: file.name.slice(0, 200), size: file.size });
    }
    this.#showFiles();
    this.focus();
  }

  #showFiles() {
    this.chips.replaceChildren(
      ...this.files.map((file, place) => h("span.chip", {}, file.name, h("span.soft.num", {}, bytes(file.size)), iconButton("cross", `Take out ${file.name}`, () => {
        this.files.splice(place, 1);
        this.#showFiles();
        this.focus();
      }))),
    );
  }

  #showOptions() {
    this.optionsButton.replaceChildren(icon("options"), h("span", {}, this.options.summary()));
    this.optionsButton.setAttribute("aria-label", `Options of the question: ${this.options.summary()}`);
  }

  #changed() {
    this.#grow();
    this.refuse("");
    if (this.project !== null) kept.set(`draft:${this.project}`, this.text.value);
  }

  #grow() {
    const most = LINE_PX * LINES + PADDING_PX;
    // A long text is surely higher than that, and to measure it takes as long as it is.
    const isLong = this.text.value.length > LONG;
    this.text.style.height = isLong ? `${most}px` : "auto";
    if (!isLong) this.text.style.height = `${Math.min(this.text.scrollHeight, most)}px`;
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit(event.ctrlKey || event.metaKey ? "interrupt" : "queue");
    } else if (event.key === "ArrowUp" && !this.text.value) {
      const last = this.acts.lastQuestion();
      if (!last) return;
      event.preventDefault();
      this.set(last);
      this.text.setSelectionRange(last.length, last.length);
    }
  }

  #paste(event) {
    if (!event.clipboardData?.files.length) return;
    event.preventDefault();
    this.add(event.clipboardData.files);
  }

  #ways() {
    openMenu(this.how, [
      ["Queue: ask it after the running answer", () => this.submit("queue")],
      ["Steer: give it to the running answer", () => this.submit("steer")],
      ["Interrupt and ask: stop the running answer", () => this.submit("interrupt")],
    ]);
  }
}

async function base64(file) {
  const data = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  return btoa(text);
}

