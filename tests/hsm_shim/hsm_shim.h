/* What the files of the pretend HSM share. The control file and the log are described in README.md. */
#ifndef HSM_SHIM_H
#define HSM_SHIM_H

#define _GNU_SOURCE /* open file description locks, recursive-safe read locks */
#define CRYPTOKI_COMPAT 1
#include <p11-kit/pkcs11.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum function {
    INITIALIZE, FINALIZE, GET_TOKEN_INFO, GET_MECHANISM_LIST, OPEN_SESSION, CLOSE_SESSION, GET_SESSION_INFO, LOGIN,
    LOGOUT, FIND_OBJECTS_INIT, FIND_OBJECTS, GET_ATTRIBUTE_VALUE, GENERATE_KEY_PAIR, DESTROY_OBJECT, SIGN_INIT, SIGN,
    FUNCTIONS
};

extern const char *const function_names[FUNCTIONS];

extern CK_FUNCTION_LIST *real; /* the wrapped module */

/* Guards the statements, the random numbers and the table of sessions. Never held while anything is waited for. */
extern pthread_mutex_t state_lock;

/* ---- event_log.c ---- */

void open_log(void);
void log_restart(void);
void log_hang(enum function function, unsigned long arm);
CK_RV log_call(enum function function, CK_SESSION_HANDLE session, unsigned long detail, CK_RV result);
void log_signature(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE mechanism, CK_BYTE_PTR data, CK_ULONG length,
                   CK_RV result, bool discarded);
int64_t now_ns(void); /* CLOCK_MONOTONIC, which all processes of a host share */

/* ---- random_numbers.c ---- */

enum shape { CONSTANT, UNIFORM, EXPONENTIAL, LOGNORMAL };

/* How long a call takes, in microseconds: CONSTANT a, UNIFORM from a to b, EXPONENTIAL with mean a, LOGNORMAL with
 * median a and 99th percentile b. */
struct distribution {
    enum shape shape;
    double a, b;
};

void seed_random_numbers(unsigned long seed);
bool one_in(unsigned long calls);
double draw_microseconds(const struct distribution *latency);

/* ---- statements.c: all of these need state_lock ---- */

enum kind { LATENCY, SESSIONS, PARALLEL, HIDE, FAIL_COUNT, FAIL_RATE, HANG_COUNT, AWAY, RESTART };

/* One statement of the control file that holds from one moment to another. */
struct statement {
    enum kind kind;
    enum function function;
    struct distribution latency;
    unsigned long number; /* a cap, a mechanism, a count, or 1 in how many */
    CK_RV result;
    unsigned long arm;  /* a re-read of the file keeps what is left of the count of a known arm */
    unsigned long left;
    int64_t from_ns, to_ns; /* moments of CLOCK_MONOTONIC */
};

void use_control_file(const char *path);
int open_beside_control(const char *suffix);
bool read_control(void); /* reads it again if it was replaced; true if the token restarted since the last time */
struct statement *in_force(enum kind kind, struct statement *after); /* the next of that kind, or NULL */
unsigned long cap_of(enum kind kind);                                /* of SESSIONS or PARALLEL; 0 = none */

/* ---- byte_locks.c ---- */

bool lock_any_byte(int descriptor, unsigned long count);
unsigned long locked_bytes(int descriptor, unsigned long count);

/* ---- waiting_line.c ---- */

int take_processor(void);
void leave_processor(int processor);

/* ---- sessions.c ---- */

CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *handle);
CK_RV close_session(CK_SESSION_HANDLE handle);
CK_RV close_all_sessions(CK_SLOT_ID slot);
bool any_session(void); /* needs state_lock */
void forget_sessions(void);
void restart_token(void);
void begin_call(void); /* around a call of the wrapped module on a session: no restart comes in between */
void end_call(void);
void set_mechanism(CK_SESSION_HANDLE handle, CK_MECHANISM_TYPE mechanism);
CK_MECHANISM_TYPE mechanism_of(CK_SESSION_HANDLE handle);
unsigned long session_cap(void);
unsigned long capped_sessions(unsigned long cap);

/* ---- faults.c ---- */

CK_RV enter(enum function function);
void look_at_control(void);
bool token_is_away(void);
bool is_hidden(CK_MECHANISM_TYPE mechanism);

#endif
