// The drawer of a question's options, each with its sentence from the server's OpenAPI document.

import { h, kept, on } from "./dom.js";
import { client, features } from "./server.js";

const EFFORTS = ["low", "medium", "high", "xhigh", "max"];
const MODES = { plan: "plan only", default: "ask before edits", acceptEdits: "edit without asking" };

export class OptionsDrawer {
  constructor(changed) {
    this.changed = changed;
    this.chosen = kept.get("options", {});
    this.el = h("div.options", { hidden: true, role: "group", "aria-label": "Options of the question" });
    this.models = [];
    on("features", () => {
      this.changed();
      if (this.filled) this.#show(...this.told);
    });
  }

  get approvals() {
    return features.approvals === "always" || (features.approvals === "optional" && this.chosen.approvals !== false);
  }

  /** What a question brings besides its text. Throws where a field cannot be read. */
  values() {
    const { approvals: _, ...given } = this.chosen;
    if (given.disallowed_tools) given.disallowed_tools = words(given.disallowed_tools);
    if (given.mcp_servers) given.mcp_servers = words(given.mcp_servers);
    for (const name of ["timeout", "max_turns", "max_budget_usd", "approval_timeout"]) {
      if (given[name] === undefined) continue;
      given[name] = Number(given[name]);
      if (!(given[name] > 0)) throw new Error(`${name.replaceAll("_", " ")}: a number above 0 is needed.`);
    }
    if (this.approvals && features.approvals === "optional") given.approvals = true;
    if (!this.approvals) delete given.approval_timeout;
    return given;
  }

  summary() {
    const { model, effort, permission_mode: mode } = this.chosen;
    const named = this.models.find((each) => each.id === model)?.name ?? model;
    const further = Object.keys(this.chosen).filter((name) => !["model", "effort", "permission_mode", "approvals"].includes(name)).length;
    const said = [named ?? "Default model", effort, mode && MODES[mode], this.approvals ? "asks you" : features.approvals === null ? null : "never asks", further ? `+${further}` : null];
    return said.filter(Boolean).join(" · ");
  }

  toggle() {
    this.el.hidden = !this.el.hidden;
    if (!this.el.hidden) this.#fill();
    return !this.el.hidden;
  }

  async #fill() {
    if (this.filled) return;
    this.filled = true;
    this.#show({}, [], []);
    const none = () => ({ models: [], skills: [], servers: [] });
    const [said, { models }, { skills }, { servers }] = await Promise.all([
      client.call("GET", "/openapi.json").then((document) => document.components.schemas.AskBody.properties, () => ({})),
      client.models().catch(none),
      client.skills().catch(none),
      client.mcpServers().catch(none),
    ]);
    this.models = models;
    this.#show(said, skills, servers);
    this.changed();
  }

  #show(said, skills, servers) {
    this.told = [said, skills, servers];
    const sentence = (name) => plain(said[name]?.description ?? "");
    const model = this.models.find((each) => each.id === (this.chosen.model ?? "default"));
    const efforts = model?.efforts ?? EFFORTS;
    const fields = [
      this.#choice("model", "Model", this.models.filter((each) => each.id !== "default").map((each) => [each.id, each.name]), sentence("model")),
      this.#choice("effort", "Effort", efforts.map((each) => [each, each]), sentence("effort")),
      this.#choice("permission_mode", "Permissions", Object.entries(MODES), sentence("permission_mode")),
      this.#approvals(sentence("approvals")),
      this.#field("approval_timeout", "Seconds to answer", sentence("approval_timeout"), { inputmode: "numeric" }),
      skills.length ? this.#choice("agent_type", "Skill", skills.map((each) => [each.name, each.name]), sentence("agent_type")) : null,
      servers.length ? this.#field("mcp_servers", "MCP servers", `${sentence("mcp_servers")} Here: ${servers.map((each) => each.name).join(", ")}.`) : null,
      this.#field("disallowed_tools", "Tools taken away", sentence("disallowed_tools")),
      this.#field("max_turns", "Most requests", sentence("max_turns"), { inputmode: "numeric" }),
      this.#field("max_budget_usd", "Most USD", sentence("max_budget_usd"), { inputmode: "decimal" }),
      this.#field("timeout", "Most seconds", sentence("timeout"), { inputmode: "numeric" }),
      this.#field("system_prompt", "System prompt", sentence("system_prompt")),
    ];
    this.el.replaceChildren(...fields.filter(Boolean));
  }

  #set(name, value) {
    if (value === "" || value === undefined) delete this.chosen[name];
    else this.chosen[name] = value;
    kept.set("options", this.chosen);
    this.changed();
  }

  #choice(name, label, choices, sentence) {
    const field = h("select", { id: `option-${name}` }, h("option", { value: "" }, "as the server has it"), choices.map(([value, shown]) => h("option", { value }, shown)));
    field.value = this.chosen[name] ?? "";
    field.addEventListener("change", () => this.#set(name, field.value));
    return labelled(field, label, sentence);
  }

  #field(name, label, sentence, more = {}) {
    const field = h("input", { id: `option-${name}`, autocomplete: "off", spellcheck: "false", ...more });
    field.value = this.chosen[name] ?? "";
    field.addEventListener("input", () => this.#set(name, field.value.trim()));
    return labelled(field, label, sentence);
  }

  #approvals(sentence) {
    const why = { off: "This server does not ask: COWORK_APPROVALS is off.", always: "This server always asks: COWORK_APPROVALS is always." }[features.approvals];
    const field = h("input", { type: "checkbox", id: "option-approvals", disabled: Boolean(why) });
    field.checked = this.approvals;
    field.addEventListener("change", () => this.#set("approvals", field.checked ? undefined : false));
    return labelled(field, "Ask me before a tool runs that may not by itself", why ?? sentence, "check");
  }
}

function labelled(field, label, sentence, kind = "") {
  if (sentence) field.setAttribute("aria-describedby", `${field.id}-says`);
  const name = h("label", { for: field.id }, label);
  const says = sentence ? h("p.soft.small-text", { id: `${field.id}-says` }, sentence) : null;
  return kind === "check" ? h("div.option-field.checked", {}, h("div.row", {}, field, name), says) : h("div.option-field", {}, name, field, says);
}

const words = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);
const plain = (text) => text.replaceAll("`", "");
