/* `parallel N`: the processors of the pretend HSM, and the line of calls that wait for one, over all processes.
 *
 * A processor is a locked byte of the file beside the control file. The same file, mapped, has the line: a call draws
 * a ticket and waits until it is served. Only wake-ups go through the line; the locks alone say what is free. So a
 * process that dies leaves nothing behind, and one that died or was stopped in the line is passed over. */
#include "hsm_shim.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    PATIENCE_NS = 2000000, /* a guess: longer than a living process needs to wake up and take a free processor */
    LOOK_NS = 20000000,    /* how late a change of the cap or a processor given back by a dead process may be seen */
};

struct line {
    _Atomic uint32_t next;     /* the ticket that the next call draws */
    _Atomic uint32_t serving;  /* whoever has this ticket, or an earlier one, may take a processor */
    _Atomic uint32_t releases; /* changes when a processor becomes free */
};

static struct line *line;
static pthread_once_t mapped = PTHREAD_ONCE_INIT;

static void map_line(void)
{
    int descriptor = open_beside_control(".parallel");
    if (descriptor >= 0 && !ftruncate(descriptor, sizeof *line))
        line = mmap(NULL, sizeof *line, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (!line || line == MAP_FAILED) {
        perror("hsm_shim: the line of waiting calls cannot be mapped");
        abort();
    }
    close(descriptor);
}

static uint32_t bit_of(uint32_t ticket) /* spares waking all for one */
{
    return 1u << (ticket % 32);
}

static void sleep_while(_Atomic uint32_t *word, uint32_t value, uint32_t bit, int64_t nanoseconds)
{
    int64_t end = now_ns() + nanoseconds; /* FUTEX_WAIT_BITSET takes a moment of CLOCK_MONOTONIC */
    struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, &until, NULL, bit);
}

static void wake(_Atomic uint32_t *word, uint32_t bit)
{
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT32_MAX, NULL, NULL, bit);
}

static unsigned long parallel_cap(void)
{
    look_at_control();
    pthread_mutex_lock(&state_lock);
    unsigned long cap = cap_of(PARALLEL);
    pthread_mutex_unlock(&state_lock);
    return cap;
}

/* Waits behind those who came before; serves itself if they leave a processor unused for too long. */
static void wait_behind(int32_t ahead, uint32_t serving, uint32_t ticket, int descriptor)
{
    int64_t began = now_ns(), patience = PATIENCE_NS * (int64_t)ahead;
    sleep_while(&line->serving, serving, bit_of(ticket), patience);
    unsigned long cap = parallel_cap();
    if (now_ns() - began >= patience && locked_bytes(descriptor, cap) < cap)
        atomic_compare_exchange_strong(&line->serving, &serving, ticket);
}

static void wait_in_line(uint32_t ticket, int descriptor)
{
    for (;;) {
        uint32_t serving = atomic_load(&line->serving), releases = atomic_load(&line->releases);
        int32_t ahead = (int32_t)(ticket - serving);
        unsigned long cap = parallel_cap();
        if (!cap || (ahead <= 0 && lock_any_byte(descriptor, cap)))
            return;
        if (ahead <= 0)
            sleep_while(&line->releases, releases, FUTEX_BITSET_MATCH_ANY, LOOK_NS);
        else
            wait_behind(ahead, serving, ticket, descriptor);
    }
}

/* Waits for a processor; returns what leave_processor needs, or -1 if there is no cap. */
int take_processor(void)
{
    if (!parallel_cap())
        return -1;
    pthread_once(&mapped, map_line);
    int descriptor = open_beside_control(".parallel");
    uint32_t ticket = atomic_fetch_add(&line->next, 1), mine = ticket;
    wait_in_line(ticket, descriptor);
    if (atomic_compare_exchange_strong(&line->serving, &mine, ticket + 1))
        wake(&line->serving, bit_of(ticket + 1));
    return descriptor;
}

void leave_processor(int processor)
{
    if (processor < 0)
        return;
    /* Said before it is closed: a child that was forked meanwhile would keep the lock until it closes its copy. */
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    fcntl(processor, F_OFD_SETLK, &all);
    close(processor);
    atomic_fetch_add(&line->releases, 1);
    wake(&line->releases, FUTEX_BITSET_MATCH_ANY);
}
