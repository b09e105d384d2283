// What waits for a person, in the composer's place: a tool, a question, a plan.

import { button, clock, cut, h, icon, plural, visible } from "./dom.js";
import { markdown } from "./markdown.js";
import { client } from "./server.js";
import { described, inputView } from "./tools.js";

// Whoever was typing when the dock came does not decide by it: keys count after such a silence.
const ARMED_MS = 900;
// A click within it was meant for what stood there before, or is the second of a double click.
const SETTLE_MS = 600;
const LONG_LINES = 20;
const LAST_SECONDS = 30;

export class Dock {
  /** `onDecided(id)` before an answer is sent; `onGone(id, why)` when nothing waits there any more. */
  constructor({ onDecided, onGone }) {
    this.el = h("section.dock", { hidden: true, tabIndex: -1, "aria-label": "Waiting for you" });
    this.onDecided = onDecided;
    this.onGone = onGone;
    this.shown = null;
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("focus", () => this.settle());
    setInterval(() => this.#tick(), 1000);
  }

  get isOpen() {
    return !this.el.hidden;
  }

  /** Show the first of what waits; nothing, where nothing does. */
  show(waiting) {
    const [first] = waiting;
    if (!first) {
      this.shown = null;
      this.el.hidden = true;
      return;
    }
    this.count?.replaceChildren(waiting.length > 1 ? `1 of ${waiting.length}` : "");
    if (this.shown?.id === first.id) return;
    this.shown = first;
    this.keys = {};
    this.body = h("div.dock-body");
    this.bar = h("div.dock-bar");
    this.left = h("span.soft.num.left");
    this.count = h("span.soft.num", {}, waiting.length > 1 ? `1 of ${waiting.length}` : "");
    this.fault = h("p.fault", { role: "alert", hidden: true });
    this.line = h("div.time-line", { hidden: true });
    const title = h("h2.dock-title", {}, icon("alert"), h("span", {}, titleOf(first)));
    this.el.replaceChildren(this.line, h("div.dock-head", {}, title, this.count, this.left), this.body, this.fault, this.bar);
    ({ tool: () => this.#tool(first), question: () => this.#question(first), plan: () => this.#plan(first) })[first.kind]?.();
    this.el.hidden = false;
    this.settle();
    this.#tick();
    (this.el.querySelector("[data-first]") ?? this.el).focus({ preventScroll: true });
  }

  /** It has just come into sight: neither a click nor a key decides yet. */
  settle() {
    if (!this.isOpen) return;
    const { bar } = this;
    this.since = performance.now();
    this.isArmed = false;
    bar.inert = true;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => (bar.inert = false), SETTLE_MS);
  }

  #tool(asked) {
    if (asked.reason) this.body.append(h("p.soft", {}, asked.reason));
    const shown = h("div.asked", {}, inputView(asked.tool, asked.input, Infinity));
    const lines = shown.textContent.split("\n").length + shown.querySelectorAll(".diff-row").length;
    if (lines > LONG_LINES) this.body.append(h("p.soft", {}, `All ${plural(lines, "line")} of it; scroll to read them.`));
    this.body.append(shown);
    if (asked.suggestions?.length) this.body.append(h("p.soft.remembers", {}, "“For this session” allows from now on: ", h("span.mono", {}, visible(asked.suggestions.map(remembered).join(", ")))));
    let edited = null;
    const edit = this.#action("Edit", "e", () => {
      const isCommand = asked.tool === "Bash";
      edited = h("textarea.edit-input", { spellcheck: "false", "aria-label": "The input, to be changed", rows: 6 }, isCommand ? asked.input.command : JSON.stringify(asked.input, null, 2));
      edited.value = edited.textContent;
      shown.replaceChildren(h("p.soft", {}, "Your change runs instead."), edited);
      edit.hidden = true;
      edited.focus();
    });
    const input = () => {
      if (!edited) return {};
      return { input: asked.tool === "Bash" ? { ...asked.input, command: edited.value } : JSON.parse(edited.value) };
    };
    const allowed = (more) => () => {
      let changed;
      try {
        changed = input();
      } catch (fault) {
        this.#say(`This is no JSON: ${fault.message}`);
        return;
      }
      this.#send({ decision: "allow", ...more, ...changed });
    };
    const remember = asked.suggestions?.length ? this.#action("For this session", "s", allowed({ remember: "session" })) : null;
    const allow = this.#action("Allow", "a", allowed({}), "primary");
    this.bar.append(this.#denial(), h("span.space"), ...[edit, remember, allow].filter(Boolean));
  }

