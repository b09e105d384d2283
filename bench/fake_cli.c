/* A stand-in for the claude CLI that costs next to nothing, so that the server is what is measured.
 *
 * Speaks as much of stream-json as a turn needs, in lines of the real CLI's shape and length
 * (2.1.332: 290 bytes for a short text delta).  What it says is asked for in the question:
 *
 *   tokens=N   this many text deltas (20)
 *   rate=R     R of them a second, each with the CLOCK_MONOTONIC nanoseconds of its writing as its
 *              text; without it they come flat out
 *   at=NS      say `ready ` first and begin at that CLOCK_MONOTONIC time: a start for many at once
 *   phase=US   begin so many microseconds later
 *   block=N    N lines a write (1, as the real CLI does)
 *
 * Ends with its standard input, as the real one does, and on any signal that ends a program.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#define LINE_LIMIT (1 << 20)
#define MOST_BLOCK 512
#define LOOK_EVERY 256
#define VERSION "2.1.332"

typedef struct {
    long tokens, rate, phase, block;
    int64_t at;
    char uuid[64];
} Turn;

static char session[64] = "00000000-0000-4000-8000-000000000000";
static char heard[LINE_LIMIT];
static size_t heard_size;
static int interrupted;

static char out[MOST_BLOCK * 512];
static size_t out_size;

static char *said; /* the answer so far */
static size_t said_size, said_room;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* -- writing */

static void flush(void) {
    size_t done = 0;
    while (done < out_size) {
        ssize_t n = write(1, out + done, out_size - done);
        if (n <= 0) exit(1);
        done += (size_t)n;
    }
    out_size = 0;
}

static void put(const char *data, size_t size) {
    if (size > sizeof out - out_size) flush();
    while (size > sizeof out) {
        memcpy(out, data, out_size = sizeof out);
        flush();
        data += sizeof out;
        size -= sizeof out;
    }
    memcpy(out + out_size, data, size);
    out_size += size;
}

static void put_text(const char *text) { put(text, strlen(text)); }

static const char *fresh_uuid(void) {
    static char text[40];
    static uint64_t count;
    snprintf(text, sizeof text, "%08x-0000-4000-8000-%012llx", (unsigned)getpid(),
             (unsigned long long)++count);
    return text;
}

/* The keys with which every line ends. */
static void put_tail(void) {
    char tail[160];
    snprintf(tail, sizeof tail, ",\"session_id\":\"%s\",\"uuid\":\"%s\"}\n", session, fresh_uuid());
    put_text(tail);
}

static void put_state(const char *state) {
    put_text("{\"type\":\"system\",\"subtype\":\"session_state_changed\",\"state\":\"");
    put_text(state);
    put_text("\"");
    put_tail();
    flush();
}

static void put_lifecycle(const Turn *turn, const char *state) {
    put_text("{\"type\":\"command_lifecycle\",\"command_uuid\":\"");
    put_text(turn->uuid);
    put_text("\",\"state\":\"");
    put_text(state);
    put_text("\"");
    put_tail();
    flush();
}

/* As long as the real one: 2.8 kB. */
static void put_init(void) {
    put_text("{\"type\":\"system\",\"subtype\":\"init\",\"cwd\":\"/\",\"tools\":[\"Bash\",\"Edit\",\"Read\"],"
          "\"mcp_servers\":[],\"model\":\"fake\",\"permissionMode\":\"default\",\"slash_commands\":[");
    for (int i = 0; i < 120; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s\"some-command-%03d\"", i ? "," : "", i);
        put_text(name);
    }
    put_text("],\"apiKeySource\":\"ANTHROPIC_API_KEY\",\"claude_code_version\":\"" VERSION "\","
          "\"agents\":[],\"skills\":[],\"plugins\":[]");
    put_tail();
    flush();
}

static void put_stream_event(const char *event) {
    put_text("{\"type\":\"stream_event\",\"event\":");
    put_text(event);
    put_text(",\"parent_tool_use_id\":null");
    put_tail();
    flush();
}

static void put_assistant(void) {
    put_text("{\"type\":\"assistant\",\"message\":{\"id\":\"msg_fake00000000000000000000\","
          "\"type\":\"message\",\"role\":\"assistant\",\"model\":\"fake\",\"content\":[{\"type\":"
          "\"text\",\"text\":\"");
    put(said, said_size);
    put_text("\"}],\"stop_reason\":null,\"usage\":{\"input_tokens\":5,\"output_tokens\":1}},"
          "\"parent_tool_use_id\":null");
    put_tail();
    flush();
}

