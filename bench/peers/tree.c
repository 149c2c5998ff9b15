/* The floor: a tree of three tiers in C. Root and relays write and fsync what they pass on, agents check its sha256.
 *
 * Down: length and revision (4 bytes each, host order), then the body. Up: revision and count (4 bytes each); a relay
 * answers once all its agents have. No names, no verification of an origin, no resume, no loss: what is left is the
 * price of moving the bytes.
 *
 * tree root RELAYS FILE                 asked on stdin, like every program of the bench
 * tree relay PARENT-PORT AGENTS FILE
 * tree agents FIRST LAST PORT[,PORT...]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256
#define LINE 4096

struct head { uint32_t size, revision; };
struct count { uint32_t revision, acks; };

struct peer {
    int fd;
    struct head head;
    size_t got;          /* of head, then of body */
    unsigned char *body; /* room for a body */
    size_t room;
    size_t sent;         /* of what is being passed on */
    char digest[65];
    struct count heard;
    size_t heard_bytes;
};

static int poller;
static struct head out_head;
static unsigned char *out_body;

static void die(const char *what) { perror(what); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- sha256 (FIPS 180-4), libcrypto's where there is one: it uses what the processor offers --- */

static unsigned char *(*library)(const unsigned char *, size_t, unsigned char *);

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define ROT(x, n) (((x) >> (n)) | ((x) << (32 - (n))))

static void block(uint32_t h[8], const unsigned char *p) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (ROT(a, 7) ^ ROT(a, 18) ^ a >> 3) + (ROT(b, 17) ^ ROT(b, 19) ^ b >> 10);
    }
    memcpy(s, h, 32);
    for (int i = 0; i < 64; i++) {
        uint32_t t = s[7] + (ROT(s[4], 6) ^ ROT(s[4], 11) ^ ROT(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + w[i];
        uint32_t u = (ROT(s[0], 2) ^ ROT(s[0], 13) ^ ROT(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 28);
        s[4] += t;
        s[0] = t + u;
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
}

static void sha256(const unsigned char *data, size_t size, char hex[65]) {
    if (library) {
        unsigned char out[32];
        library(data, size, out);
        for (int i = 0; i < 32; i++) sprintf(hex + 2 * i, "%02x", out[i]);
        return;
    }
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char tail[128] = {0};
    size_t whole = size / 64 * 64, left = size - whole, end = left < 56 ? 64 : 128;
    for (size_t i = 0; i < whole; i += 64) block(h, data + i);
    memcpy(tail, data + whole, left);
    tail[left] = 0x80;
    for (int i = 0; i < 8; i++) tail[end - 1 - (size_t)i] = (unsigned char)(((uint64_t)size * 8) >> (8 * i));
    for (size_t i = 0; i < end; i += 64) block(h, tail + i);
    for (int i = 0; i < 8; i++) sprintf(hex + 8 * i, "%08x", h[i]);
}

/* --- sockets ---------------------------------------------------------------------------------------------------- */

static void ready_for(struct peer *p, uint32_t events, int how) {
    struct epoll_event e = {.events = events, .data.ptr = p};
    if (epoll_ctl(poller, how, p->fd, &e) < 0) die("epoll_ctl");
}

static void prepared(int fd) {
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static int listening(int *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (void *)&a, sizeof a) < 0 || listen(fd, 1024) < 0) die("listen");
    getsockname(fd, (void *)&a, &size);
    *port = ntohs(a.sin_port);
    return fd;
}

static int connected(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (void *)&a, sizeof a) < 0) die("connect");
    prepared(fd);
    return fd;
}

static struct peer *peers(int count) {
    struct peer *all = calloc((size_t)count, sizeof *all);
    if (!all) die("calloc");
    return all;
}

static void accepted(int listener, struct peer *all, int count) {
    for (int i = 0; i < count; i++) {
        all[i].fd = accept(listener, NULL, NULL);
        if (all[i].fd < 0) die("accept");
        prepared(all[i].fd);
        ready_for(&all[i], EPOLLIN, EPOLL_CTL_ADD);
    }
}

