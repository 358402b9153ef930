/* What one hit of a probe costs on this machine.
 *
 * micro
 *
 * Calls small functions whose first instructions are known, without and with a probe in turn, and
 * prints a line for each kind: NAME NANOSECONDS-A-CALL, the median of the rounds.
 */
#include "uprobe.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { ROUNDS = 7 };
static long calls = 5000;

#define FUNCTION(NAME, BODY) \
    __asm__(".globl f_" #NAME "\n.type f_" #NAME ", @function\n.p2align 4\nf_" #NAME ":\n" BODY \
            "\n.size f_" #NAME ", . - f_" #NAME "\n"); \
    void f_##NAME(void *, const void *);

FUNCTION(push, "push %rbp\npop %rbp\nret")
FUNCTION(jcc, "je 1f\n1: nop\nret")
FUNCTION(nop, "nop\nret")
FUNCTION(sub, "sub $8,%rsp\nadd $8,%rsp\nret")
FUNCTION(mov, "mov %rdi,%rax\nret")
FUNCTION(endbr, "endbr64\nret")

typedef void (*function)(void *, const void *);
static char bytes[1 << 14];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double loop(function call)
{
    long number;
    double begun = now();
    for (number = 0; number < calls; number++)
        call(bytes, bytes);
    return (now() - begun) / (double)calls;
}

/* The offset of a function in this program's file. */
static uint64_t offset_of(function call)
{
    uintptr_t address = (uintptr_t)call, start, end, offset;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 && start <= address &&
            address < end) {
            fclose(maps);
            return address - start + offset;
        }
    fail("maps");
    return 0;
}

static int order(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The median of what the call costs more with `count` probes than without. */
static void measure(const char *name, function call, const int *on_return, const int *programs,
                    int count)
{
    double plain = 0, costs[ROUNDS];
    int round, probe, probes[2];
    for (round = 0; round < ROUNDS; round++) {
        double cost = loop(call);
        plain = round == 0 || cost < plain ? cost : plain;
    }
    for (probe = 0; probe < count; probe++)
        probes[probe] = attach("/proc/self/exe", offset_of(call), on_return[probe], programs[probe]);
    loop(call);
    for (round = 0; round < ROUNDS; round++)
        costs[round] = loop(call) - plain;
    for (probe = 0; probe < count; probe++)
        close(probes[probe]);
    qsort(costs, ROUNDS, sizeof *costs, order);
    printf("%s %.0f\n", name, costs[ROUNDS / 2]);
    fflush(stdout);
}

/* A program that reads `size` bytes from the call's second argument into a ring record. */
static int program_copy(int ring, int size)
{
    const struct bpf_insn code[] = {
        MOV(6, 1), MAP(1, ring), MOV_I(2, size), MOV_I(3, 0), CALL(BPF_FUNC_ringbuf_reserve),
        JEQ_I(0, 0, 9), MOV(7, 0), MOV(1, 0), MOV_I(2, size), LOAD(3, 6, REGS_SI),
        CALL(BPF_FUNC_probe_read_user), MOV(1, 7), MOV_I(2, BPF_RB_NO_WAKEUP),
        CALL(BPF_FUNC_ringbuf_submit), MOV_I(0, 0), MOV_I(0, 0), EXIT};
    return LOAD_PROGRAM(code);
}

/* Empties the ring from the other processor, as fast as it can: a full one would cost nothing. */
static pid_t drain(int map)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct ring ring = ring_open(map);
        pid_t parent = getppid();
        cpu_set_t other;
        CPU_ZERO(&other);
        CPU_SET(1, &other);
        sched_setaffinity(0, sizeof other, &other);
        while (getppid() == parent)
            *ring.consumer = *ring.producer;
        _exit(0);
    }
    return pid;
}

static void classes(void)
{
    const struct { const char *name; function call; } known[] = {
        {"push", f_push}, {"jcc", f_jcc}, {"nop", f_nop},
        {"sub", f_sub},   {"mov", f_mov}, {"endbr64", f_endbr}};
    const int both[] = {1, 0}, empty[] = {program_empty(), program_empty()};
    char name[64];
    size_t at;
    for (at = 0; at < sizeof known / sizeof *known; at++) {
        snprintf(name, sizeof name, "entry/%s", known[at].name);
        measure(name, known[at].call, both + 1, empty, 1);
        snprintf(name, sizeof name, "entry+return/%s", known[at].name);
        measure(name, known[at].call, both, empty, 2);
    }
}

static void copies(void)
{
    const int sizes[] = {64, 1 << 10, 1 << 14}, entry = 0;
    char name[64];
    size_t at;
    for (at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        int ring = map_create(BPF_MAP_TYPE_RINGBUF, 0, 0, RING_BYTES);
        int program = program_copy(ring, sizes[at]);
        pid_t reader = drain(ring);
        snprintf(name, sizeof name, "entry+copy/%d", sizes[at]);
        measure(name, f_push, &entry, &program, 1);
        kill(reader, 9);
        waitpid(reader, NULL, 0);
        close(program);
        close(ring);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        calls = atol(argv[1]);
    memset(bytes, 'x', sizeof bytes);
    classes();
    copies();
    return 0;
}