static void put_result(const Turn *turn) {
    put_text("{\"type\":\"result\",\"duration_ms\":1,\"duration_api_ms\":1,\"num_turns\":1,"
          "\"total_cost_usd\":0.01,\"usage\":{\"input_tokens\":5,\"output_tokens\":20,"
          "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0},\"modelUsage\":{},"
          "\"permission_denials\":[],\"user_message_uuids\":[\"");
    put_text(turn->uuid);
    if (interrupted) {
        put_text("\"],\"subtype\":\"error_during_execution\",\"is_error\":true,"
              "\"terminal_reason\":\"aborted_streaming\",\"errors\":[\"interrupted\"]");
    } else {
        put_text("\"],\"subtype\":\"success\",\"is_error\":false,\"terminal_reason\":\"completed\","
              "\"stop_reason\":\"end_turn\",\"result\":\"");
        put(said, said_size);
        put_text("\"");
    }
    put_tail();
    flush();
}

/* -- reading */

/* The text behind `"key":"`, into `value`; 0 where there is none.  Enough for lines of our server,
 * which writes JSON without spaces. */
static int field(const char *line, const char *key, char *value, size_t room) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"%s\":\"", key);
    const char *begin = strstr(line, wanted);
    if (!begin) return 0;
    begin += strlen(wanted);
    size_t size = strcspn(begin, "\"");
    if (size >= room) return 0;
    memcpy(value, begin, size);
    value[size] = 0;
    return 1;
}

static void control(const char *line) {
    char id[128];
    if (!field(line, "request_id", id, sizeof id)) return;
    if (strstr(line, "\"subtype\":\"interrupt\"")) interrupted = 1;
    put_text("{\"type\":\"control_response\",\"response\":{\"subtype\":\"success\",\"request_id\":\"");
    put_text(id);
    put_text("\",\"response\":{\"commands\":[],\"agents\":[],\"models\":[],\"account\":{}}}}\n");
    flush();
}

/* Wait for input until `until` (ns, CLOCK_MONOTONIC; negative: for ever) and take what is there. */
static void listen_until(int64_t until) {
    struct timeval left, *patience = NULL;
    if (until >= 0) {
        int64_t ns = until - now();
        if (ns < 0) ns = 0;
        left.tv_sec = ns / 1000000000;
        left.tv_usec = (ns % 1000000000 + 999) / 1000;
        patience = &left;
    }
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(0, &readable);
    if (select(1, &readable, NULL, NULL, patience) <= 0) return;
    if (heard_size + 1 >= sizeof heard) exit(1);
    ssize_t n = read(0, heard + heard_size, sizeof heard - 1 - heard_size);
    if (n <= 0) exit(0);
    heard_size += (size_t)n;
}

/* Take one line out of what was heard: 0 when there is none, else its size. */
static size_t next_line(char *line) {
    char *end = memchr(heard, '\n', heard_size);
    if (!end) return 0;
    size_t size = (size_t)(end - heard) + 1;
    memcpy(line, heard, size);
    line[size - 1] = 0;
    memmove(heard, heard + size, heard_size -= size);
    return size;
}

static char line[LINE_LIMIT];

/* In a turn: wait, and answer what the server wants meanwhile. */
static void wait_until(int64_t until) {
    do {
        listen_until(until);
        while (next_line(line))
            if (strstr(line, "\"type\":\"control_request\"")) control(line);
    } while (!interrupted && now() < until);
}

/* -- a turn */

static char delta_head[256], delta_tail[256];
static size_t delta_head_size, delta_tail_size;

