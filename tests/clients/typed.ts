// A client with the types that openapi-typescript has made: it compiles, or the types are wrong.
import type { components, operations } from "./api";

type Frame = components["schemas"]["Frame"];
type Ask = operations["ask_question"]["requestBody"]["content"]["application/json"];
type Answer = operations["ask_question"]["responses"][200]["content"]["application/json"];
type Event = components["schemas"]["Event"];
type Resume = operations["stream_turn_events"]["parameters"];

export const asked: Ask = { project_name: "p", question: "hi", events: ["tool", "status"] };

export function answered(answer: Answer): string {
  const recovered: boolean | undefined = answer.session_recovered;
  return `${answer.message} ${answer.turn_id} ${recovered ?? false}`;
}

export function resumed(turn: string, event: Event): Resume {
  return { path: { turn_id: turn }, header: { "Last-Event-ID": event.id }, query: { events: "tool" } };
}

export function parsed(event: Event): Frame {
  return JSON.parse(event.data);
}

// Each kind of frame has its own keys, and there is no kind that this does not name.
export function told(frame: Frame): string {
  switch (frame.type) {
    case "turn":
      return `${frame.state} ${frame.position + 1}`;
    case "token":
      return frame.token;
    case "replace":
    case "thinking":
      return frame.text;
    case "tool_use":
      return frame.name;
    case "tool_result":
      return frame.content;
    case "status":
      return frame.status;
    case "usage":
      return `${frame.input_tokens} ${frame.cost_usd ?? 0}`;
    case "subagent":
      return `${frame.name} ${frame.state}`;
    case "todo":
      return frame.items.map((item) => `${item.state} ${item.text}`).join();
    case "approval":
      return `${frame.tool} until ${frame.expires_at}`;
    case "approval_resolved":
      return frame.decision;
    case "error":
      return `${frame.code}: ${frame.error}`;
    case "done":
      return frame.success ? frame.turn_id : (frame.message ?? "");
    default: {
      const nothing: never = frame;
      return nothing;
    }
  }
}
