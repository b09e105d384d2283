"""Waits for the result of a turn: until it comes, the turn is stopped, or its time is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import INTERRUPT_STEP_S, ClaudeProcess
from cowork.claude.stream_json.result import Result
from cowork.model import Claim
from cowork.turns.approvals.turn_approvals import Parked, TurnApprovals
from cowork.turns.running.deadline import Deadline
from cowork.turns.running.steer_delivery import Steering
from cowork.turns.running.turn_limits import TurnMeter
from cowork.turns.turn import Turn


@dataclass(slots=True)
class TurnRun:
    """A turn that is being run, with what only some have: `approvals` and a `meter`.

    `is_asked` is whether a process was given its question.
    """

    turn: Turn
    claim: Claim
    deadline: Deadline
    steering: Steering
    approvals: TurnApprovals | None = None
    meter: TurnMeter | None = None
    is_asked: bool = False

    def on_steer(self, reply: PendingAnswer) -> Callable[[], None]:
        """What is called when something is said to the turn."""
        approvals = self.approvals

        def look() -> None:
            reply.wake()
            if approvals is not None:  # one that waits for a person may outlive this process
                approvals.request_save()

        return look

    def close_approvals(self) -> None:
        """The turn is about to end: it waits for nobody any more."""
        if self.approvals is not None:
            self.approvals.close()


def wait_for_result(run: TurnRun, process: ClaudeProcess, reply: PendingAnswer) -> Result:
    """The result, or what there is of it when the turn is stopped or its time runs out.

    Raises `Parked`, with the process killed, where the turn waits for a person without one.
    """
    turn = run.turn
    turn.on_stop(reply.interrupt)
    run.steering.attach(process, reply, run.on_steer(reply))
    if run.approvals is not None:
        run.approvals.attach(process, reply)
    give_up: float | None = None
    while True:
        if turn.stop_reason is not None and give_up is None:
            give_up = time.monotonic() + INTERRUPT_STEP_S
        result = reply.wait(_until(run, process, reply, give_up))
        if result is not None:
            return _settled(run, result)
        if give_up is not None and time.monotonic() >= give_up:
            return reply.answer.cut_off(interrupted=True)
        run.deadline.check(reply)  # it may have moved while we waited: the CLI spoke


def _until(
    run: TurnRun, process: ClaudeProcess, reply: PendingAnswer, give_up: float | None
) -> float:
    """When to look again; what the turn waits for is seen to first."""
    approvals = run.approvals
    look_again = float("inf")
    if give_up is None and reply.result is None:
        if approvals is not None:
            approvals.save_changes()  # what the CLI has was kept before
        run.steering.step()
    if approvals is not None and give_up is None and reply.result is None:
        try:
            look_again = approvals.step()
        except Parked:
            # At once: an interrupt would write that the tool was not allowed.
            process.kill()
            approvals.park()
            run.steering.detach(approvals.request_save)
            raise
    until = run.deadline.at(reply) if give_up is None else give_up
    return min(until, look_again)


def _settled(run: TurnRun, result: Result) -> Result:
    if run.meter is not None:
        run.meter.settle()
    return result
