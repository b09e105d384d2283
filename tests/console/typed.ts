// A program on the console's client, which `test_client_types.py` has TypeScript check.
import { CoworkClient, CoworkError, type Frame } from "../../cowork/console/client.js";

const client = new CoworkClient({ url: "http://localhost:5002", key: () => null });

export async function answer(question: string): Promise<string> {
  let text = "";
  const turns: string[] = [];
  const asked = { project_name: "typed", question, events: ["tool" as const, "approval" as const] };
  for await (const frame of client.ask(asked, { onTurn: (turn) => turns.push(turn) })) {
    const { type, token, number }: Frame = frame;
    if (type === "token") text += token ?? "";
    if (type === "approval") await client.decide(String(frame.id), { decision: "allow" });
    if (number < 0) throw new Error("a frame without its number");
  }
  return client.steer(turns[0], "more").then(
    () => text,
    (fault: CoworkError) => fault.code,
  );
}