  #question(asked) {
    const fields = (asked.questions ?? asked.input?.questions ?? []).map((each, place) => questionField(each, place));
    this.body.append(...fields.map(({ el }) => el));
    const answer = () => {
      const answers = Object.fromEntries(fields.map(({ question, value }) => [question, value()]));
      const missing = Object.values(answers).some((value) => !value || !value.length);
      if (missing) this.#say("Choose an answer to each question, or write one.");
      else this.#send({ decision: "answer", answers });
    };
    this.keys.choose = fields.length === 1 ? fields[0].choose : null;
    this.bar.append(this.#denial("Skip…"), h("span.space"), this.#action("Answer", "Enter", answer, "primary"));
  }

  #plan(asked) {
    const plan = asked.plan ?? asked.input?.plan ?? "";
    if (!plan.trim()) this.body.append(h("p.soft", {}, "It wrote no plan down; what it says about it stands above."));
    const text = h("div.plan", { tabIndex: 0, role: "group", "aria-label": "The plan" }, markdown(plan));
    const mode = h("select", { "aria-label": "How to carry it out" }, h("option", { value: "" }, "asking before edits"), h("option", { value: "acceptEdits" }, "editing without asking"));
    if (plan.trim()) this.body.append(text);
    const allow = () => this.#send({ decision: "allow", ...(mode.value ? { permission_mode: mode.value } : {}) });
    this.bar.append(this.#denial("Keep planning…", { hint: "What the plan should have (may stay empty)", yes: "Keep planning", stop: "Reject and stop", kind: "primary" }), h("span.space"), mode, this.#action("Carry it out", "a", allow, "primary"));
  }

  /** Deny, with words for the model where there are any. */
  #denial(label = "Deny…", { hint = "What to do instead (may stay empty)", yes = "Deny", stop = "Deny and stop", kind = "danger" } = {}) {
    return this.#action(label, "d", () => {
      const words = h("input", { placeholder: hint, "aria-label": "Words for the model", autocomplete: "off" });
      const deny = (more) => () => this.#send({ decision: "deny", ...(words.value.trim() ? { message: words.value.trim() } : {}), ...more });
      words.addEventListener("keydown", (event) => {
        if (event.key === "Enter") deny({})();
      });
      this.keys = {};
      this.bar.replaceChildren(words, button(yes, deny({}), kind), button(stop, deny({ interrupt: true })));
      words.focus();
    });
  }

  #action(label, key, act, kind = "plain") {
    this.keys[key.toLowerCase()] = act;
    const hint = key === "Enter" ? "↵" : key.toUpperCase();
    const made = h(`button.${kind}`, { type: "button", onclick: act, "aria-keyshortcuts": key }, label, h("kbd", { "aria-hidden": "true" }, hint));
    if (kind === "primary") made.dataset.primary = "";
    return made;
  }

  async #send(answer) {
    const { id } = this.shown;
    this.onDecided(id);
    for (const each of this.bar.querySelectorAll("button")) each.disabled = true;
    try {
      await client.decide(id, answer);
      this.onGone(id, null);
    } catch (fault) {
      if (["approval_resolved", "approval_expired", "approval_not_found"].includes(fault.code)) {
        this.onGone(id, fault);
        return;
      }
      for (const each of this.bar.querySelectorAll("button")) each.disabled = false;
      this.#say(fault.message);
    }
  }

  #say(text) {
    this.fault.textContent = text;
    this.fault.hidden = false;
  }

  #key(event) {
    if (!this.isOpen || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open], .menu")) return;
    if (!this.#isInSight()) {
      this.since = performance.now();
      this.isArmed = false;
      return;
    }
    const field = event.target.closest?.("input:not([type=radio]):not([type=checkbox]), textarea, select");
    if (field || (event.key === "Enter" && event.target.closest?.("button, a"))) return;
    if (!this.#armed()) return;
    if (/^[1-9]$/.test(event.key) && this.keys.choose) {
      this.keys.choose(Number(event.key) - 1);
      event.preventDefault();
      return;
    }
    const act = this.keys[event.key.toLowerCase()];
    if (typeof act !== "function") return;
    event.preventDefault();
    act();
  }

  /** What is not seen is not decided: another view may be shown, or a panel lie over it. */
  #isInSight() {
    const { x, y, width, height } = this.bar.getBoundingClientRect();
    return this.bar.inert || this.bar.contains(document.elementFromPoint(x + width / 2, y + height / 2));
  }

  /** Whether the keys were still for a while since it came; from then on they count. */
  #armed() {
    const now = performance.now();
    this.isArmed ||= now - this.since > ARMED_MS;
    if (!this.isArmed) this.since = now;
    return this.isArmed;
  }

  #tick() {
    if (!this.isOpen || !this.shown?.expires_at) return;
    const ms = Date.parse(this.shown.expires_at) - Date.now();
    this.left.textContent = ms > 0 ? `${clock(ms)} left` : "too late";
    const isLate = ms < LAST_SECONDS * 1000;
    this.line.hidden = !isLate;
    if (isLate) this.line.style.transform = `scaleX(${Math.max(0, ms / (LAST_SECONDS * 1000))})`;
    if (ms < -2000) this.onGone(this.shown.id, null);
  }
}