/* Everything of a text delta but its text and the last digits of its uuid is made once. */
static void make_delta(void) {
    delta_head_size = (size_t)snprintf(
        delta_head, sizeof delta_head, "{\"type\":\"stream_event\",\"event\":{\"type\":"
        "\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"");
    delta_tail_size = (size_t)snprintf(
        delta_tail, sizeof delta_tail, "\"}},\"session_id\":\"%s\",\"parent_tool_use_id\":null,"
        "\"uuid\":\"%08x-0000-4000-9000-000000000000\",\"api_message_id\":"
        "\"msg_fake00000000000000000000\"}\n", session, (unsigned)getpid());
}

static void put_delta(const char *text, size_t size) {
    static uint64_t count;
    static const char digits[] = "0123456789abcdef";
    char *last = strstr(delta_tail, "\",\"api_message_id");
    uint64_t left = ++count;
    for (int i = 1; i <= 12; i++, left >>= 4) last[-i] = digits[left & 15];
    put(delta_head, delta_head_size);
    put(text, size);
    put(delta_tail, delta_tail_size);
    if (said_size + size > said_room) {
        said = realloc(said, said_room = 2 * (said_size + size));
        if (!said) exit(1);
    }
    memcpy(said + said_size, text, size);
    said_size += size;
}

static void say_flat_out(const Turn *turn) {
    static const char *words[] = {"The ", "wave ", "function ", "of ", "a ", "particle ", "is ",
                                  "spread ", "out", ", ", "until ", "it ", "is ", "meas", "ured", ". "};
    for (long i = 0; i < turn->tokens && !interrupted; i++) {
        const char *word = words[i & 15];
        put_delta(word, strlen(word));
        if ((i + 1) % turn->block == 0) flush();
        if ((i + 1) % LOOK_EVERY == 0) wait_until(0);
    }
    flush();
}

static void say_slowly(const Turn *turn, int64_t begin) {
    int64_t gap = 1000000000 / turn->rate;
    for (long i = 0; i < turn->tokens && !interrupted; i++) {
        char text[32];
        wait_until(begin + i * gap);
        put_delta(text, (size_t)snprintf(text, sizeof text, "%lld ", (long long)now()));
        flush();
    }
}

static long number(const char *question, const char *key, long otherwise) {
    const char *found = strstr(question, key);
    return found ? strtol(found + strlen(key), NULL, 10) : otherwise;
}

static Turn read_turn(const char *asked) {
    char question[512] = "";
    Turn turn = {0};
    field(asked, "content", question, sizeof question);
    field(asked, "uuid", turn.uuid, sizeof turn.uuid);
    turn.tokens = number(question, "tokens=", 20);
    turn.rate = number(question, "rate=", 0);
    turn.phase = number(question, "phase=", 0);
    turn.block = number(question, "block=", 1);
    if (turn.block < 1 || turn.block > MOST_BLOCK) turn.block = 1;
    const char *at = strstr(question, "at=");
    turn.at = at ? strtoll(at + 3, NULL, 10) : 0;
    return turn;
}

static void play(Turn turn) {
    interrupted = 0;
    said_size = 0;
    put_state("running");
    put_lifecycle(&turn, "started");
    put_init();
    put_text("{\"type\":\"system\",\"subtype\":\"status\",\"status\":\"requesting\"");
    put_tail();
    put_stream_event("{\"type\":\"message_start\",\"message\":{\"id\":"
                     "\"msg_fake00000000000000000000\",\"type\":\"message\",\"role\":\"assistant\","
                     "\"model\":\"fake\",\"content\":[],\"stop_reason\":null,\"usage\":{}}}");
    put_stream_event("{\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
                     "{\"type\":\"text\",\"text\":\"\"}}");
    if (turn.at) {
        put_delta("ready ", 6);
        flush();
    }
    int64_t begin = (turn.at ? turn.at : now()) + turn.phase * 1000;
    wait_until(begin);
    if (turn.rate > 0)
        say_slowly(&turn, begin);
    else
        say_flat_out(&turn);
    put_assistant();
    if (!interrupted) {
        put_stream_event("{\"type\":\"content_block_stop\",\"index\":0}");
        put_stream_event("{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
                         "\"usage\":{\"output_tokens\":20}}");
        put_stream_event("{\"type\":\"message_stop\"}");
    }
    put_result(&turn);
    put_lifecycle(&turn, "completed");
    put_state("idle");
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--version")) {
            puts(VERSION " (Claude Code)");
            return 0;
        }
        if (!strcmp(argv[i], "auth")) {
            puts("{\"loggedIn\":true,\"authMethod\":\"api_key\",\"apiProvider\":\"firstParty\"}");
            return 0;
        }
        if (!strncmp(argv[i], "--session-id=", 13) || !strncmp(argv[i], "--resume=", 9))
            snprintf(session, sizeof session, "%.36s", strchr(argv[i], '=') + 1);
    }
    make_delta();
    for (;;) {
        while (next_line(line)) {
            if (strstr(line, "\"type\":\"control_request\""))
                control(line);
            else if (strstr(line, "\"type\":\"user\""))
                play(read_turn(line));
        }
        listen_until(-1);
    }
}
