// The foot of a turn: what it took, and what can be done with it.

import { copy, count, emit, h, iconButton, kept, money, plural, span, toast } from "./dom.js";
import { ask, openMenu } from "./menu.js";
import { client } from "./server.js";

const SHOWN_FILES = 20;

/** `told` are the last frame's facts, or those of `GET /turns/{id}`. */
export function footOf(turn, told) {
  const usage = told.usage ?? {};
  const input = (usage.input_tokens ?? 0) + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
  const files = told.files_changed ?? [];
  const facts = [
    turn.firstToken === null || turn.wasReplayed ? null : `${span(turn.firstToken)} to first word`,
    told.duration_ms === null || told.duration_ms === undefined ? null : span(told.duration_ms),
    input ? `${count(input)} in, ${count(usage.output_tokens ?? 0)} out` : null,
    told.total_cost_usd ? money(told.total_cost_usd) : null,
    files.length ? plural(files.length, "file") + " changed" : null,
  ].filter(Boolean);
  const more = iconButton("more", "More about this turn", () => openMenu(more, actionsOf(turn)));
  return [
    h("span.num", { title: files.join("\n") }, facts.join("  ·  ")),
    h("span.actions", {}, iconButton("copy", "Copy the answer", () => copy(turn.textOfAnswer())), more),
  ];
}

function actionsOf(turn) {
  const { host, id } = turn;
  return [
    ["Ask again", () => host.again(turn)],
    ["Edit and ask", () => host.edit(turn)],
    ["Copy as curl", () => copy(host.curl(turn))],
    id && ["Copy the link", () => copy(`${location.href.split("#")[0]}${host.hash(turn)}`)],
    id && ["Fork from here…", () => host.fork(turn)],
    id && ["Rewind to here…", () => host.rewind(turn)],
  ].filter(Boolean);
}

/** The question as a command line. */
export function curl({ project }, turn) {
  const { events: _, ...body } = turn.options ?? { project_name: project, question: turn.text };
  const quoted = JSON.stringify(body).replaceAll("'", `'\\''`);
  const key = kept.get("key") ? ` -H "Authorization: Bearer $COWORK_KEY"` : "";
  return `curl -N ${location.origin}/ask_question_streaming${key} -H "Content-Type: application/json" -d '${quoted}'`;
}

/** Begin another project with what was said up to there. */
export async function fork({ project }, turn) {
  const given = await ask("Fork from here", {
    text: "A new project begins with the conversation up to this answer. This one stays as it is.",
    fields: [["to", "Name of the new project", `${project}-2`]],
    yes: "Fork",
  });
  if (!given?.to) return;
  try {
    await client.fork(project, { to: given.to, at_turn: turn.id });
    emit("sessions");
    location.hash = `#/chat/${encodeURIComponent(given.to)}`;
  } catch (fault) {
    toast(fault.message);
  }
}

/** Have the conversation go on behind this turn, and files be as they were, where that can be. */
export async function rewind(conversation, turn) {
  const { project, turns } = conversation;
  const later = turns.slice(turns.indexOf(turn) + 1);
  const files = await changedSince(project, turn);
  const restores = h("input", { type: "checkbox", id: "rewind-files" });
  const list =
    files &&
    h(
      "div.stack",
      {},
      h("label.row", { for: "rewind-files" }, restores, `Restore ${plural(files.count, "file")} as they were then`),
      h("ul.soft.mono", {}, files.changed.slice(0, SHOWN_FILES).map((path) => h("li", {}, path))),
      h("p.soft.small-text", {}, files.not_restored),
    );
  const given = await ask("Rewind to here", {
    text: `The conversation goes on after this answer: ${later.length === 1 ? "one later turn is" : `${later.length} later turns are`} gone from it. ${files ? "" : "Files stay as they are."}`,
    body: list,
    yes: "Rewind",
    danger: true,
  });
  if (!given) return;
  try {
    await client.rewind(project, { to_turn: turn.id, ...(restores.checked ? { files: "restore" } : {}) });
    for (const each of later) conversation.drop(each);
    conversation.changed(null);
    emit("sessions");
    toast("Rewound");
  } catch (fault) {
    toast(fault.message);
  }
}

/** Which files a rewind could restore; null where none, or where the server keeps no checkpoints. */
async function changedSince(project, turn) {
  try {
    const { files } = await client.rewind(project, { to_turn: turn.id, files: "preview" });
    return files?.can_restore && files.count ? files : null;
  } catch {
    return null;
  }
}