function titleOf(asked) {
  if (asked.kind === "question") return "Claude asks you";
  if (asked.kind === "plan") return "Claude has a plan";
  const { name, does: whole, path } = described(asked.tool, asked.input);
  const does = path ? path.split("/").pop() : whole;
  const who = asked.subagent_id ? "A sub-agent" : "Claude";
  const wants = { Run: "run a command", Edit: `edit ${does}`, Write: `write ${does}`, Read: `read ${does}`, Fetch: "read a page" }[name] ?? `use ${name}`;
  return `${who} wants to ${visible(cut(wants, 80))}`;
}

/** What the CLI suggests to remember: rules, a mode, directories; as it is, what is none of them. */
function remembered(suggestion) {
  const { type, rules, mode, directories } = suggestion;
  if (type === "addRules" && Array.isArray(rules)) return rules.map((rule) => `${rule.toolName}${rule.ruleContent ? `(${rule.ruleContent})` : ""}`).join(", ");
  if (type === "setMode") return `the mode ${mode}`;
  if (type === "addDirectories" && Array.isArray(directories)) return directories.join(", ");
  return JSON.stringify(suggestion);
}

function questionField({ question, header, options = [], multiSelect: many }, place) {
  const name = `question-${place}`;
  const kind = many ? "checkbox" : "radio";
  const boxes = options.map(({ label, description }, number) => {
    const box = h("input", { type: kind, name, value: label, id: `${name}-${number}` });
    if (number === 0 && place === 0) box.dataset.first = "";
    return [box, h("label.option", { for: box.id }, box, h("span", {}, h("span.option-label", {}, label), description ? h("span.soft", {}, description) : null), h("kbd", { "aria-hidden": "true" }, String(number + 1)))];
  });
  const own = h("input", { placeholder: "Something else", "aria-label": "Something else", autocomplete: "off" });
  own.addEventListener("input", () => {
    if (!many && own.value) for (const [box] of boxes) box.checked = false;
  });
  const value = () => {
    const chosen = boxes.filter(([box]) => box.checked).map(([box]) => box.value);
    if (own.value.trim()) chosen.push(own.value.trim());
    return many ? chosen : (chosen[0] ?? "");
  };
  const choose = (number) => boxes[number]?.[0].click();
  const el = h("fieldset", {}, h("legend", {}, header ? h("span.badge", {}, header) : null, question), boxes.map(([, label]) => label), own);
  return { el, question, value, choose };
}
