/* The least that a relay can be in C: what the machine and the load cost, whatever serves them.
 *
 * Does what bare.py does, and as little: a pipe, a search for the text, a socket, one epoll loop.
 *
 *   bare_relay FAKE     prints its port and serves until its standard input ends
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM 16384
#define EVENTS 256
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define FRAME "id: 986e1a47-9c1e-4b3b-a0ae-0ece2b7118b5.%ld\ndata: {\"type\": \"token\", \"token\": %.*s}\n\n"
#define MESSAGE \
    "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\"%.*s\"},\"uuid\":\"bare-1\"}\n"
#define LAST "data: {\"done\":true,\"success\":true}\n\n"

enum kind { LISTENER, OWNER, CLIENT, CLI };

/* Something to be read: a client's request until it is whole, or a CLI's output. */
typedef struct Source {
    enum kind kind;
    int fd;
    int input, client; /* of a CLI: its standard input, and whom its output is for */
    pid_t pid;
    long number;
    size_t size;
    char text[ROOM];
} Source;

static int loop;
static char *fake;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static Source *watch(enum kind kind, int fd) {
    Source *source = calloc(1, sizeof *source);
    if (source == NULL) fail("calloc");
    source->kind = kind;
    source->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
    return source;
}

static void drop(Source *source) {
    close(source->fd);
    free(source);
}

static void admit(int listener) {
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    if (client < 0) fail("accept4");
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(CLIENT, client);
}

static void say(int client, const char *data, size_t size) {
    /* A client that reads too slowly loses bytes, which the load counts as an error. */
    (void)!send(client, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void start(int client, const char *question, int length) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) fail("pipe2");
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    char *argv[] = {fake, "--session-id=bare", NULL}, *env[] = {NULL};
    pid_t pid;
    if (posix_spawn(&pid, fake, &files, NULL, argv, env)) fail(fake);
    posix_spawn_file_actions_destroy(&files);
    close(in[0]);
    close(out[1]);
    dprintf(in[1], MESSAGE, length, question);
    Source *cli = watch(CLI, out[0]);
    cli->input = in[1]; /* open for as long as it runs: it would end with it */
    cli->client = client;
    cli->pid = pid;
    say(client, HEAD, strlen(HEAD));
}

static void hear_client(Source *source) {
    ssize_t n = read(source->fd, source->text + source->size, ROOM - 1 - source->size);
    if (n <= 0) {
        drop(source);
        return;
    }
    source->size += (size_t)n;
    source->text[source->size] = 0;
    char *body = strstr(source->text, "\r\n\r\n");
    char *question = body ? strstr(body, "\"question\": \"") : NULL;
    char *end = question ? strchr(question += strlen("\"question\": \""), '"') : NULL;
    if (end == NULL) return;
    int client = source->fd;
    if (epoll_ctl(loop, EPOLL_CTL_DEL, client, NULL)) fail("epoll_ctl");
    start(client, question, (int)(end - question));
    free(source);
}

/* Add a chunk; there is always room, since a frame is shorter than the line it comes from. */
static size_t chunk(char *out, const char *data, size_t size) {
    int n = sprintf(out, "%zx\r\n", size);
    memcpy(out + n, data, size);
    memcpy(out + n + size, "\r\n", 2);
    return (size_t)n + size + 2;
}

static void hear_cli(Source *source) {
    static char out[2 * ROOM], frame[ROOM];
    ssize_t n = read(source->fd, source->text + source->size, ROOM - 1 - source->size);
    int over = n <= 0;
    size_t ready = 0;
    source->size += n > 0 ? (size_t)n : 0;
    char *line = source->text, *end = line + source->size, *stop;
    while ((stop = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        *stop = 0;
        char *text = strstr(line, "\"text_delta\",\"text\":\"");
        if (text != NULL) {
            text += strlen("\"text_delta\",\"text\":");
            int length = (int)(strchr(text + 1, '"') - text) + 1; /* the fake escapes nothing */
            size_t size = (size_t)sprintf(frame, FRAME, ++source->number, length, text);
            ready += chunk(out + ready, frame, size);
        } else if (strstr(line, "\"type\":\"result\"") != NULL) {
            over = 1;
        }
        line = stop + 1;
    }
    source->size = (size_t)(end - line);
    memmove(source->text, line, source->size);
    if (source->size == ROOM - 1) { /* a long line, none that is relayed */
        source->text[source->size] = 0;
        over |= strstr(source->text, "\"type\":\"result\"") != NULL;
        source->size = 0;
    }
    if (over) {
        ready += chunk(out + ready, LAST, strlen(LAST));
        ready += chunk(out + ready, "", 0);
    }
    if (ready) say(source->client, out, ready);
    if (over) {
        kill(source->pid, SIGKILL);
        close(source->input);
        close(source->client);
        drop(source);
    }
}

int main(int count, char **argv) {
    if (count != 2) return 2;
    fake = argv[1];
    signal(SIGCHLD, SIG_IGN); /* the kernel buries them */
    signal(SIGPIPE, SIG_IGN);
    loop = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    if (loop < 0 || bind(listener, (struct sockaddr *)&here, size) || listen(listener, 4096)
        || getsockname(listener, (struct sockaddr *)&here, &size))
        fail("listening");
    watch(LISTENER, listener);
    watch(OWNER, 0);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    struct epoll_event events[EVENTS];
    while (1) {
        int n = epoll_wait(loop, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            Source *source = events[i].data.ptr;
            switch (source->kind) {
                case OWNER: return 0;
                case LISTENER: admit(listener); break;
                case CLIENT: hear_client(source); break;
                case CLI: hear_cli(source); break;
            }
        }
    }
}
