/* The least that puts a BPF program on a function of a file: no library, no compiler for BPF. */
#ifndef TLSTAP_BENCH_UPROBE_H
#define TLSTAP_BENCH_UPROBE_H

#define _GNU_SOURCE
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Offsets in `struct pt_regs` of x86-64. */
enum { REGS_AX = 80, REGS_CX = 88, REGS_SI = 104 };

#define RING_BYTES (16u << 20)

#define INSN(C, D, S, O, I) \
    ((struct bpf_insn){.code = (C), .dst_reg = (D), .src_reg = (S), .off = (O), .imm = (I)})
#define MOV(D, S) INSN(BPF_ALU64 | BPF_MOV | BPF_X, D, S, 0, 0)
#define MOV_I(D, I) INSN(BPF_ALU64 | BPF_MOV | BPF_K, D, 0, 0, I)
#define ADD_I(D, I) INSN(BPF_ALU64 | BPF_ADD | BPF_K, D, 0, 0, I)
#define LOAD(D, S, O) INSN(BPF_LDX | BPF_MEM | BPF_DW, D, S, O, 0)
#define STORE(D, S, O) INSN(BPF_STX | BPF_MEM | BPF_DW, D, S, O, 0)
#define CALL(I) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, I)
#define JEQ_I(D, I, O) INSN(BPF_JMP | BPF_JEQ | BPF_K, D, 0, O, I)
#define JGT_I(D, I, O) INSN(BPF_JMP | BPF_JGT | BPF_K, D, 0, O, I)
#define JNE_I(D, I, O) INSN(BPF_JMP | BPF_JNE | BPF_K, D, 0, O, I)
#define JA(O) INSN(BPF_JMP | BPF_JA, 0, 0, O, 0)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP(D, FD) \
    INSN(BPF_LD | BPF_DW | BPF_IMM, D, BPF_PSEUDO_MAP_FD, 0, FD), INSN(0, 0, 0, 0, 0)

static inline void fail(const char *what)
{
    perror(what);
    exit(1);
}

static inline int bpf(enum bpf_cmd command, union bpf_attr *attr, const char *what)
{
    int fd = (int)syscall(SYS_bpf, command, attr, sizeof *attr);
    if (fd < 0)
        fail(what);
    return fd;
}

static inline int map_create(uint32_t type, uint32_t key, uint32_t value, uint32_t entries)
{
    union bpf_attr attr = {
        .map_type = type, .key_size = key, .value_size = value, .max_entries = entries};
    return bpf(BPF_MAP_CREATE, &attr, "map");
}

static inline int program_load(const struct bpf_insn *code, size_t count)
{
    static char log[1 << 16];
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_KPROBE,
                           .insns = (uintptr_t)code,
                           .insn_cnt = (uint32_t)count,
                           .license = (uintptr_t) "GPL",
                           .log_buf = (uintptr_t)log,
                           .log_size = sizeof log,
                           .log_level = 1};
    int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    if (fd < 0) {
        fputs(log, stderr);
        fail("program");
    }
    return fd;
}
#define LOAD_PROGRAM(CODE) program_load(CODE, sizeof(CODE) / sizeof *(CODE))

/* A program that does nothing. */
static inline int program_empty(void)
{
    const struct bpf_insn code[] = {MOV_I(0, 0), EXIT};
    return LOAD_PROGRAM(code);
}

static inline int pmu_type(void)
{
    int type = -1;
    FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
    if (!file || fscanf(file, "%d", &type) != 1)
        fail("uprobe pmu");
    fclose(file);
    return type;
}

/* Puts a program on an offset of a file, or on the return of the function that begins there. The
 * probe goes with the descriptor. */
static inline int attach(const char *path, uint64_t offset, int on_return, int program)
{
    struct perf_event_attr attr = {.type = (uint32_t)pmu_type(),
                                   .size = sizeof attr,
                                   .config = on_return ? 1 : 0,
                                   .config1 = (uintptr_t)path,
                                   .config2 = offset};
    int fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0)
        fail("perf_event_open");
    if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, program) < 0 || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) < 0)
        fail("attach");
    return fd;
}

/* A ring buffer, seen from the reader's side. */
struct ring {
    volatile uint64_t *consumer, *producer;
    const unsigned char *data;
};

static inline struct ring ring_open(int map)
{
    size_t page = (size_t)getpagesize();
    unsigned char *consumer, *rest;
    consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    rest = mmap(NULL, page + 2 * RING_BYTES, PROT_READ, MAP_SHARED, map, (off_t)page);
    if (consumer == MAP_FAILED || rest == MAP_FAILED)
        fail("mmap");
    return (struct ring){(void *)consumer, (void *)rest, rest + page};
}

#endif
