/* A client that asks at a fixed rate and says how long each answer took.
 *
 * pacer PORT PATH CONNECTIONS REQUESTS-A-SECOND SECONDS
 *
 * The connections, each with a thread of its own, take turns. The time of an answer counts from the moment when its request was due, so that a server that
 * stands still is not spared the requests that could not be sent meanwhile. Prints
 *
 *   requests=N bytes=N p50_ns=N p99_ns=N mean_ns=N
 *
 * `bytes` are those of all requests and answers.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

struct client {
    pthread_t thread;
    SSL *ssl;
    /* Every so many of all requests is its own. */
    size_t number, of;
    char *answer;
    size_t answer_length;
};

enum { ROOM = 1 << 21 };

static char request[512];
static size_t request_length, requests;
static double rate;
static uint64_t begun, *took;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void wait_until(uint64_t moment)
{
    struct timespec time = {(time_t)(moment / 1000000000), (long)(moment % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static SSL *connect_to(SSL_CTX *context, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    SSL *ssl = SSL_new(context);
    if (connect(fd, (void *)&address, sizeof address) < 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1)
        fail("handshake");
    return ssl;
}

/* The length of the answer that begins with these bytes; 0 while its head is not complete. */
static size_t length_of(char *answer, size_t have)
{
    const char *end, *field;
    answer[have] = 0;
    end = strstr(answer, "\r\n\r\n");
    field = strstr(answer, "Content-Length: ");
    if (!end || !field || strncmp(answer, "HTTP/1.1 200", 12) != 0)
        return 0;
    return (size_t)(end + 4 - answer) + strtoul(field + 16, NULL, 10);
}

static void ask(struct client *client)
{
    size_t have = 0;
    if (SSL_write(client->ssl, request, (int)request_length) <= 0)
        fail("write");
    while (client->answer_length == 0 || have < client->answer_length) {
        int got = SSL_read(client->ssl, client->answer + have, (int)(ROOM - 1 - have));
        if (got <= 0)
            fail("read");
        have += (size_t)got;
        if (client->answer_length == 0)
            client->answer_length = length_of(client->answer, have);
    }
}

static void *run(void *argument)
{
    struct client *client = argument;
    size_t number;
    prctl(PR_SET_TIMERSLACK, 1);
    for (number = client->number; number < requests; number += client->of) {
        uint64_t due = begun + (uint64_t)((double)number * 1e9 / rate);
        wait_until(due);
        ask(client);
        took[number] = now() - due;
    }
    return NULL;
}

static int order(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    size_t connections, number;
    uint64_t sum = 0;
    if (argc != 6) {
        fputs("usage: pacer PORT PATH CONNECTIONS RATE SECONDS\n", stderr);
        return 2;
    }
    connections = strtoul(argv[3], NULL, 10);
    rate = atof(argv[4]);
    requests = (size_t)(rate * atof(argv[5])) + 1;
    took = calloc(requests, sizeof *took);
    struct client *clients = calloc(connections, sizeof *clients);
    request_length = (size_t)snprintf(request, sizeof request,
                                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", argv[2]);
    for (number = 0; number < connections; number++) {
        struct client *client = &clients[number];
        client->ssl = connect_to(context, atoi(argv[1]));
        client->answer = malloc(ROOM);
        client->number = number;
        client->of = connections;
        ask(client);
    }
    begun = now();
    for (number = 0; number < connections; number++)
        if (pthread_create(&clients[number].thread, NULL, run, &clients[number]) != 0)
            fail("thread");
    for (number = 0; number < connections; number++)
        pthread_join(clients[number].thread, NULL);
    for (number = 0; number < requests; number++)
        sum += took[number];
    qsort(took, requests, sizeof *took, order);
    printf("requests=%zu bytes=%llu p50_ns=%llu p99_ns=%llu mean_ns=%llu\n",
           requests + connections,
           (unsigned long long)(requests + connections) *
               (request_length + clients[0].answer_length),
           (unsigned long long)took[requests / 2], (unsigned long long)took[requests * 99 / 100],
           (unsigned long long)(sum / requests));
    return 0;
}
