"""Every metric there is: its name, type, labels and, for a gauge, what several workers make of it.

Names carry their units.  Labels are bounded: a route's rule and never a path, a key's name, a
model; never a project, a session or a turn.  `docs/metrics.md` has the same table, and a test
holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "cowork_"

Kind = Literal["counter", "gauge", "histogram"]
# What a gauge of several workers is together: their sum, the largest or the smallest, or each
# beside the others, told apart by the label `worker`.
Across = Literal["sum", "max", "min", "each"]

# Seconds.  What a person waits for, and what takes as long as a turn.
SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FIRST_TOKEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
WAITS = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
LONG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
DELAYS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
PEOPLE = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 86400.0)
# Bytes, of one process of the CLI.
MEMORY = tuple(float(each * 2**20) for each in (50, 100, 150, 200, 300, 400, 600, 1000, 2000))


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `name` is without the prefix, a counter's ends in `_total`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    across: Across = "sum"

    @property
    def full_name(self) -> str:
        return PREFIX + self.name


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str, across: Across = "sum") -> Metric:
    return Metric(name, "gauge", text, labels, across=across)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, "histogram", text, labels, buckets)


# -- HTTP

HTTP_REQUESTS = _counter(
    "http_requests_total", "Requests answered by the application.", "method", "route", "status"
)
HTTP_DURATION = _histogram(
    "http_request_duration_seconds",
    "From a request's first look at it to the last byte of its reply, streams too.",
    LONG,
    "method",
    "route",
)
HTTP_REFUSED = _counter(
    "http_refused_total",
    "Requests refused for who sent them (no_key, wrong_key, host, origin, too_many), or before"
    " anybody could read them (unread).",
    "reason",
)
STREAMS_OPEN = _gauge("streams_open", "Event streams being read now.")
STREAM_ENDS = _counter(
    "stream_ends_total",
    "Event streams ended: done, client_left, reader_stalled, key_revoked, shutdown.",
    "how",
)
STREAM_RESUMES = _counter(
    "stream_resumes_total",
    "Streams that a client went on with: live, replay of a turn that had ended, refused.",
    "result",
)
RELAY_DELAY = _histogram(
    "relay_delay_seconds",
    "From a token's place in its turn's log to its client's socket; one in 64 is timed.",
    DELAYS,
)

# -- turns

TURNS = _counter(
    "turns_total",
    "Turns ended, by outcome and code.",
    "api",
    "kind",
    "outcome",
    "code",
    "key",
)
TURN_DURATION = _histogram(
    "turn_duration_seconds", "From a turn's start, behind its queue, to its end.", LONG, "kind"
)
TURN_FIRST_TOKEN = _histogram(
    "turn_first_token_seconds",
    "From a turn's start to its first text, by its process: resident, spare, new, resumed.",
    FIRST_TOKEN,
    "start",
)
TURN_QUEUE = _histogram("turn_queue_seconds", "A turn's wait for earlier ones.", WAITS)
TURN_SLOT_WAIT = _histogram(
    "turn_slot_wait_seconds", "A turn's wait for a process, its start included.", WAITS
)
TURN_CLAIM_WAIT = _histogram(
    "turn_claim_wait_seconds",
    "A turn's wait for its project to be answered by no other worker.",
    WAITS,
)
TURNS_IN_PROGRESS = _gauge("turns_in_progress", "Turns that wait (queued) or run.", "state")
TOKENS = _counter(
    "tokens_total",
    "Tokens of ended turns: input, output, cache_read, cache_write.",
    "key",
    "model",
    "type",
)
COST = _counter("cost_usd_total", "What ended turns have cost, in USD.", "key", "model")
SESSIONS = _gauge("sessions", "Sessions in the store.", across="max")
SESSIONS_LOST = _counter(
    "sessions_lost_total",
    "Sessions that could not be gone on with: no_transcript, in_use, refused, deleted.",
    "why",
)
IDEMPOTENT_REPLAYS = _counter(
    "idempotent_replays_total",
    "Requests whose idempotency key was known: attached to a running turn, replayed, mismatch.",
    "result",
)
APPROVALS_PENDING = _gauge(
    "approvals_pending", "What turns wait for a person to decide.", "kind", across="max"
)
APPROVALS = _counter("approvals_total", "Approvals decided, or expired.", "kind", "decision")
APPROVAL_WAIT = _histogram("approval_wait_seconds", "How long an approval waited.", PEOPLE)

# -- the CLI

CLI_PROCESSES = _gauge("cli_processes", "CLI processes: busy, idle, spare, starting.", "state")
CLI_PROCESSES_LIMIT = _gauge("cli_processes_limit", "How many there may be.", across="max")
CLI_STARTS = _counter(
    "cli_starts_total",
    "Starts of CLI processes (spare, new, resumed, skills), by result: ok, given_up, a code.",
    "kind",
    "result",
)
CLI_START_DURATION = _histogram(
    "cli_start_duration_seconds", "From the start of a CLI process until it answers.", LONG, "kind"
)
CLI_ENDS = _counter(
    "cli_ends_total",
    "CLI processes ended: idle, evicted, memory, turns, stale, options, deleted, died, signal,"
    " failed (its turn did), asked (DELETE /processes), throwaway (asked for skills), shutdown.",
    "why",
)
CLI_MEMORY = _gauge("cli_memory_bytes", "What all CLI processes took when last measured.")
CLI_PROCESS_MEMORY = _histogram(
    "cli_process_memory_bytes", "What one CLI process took, at each measurement.", MEMORY
)
CLI_ORPHANS_ENDED = _counter(
    "cli_orphans_ended_total", "Processes killed at the start that a dead server had left."
)
CLI_INFO = _gauge("cli_info", "1, with the CLI's version.", "version", across="max")
CLI_LOGGED_IN = _gauge("cli_logged_in", "Whether the CLI says it is logged in.", across="min")

# -- the store

STORE_DURATION = _histogram(
    "store_operation_duration_seconds", "Calls of the store.", SHORT, "operation"
)
STORE_ERRORS = _counter("store_errors_total", "Calls of the store that failed.", "operation")
STORE_UP = _gauge("store_up", "Whether the store is available.", across="min")
STORE_WAITING_ENDS = _gauge(
    "store_waiting_ends", "Ends of turns in memory that the store has not taken yet."
)
STORE_FILE = _gauge("store_file_bytes", "The SQLite file with its log.", across="max")

# -- the Chat API

OUTBOX_MESSAGES = _gauge(
    "outbox_messages", "Chat messages that wait, and dead letters.", "state", across="max"
)
OUTBOX_OLDEST = _gauge(
    "outbox_oldest_age_seconds", "For how long the oldest chat message has waited.", across="max"
)
OUTBOX_DELIVERIES = _counter(
    "outbox_deliveries_total",
    "Tries to deliver a chat message: delivered, refused, unreachable, login_needed, conflict,"
    " error.",
    "result",
)
UPSTREAM_DURATION = _histogram(
    "upstream_request_duration_seconds", "Calls of the Chat API and the XO login.", LONG, "path"
)

# -- workers

WORKERS = _gauge("workers", "Workers that take questions, on all machines.", across="max")
INBOX_WAIT = _histogram(
    "inbox_wait_seconds", "How long a command to another worker waited to be taken.", SHORT
)
REMOTE_READERS = _gauge("remote_readers", "Turns read here that another worker runs.")
TRANSCRIPT_BYTES = _counter(
    "transcript_bytes_total",
    "Bytes of transcripts put into the store (in) and taken out.",
    "direction",
)

# -- the server

EVENT_LOOP_LAG = _histogram(
    "event_loop_lag_seconds", "How late a wake-up comes that is due every 50 ms.", SHORT
)
LOG_LINES_DROPPED = _counter(
    "log_lines_dropped_total", "Log lines lost since the log's reader stalled."
)
DISK_SIZE = _gauge(
    "disk_size_bytes", "How much there is in all where `disk_free_bytes` is.", "where", across="min"
)
READY = _gauge("ready", "Whether a question would be answered now.", across="min")
DISK_FREE = _gauge(
    "disk_free_bytes",
    "Room where the CLI keeps its sessions (home), the workspace and the store.",
    "where",
    across="min",
)
BUILD_INFO = _gauge(
    "build_info", "1, with the versions.", "version", "python", "gevent", across="max"
)
PROCESS_CPU = _gauge(
    "process_cpu_seconds", "CPU time of the worker, without its CLIs'.", across="each"
)
PROCESS_MEMORY = _gauge(
    "process_resident_memory_bytes", "Resident memory of the worker.", across="each"
)
PROCESS_FDS = _gauge("process_open_fds", "File descriptors the worker has open.", across="each")
PROCESS_MAX_FDS = _gauge("process_max_fds", "How many it may have.", across="each")
PROCESS_START = _gauge(
    "process_start_time_seconds", "When the worker began, since 1970.", across="each"
)

ALL: tuple[Metric, ...] = tuple(each for each in list(globals().values()) if type(each) is Metric)
