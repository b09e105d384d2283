/** Types of `/client.js`; what frames and replies hold stands in `/openapi.json`. */

export interface Attachment {
  type: "image" | "document";
  media_type: string;
  /** Base64. */
  data: string;
  name?: string;
}

export type EventKind = "tool" | "thinking" | "status" | "approval" | "usage" | "subagent" | "todo";

export interface Question {
  project_name: string;
  question: string;
  events?: EventKind[];
  on_busy?: "queue" | "reject" | "interrupt" | "steer";
  model?: string | null;
  effort?: "low" | "medium" | "high" | "xhigh" | "max" | null;
  permission_mode?: "plan" | "default" | "acceptEdits" | null;
  approvals?: boolean | null;
  approval_timeout?: number | null;
  attachments?: Attachment[];
  timeout?: number | null;
  system_prompt?: string | null;
  output_schema?: object | null;
  max_turns?: number | null;
  max_budget_usd?: number | null;
  disallowed_tools?: string[];
  mcp_servers?: string[];
  agent_type?: string | null;
  user_id?: string | null;
  message_type?: string | null;
}

/** One frame of a stream; `type` says which, and the last one has `done: true`. */
export interface Frame {
  number: number;
  type: string;
  done?: boolean;
  token?: string;
  text?: string;
  [fact: string]: unknown;
}

export interface Connection {
  state: "open" | "lost";
  /** How often in a row it could not be made. */
  attempt: number;
  /** Milliseconds until it is tried again. */
  pause?: number;
  error?: CoworkError;
}

export interface Answer {
  decision: "allow" | "deny" | "answer";
  input?: object;
  message?: string;
  interrupt?: boolean;
  remember?: "once" | "session";
  answers?: Record<string, string | string[]>;
  permission_mode?: string;
}

type Query = Record<string, string | number | boolean | null | undefined>;
type Json = any;

export class CoworkError extends Error {
  readonly status: number;
  readonly code: string;
  readonly detail: unknown;
  /** Seconds, where the server says so. */
  readonly retryAfter: number | null;
  readonly isPassing: boolean;
}

export interface ClientOptions {
  url?: string;
  key?: string | null | (() => string | null);
  fetch?: typeof fetch;
}

export interface AskOptions {
  idempotencyKey?: string;
  signal?: AbortSignal;
  onConnection?: (connection: Connection) => void;
  onTurn?: (turnId: string) => void;
  /** `<turn id>.<number>` of a frame: go on behind it and ask nothing. */
  lastEventId?: string;
}

export interface EventsOptions {
  /** The number of the last frame that is not to come again. */
  after?: number;
  events?: EventKind[] | null;
  signal?: AbortSignal;
  onConnection?: (connection: Connection) => void;
}

export class CoworkClient {
  constructor(options?: ClientOptions);
  call(method: string, path: string, body?: unknown, options?: { signal?: AbortSignal; headers?: Record<string, string> }): Promise<Json>;
  ask(question: Question, options?: AskOptions): AsyncGenerator<Frame, void>;
  events(turnId: string, options?: EventsOptions): AsyncGenerator<Frame, void>;
  turn(turnId: string): Promise<Json>;
  interrupt(turnId: string): Promise<Json>;
  steer(turnId: string, text: string, options?: { idempotencyKey?: string }): Promise<Json>;
  ticket(turnId: string): Promise<{ ticket: string; expires_at: string; url: string }>;
  approvals(query?: Query): Promise<Json>;
  decide(approvalId: string, answer: Answer): Promise<Json>;
  sessions(query?: Query): Promise<Json>;
  session(project: string): Promise<Json>;
  messages(project: string, query?: Query): Promise<Json>;
  turns(project: string, query?: Query): Promise<Json>;
  rename(project: string, title: string | null): Promise<Json>;
  deleteSession(project: string): Promise<Json>;
  interruptProject(project: string): Promise<Json>;
  warm(project: string, wanted?: { approvals?: boolean | null; events?: EventKind[] }): Promise<null>;
  fork(project: string, body: { to: string; at_turn?: string }, options?: { idempotencyKey?: string }): Promise<Json>;
  rewind(project: string, body: { to_turn: string; files?: "keep" | "preview" | "restore" }, options?: { idempotencyKey?: string }): Promise<Json>;
  health(): Promise<Json>;
  models(): Promise<Json>;
  skills(): Promise<Json>;
  mcpServers(): Promise<Json>;
  usage(query?: Query): Promise<Json>;
  processes(): Promise<Json>;
  endProcess(processId: string): Promise<Json>;
  outbox(): Promise<Json>;
  retryOutbox(): Promise<Json>;
}

export function newKey(): string;