/* --- down ------------------------------------------------------------------------------------------------------- */

static void durable(const char *path, const unsigned char *data, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) die(path);
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, data + at, size - at);
        if (n < 0) die("write");
        at += (size_t)n;
    }
    if (fsync(fd) < 0) die("fsync");
    close(fd);
}

static void passed_on(struct peer *p) {
    size_t whole = sizeof out_head + out_head.size;
    while (p->sent < whole) {
        struct iovec parts[2];
        int count = 0;
        if (p->sent < sizeof out_head) {
            parts[count++] = (struct iovec){(char *)&out_head + p->sent, sizeof out_head - p->sent};
            parts[count++] = (struct iovec){out_body, out_head.size};
        } else {
            size_t at = p->sent - sizeof out_head;
            parts[count++] = (struct iovec){out_body + at, out_head.size - at};
        }
        ssize_t n = writev(p->fd, parts, count);
        if (n < 0 && errno == EAGAIN) {
            ready_for(p, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return;
        }
        if (n < 0) die("writev");
        p->sent += (size_t)n;
    }
    ready_for(p, EPOLLIN, EPOLL_CTL_MOD);
}

static void to_all(struct peer *all, int count) {
    for (int i = 0; i < count; i++) {
        all[i].sent = 0;
        passed_on(&all[i]);
    }
}

/* Whether a whole body has come. */
static int taken(struct peer *p) {
    for (;;) {
        unsigned char *to = (unsigned char *)&p->head + p->got;
        size_t left = sizeof p->head - p->got;
        if (p->got >= sizeof p->head) {
            if (p->room < p->head.size) {
                p->room = p->head.size;
                p->body = realloc(p->body, p->room);
                if (!p->body) die("realloc");
            }
            to = p->body + (p->got - sizeof p->head);
            left = sizeof p->head + p->head.size - p->got;
            if (left == 0) {
                p->got = 0;
                return 1;
            }
        }
        ssize_t n = read(p->fd, to, left);
        if (n < 0 && errno == EAGAIN) return 0;
        if (n <= 0) exit(0);
        p->got += (size_t)n;
    }
}

/* --- up --------------------------------------------------------------------------------------------------------- */

static void answered(int fd, uint32_t revision, uint32_t acks) {
    struct count c = {revision, acks};
    if (write(fd, &c, sizeof c) != sizeof c) die("answer");
}

static uint32_t heard(struct peer *p, uint32_t revision) {
    uint32_t acks = 0;
    for (;;) {
        ssize_t n = read(p->fd, (char *)&p->heard + p->heard_bytes, sizeof p->heard - p->heard_bytes);
        if (n < 0 && errno == EAGAIN) return acks;
        if (n <= 0) exit(0);
        p->heard_bytes += (size_t)n;
        if (p->heard_bytes < sizeof p->heard) continue;
        p->heard_bytes = 0;
        if (p->heard.revision == revision) acks += p->heard.acks;
    }
}

/* A line of stdin; ends the program where there is none. */
static char *asked(void) {
    static char line[LINE];
    if (!fgets(line, sizeof line, stdin)) exit(0);
    return line;
}

static void loaded(const char *line) {
    char path[LINE];
    const char *at = strstr(line, "\"publish\"");
    if (!at || sscanf(at, "\"publish\" : \"%4000[^\"]\"", path) != 1) die("publish");
    FILE *f = fopen(path, "rb");
    if (!f) die(path);
    fseek(f, 0, SEEK_END);
    out_head.size = (uint32_t)ftell(f);
    rewind(f);
    out_body = realloc(out_body, out_head.size);
    if (fread(out_body, 1, out_head.size, f) != out_head.size) die("read");
    fclose(f);
    out_head.revision++;
}

static void root(int relays, const char *file) {
    int port, listener = listening(&port);
    struct peer *all = peers(relays);
    printf("{\"port\": %d}\n", port);
    fflush(stdout);
    accepted(listener, all, relays);
    for (;;) {
        uint32_t acks = 0;
        loaded(asked());
        double began = now();
        durable(file, out_body, out_head.size);
        double published = now();
        to_all(all, relays);
        for (int answers = 0; answers < relays;) {
            struct epoll_event e[BATCH];
            int n = epoll_wait(poller, e, BATCH, -1);
            for (int i = 0; i < n; i++) {
                struct peer *p = e[i].data.ptr;
                if (e[i].events & EPOLLOUT) passed_on(p);
                if (e[i].events & (EPOLLIN | EPOLLHUP)) {
                    uint32_t more = heard(p, out_head.revision);
                    acks += more;
                    answers += more > 0;
                }
            }
        }
        double ended = now();
        printf("{\"began\": %.9f, \"publish_ms\": %.6f, \"convergence_ms\": %.6f, \"acks\": %u}\n", began,
               (published - began) * 1e3, (ended - began) * 1e3, acks);
        fflush(stdout);
    }
}

static void relay(int parent_port, int agents, const char *file) {
    int port, listener = listening(&port);
    struct peer up = {.fd = connected(parent_port)}, *all = peers(agents);
    printf("{\"port\": %d}\n", port);
    fflush(stdout);
    ready_for(&up, EPOLLIN, EPOLL_CTL_ADD);
    accepted(listener, all, agents);
    uint32_t acks = 0;
    for (;;) {
        struct epoll_event e[BATCH];
        int n = epoll_wait(poller, e, BATCH, -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = e[i].data.ptr;
            if (p == &up) {
                if (!taken(p)) continue;
                durable(file, p->body, p->head.size);
                out_head = p->head;
                out_body = p->body;
                acks = 0;
                to_all(all, agents);
                continue;
            }
            if (e[i].events & EPOLLOUT) passed_on(p);
            if (e[i].events & (EPOLLIN | EPOLLHUP)) {
                acks += heard(p, out_head.revision);
                if (acks == (uint32_t)agents) {
                    answered(up.fd, out_head.revision, acks);
                    acks = 0;
                }
            }
        }
    }
}

static int ports(char *list, int *found) {
    int count = 0;
    for (char *one = strtok(list, ","); one && count < BATCH * 4; one = strtok(NULL, ",")) found[count++] = atoi(one);
    return count;
}

static void reported(const char *line, struct peer *all, int count, double last) {
    int received = 0;
    for (int i = 0; i < count; i++) received += all[i].digest[0] && strstr(line, all[i].digest) != NULL;
    printf("{\"received\": %d, \"last\": %.9f}\n", received, last);
    fflush(stdout);
}

static void agents(int first, int last, char *list) {
    int places[BATCH * 4], sites = ports(list, places), count = last - first;
    struct peer *all = peers(count), in = {.fd = 0};
    double received = 0;
    for (int i = 0; i < count; i++) {
        all[i].fd = connected(places[(first + i) % sites]);
        ready_for(&all[i], EPOLLIN, EPOLL_CTL_ADD);
    }
    setvbuf(stdin, NULL, _IONBF, 0);
    ready_for(&in, EPOLLIN, EPOLL_CTL_ADD);
    printf("{\"agents\": %d}\n", count);
    fflush(stdout);
    for (;;) {
        struct epoll_event e[BATCH];
        int n = epoll_wait(poller, e, BATCH, -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = e[i].data.ptr;
            if (p == &in) {
                reported(asked(), all, count, received);
            } else if (taken(p)) {
                received = now();
                sha256(p->body, p->head.size, p->digest);
                answered(p->fd, p->head.revision, 1);
            }
        }
    }
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    void *crypto = dlopen("libcrypto.so.3", RTLD_NOW);
    if (crypto) *(void **)&library = dlsym(crypto, "SHA256");
    if (argc == 4 && !strcmp(argv[1], "root")) root(atoi(argv[2]), argv[3]);
    if (argc == 5 && !strcmp(argv[1], "relay")) relay(atoi(argv[2]), atoi(argv[3]), argv[4]);
    if (argc == 5 && !strcmp(argv[1], "agents")) agents(atoi(argv[2]), atoi(argv[3]), argv[4]);
    fprintf(stderr, "see the head of tree.c\n");
    return 2;
}
