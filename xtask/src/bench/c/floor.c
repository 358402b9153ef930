/* The least that a tracer of TLS by uprobes can cost: probes on the functions that all reads and
 * writes go through, and a program that does nothing, or only copies.
 *
 * floor empty|copy LIBRARY READ-OFFSET WRITE-OFFSET
 *
 * Both functions have the arguments (SSL *, void *, size_t, size_t *moved). Prints "ready" when
 * the probes are in place and, when stdin ends, "captured CALLS BYTES".
 */
#include "uprobe.h"

#include <poll.h>

/* Notes where the bytes are, and where their count will be, by thread. */
static int program_entry(int calls)
{
    const struct bpf_insn code[] = {
        LOAD(7, 1, REGS_SI),
        LOAD(8, 1, REGS_CX),
        CALL(BPF_FUNC_get_current_pid_tgid),
        STORE(10, 0, -8),
        STORE(10, 7, -24),
        STORE(10, 8, -16),
        MAP(1, calls),
        MOV(2, 10),
        ADD_I(2, -8),
        MOV(3, 10),
        ADD_I(3, -24),
        MOV_I(4, 0),
        CALL(BPF_FUNC_map_update_elem),
        MOV_I(0, 0),
        EXIT,
    };
    return LOAD_PROGRAM(code);
}

/* The bytes (their count in r8, their place in r6) as a record, if there are at most SIZE. */
#define COPY(RING, SIZE) \
    JGT_I(8, SIZE, 20), MAP(1, RING), MOV_I(2, (SIZE) + 8), MOV_I(3, 0), \
        CALL(BPF_FUNC_ringbuf_reserve), JNE_I(0, 0, 2), MOV_I(0, 0), EXIT, MOV(7, 0), \
        STORE(7, 8, 0), MOV(1, 7), ADD_I(1, 8), MOV(2, 8), MOV(3, 6), \
        CALL(BPF_FUNC_probe_read_user), MOV(1, 7), MOV_I(2, BPF_RB_NO_WAKEUP), \
        CALL(BPF_FUNC_ringbuf_submit), MOV_I(0, 0), EXIT

static int program_return(int calls, int ring)
{
    const struct bpf_insn code[] = {
        LOAD(6, 1, REGS_AX),
        CALL(BPF_FUNC_get_current_pid_tgid),
        STORE(10, 0, -8),
        MAP(1, calls),
        MOV(2, 10),
        ADD_I(2, -8),
        CALL(BPF_FUNC_map_lookup_elem),
        JEQ_I(0, 0, 10),
        INSN(BPF_JMP32 | BPF_JSLE | BPF_K, 6, 0, 9, 0),
        LOAD(6, 0, 0),
        LOAD(3, 0, 8),
        MOV(1, 10),
        ADD_I(1, -16),
        MOV_I(2, 8),
        CALL(BPF_FUNC_probe_read_user),
        JNE_I(0, 0, 2),
        LOAD(8, 10, -16),
        JNE_I(8, 0, 2),
        MOV_I(0, 0),
        EXIT,
        COPY(ring, 64),
        COPY(ring, 480),
        COPY(ring, 2016),
        COPY(ring, 16384),
        MOV_I(0, 0),
        EXIT,
    };
    return LOAD_PROGRAM(code);
}

struct captured {
    unsigned long long calls, bytes;
};

/* Takes all records that are there. */
static void drain(struct ring *ring, struct captured *captured)
{
    uint64_t at = *ring->consumer, end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
    while (at < end) {
        const unsigned char *record = ring->data + (at & (RING_BYTES - 1));
        uint32_t length = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
        if (length & BPF_RINGBUF_BUSY_BIT)
            break;
        captured->calls++;
        captured->bytes += *(const uint64_t *)(record + BPF_RINGBUF_HDR_SZ);
        length &= ~BPF_RINGBUF_DISCARD_BIT;
        at += (length + BPF_RINGBUF_HDR_SZ + 7) & ~7u;
        __atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
    }
}

int main(int argc, char **argv)
{
    struct captured captured = {0, 0};
    struct pollfd input = {.fd = 0, .events = POLLIN};
    int copies, calls, ring, entry, back, at;
    if (argc != 5) {
        fputs("usage: floor empty|copy LIBRARY READ-OFFSET WRITE-OFFSET\n", stderr);
        return 2;
    }
    copies = strcmp(argv[1], "copy") == 0;
    calls = map_create(BPF_MAP_TYPE_HASH, 8, 16, 4096);
    ring = map_create(BPF_MAP_TYPE_RINGBUF, 0, 0, RING_BYTES);
    entry = copies ? program_entry(calls) : program_empty();
    back = copies ? program_return(calls, ring) : program_empty();
    struct ring records = ring_open(ring);
    for (at = 3; at < argc; at++) {
        uint64_t offset = strtoull(argv[at], NULL, 0);
        attach(argv[2], offset, 1, back);
        attach(argv[2], offset, 0, entry);
    }
    puts("ready");
    fflush(stdout);
    while (poll(&input, 1, 5) == 0)
        drain(&records, &captured);
    drain(&records, &captured);
    printf("captured %llu %llu\n", captured.calls, captured.bytes);
    return 0;
}
