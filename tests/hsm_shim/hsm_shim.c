/* A pretend network HSM: a PKCS#11 module that wraps another one and adds what a network HSM does to its users.
 *
 * It copies the wrapped module's function list and replaces the entries that the signing path uses; the rest go
 * straight through. The control file and the log are described in README.md. One rule above all: no signature
 * leaves, or is made and thrown away, without a line in the log. So the other ways to sign (multi-part, recover)
 * are refused.
 */
#define _GNU_SOURCE /* open file description locks */
#define CRYPTOKI_COMPAT 1
#include <p11-kit/pkcs11.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* From libcrypto; declared here so that its headers need not be installed. */
unsigned char *SHA256(const unsigned char *data, size_t length, unsigned char *digest);
unsigned char *SHA384(const unsigned char *data, size_t length, unsigned char *digest);
unsigned char *SHA512(const unsigned char *data, size_t length, unsigned char *digest);

enum { MAX_RULES = 64, MAX_SESSIONS = 1024, MAX_HIDDEN = 32, MAX_DIGEST = 64, HANG_POLL_US = 2000 };

enum function {
    INITIALIZE, FINALIZE, GET_TOKEN_INFO, GET_MECHANISM_LIST, OPEN_SESSION, CLOSE_SESSION, GET_SESSION_INFO, LOGIN,
    LOGOUT, FIND_OBJECTS_INIT, FIND_OBJECTS, GET_ATTRIBUTE_VALUE, GENERATE_KEY_PAIR, SIGN_INIT, SIGN, FUNCTIONS
};

static const char *const function_names[FUNCTIONS] = {
    "C_Initialize", "C_Finalize", "C_GetTokenInfo", "C_GetMechanismList", "C_OpenSession", "C_CloseSession",
    "C_GetSessionInfo", "C_Login", "C_Logout", "C_FindObjectsInit", "C_FindObjects", "C_GetAttributeValue",
    "C_GenerateKeyPair", "C_SignInit", "C_Sign"
};

enum rule_kind { FAIL_COUNT, FAIL_RATE, HANG_COUNT };

/* One armed fault. The arm number lets a re-read of the file keep what is left of the count. */
struct rule {
    enum rule_kind kind;
    enum function function;
    CK_RV result;
    unsigned long count; /* how many calls, or 1 in how many */
    unsigned long left;
    unsigned long arm;
};

struct control {
    struct rule rules[MAX_RULES];
    int rule_count;
    unsigned long latency_us[FUNCTIONS];
    unsigned long session_cap;
    unsigned long parallel_cap;
    CK_MECHANISM_TYPE hidden[MAX_HIDDEN];
    int hidden_count;
    unsigned long restart;
    unsigned long seed;
};

struct session {
    CK_SESSION_HANDLE handle; /* 0 = free */
    CK_SLOT_ID slot;
    int place; /* descriptor that holds this session's place under the cap, or -1 */
    CK_MECHANISM_TYPE mechanism;
};

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST shim;
static const char *control_path;
static int log_descriptor = -1;

static pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER; /* guards everything from here ... */
static struct control control;
static struct stat control_seen;
static struct session sessions[MAX_SESSIONS];
static uint64_t random_state;
static unsigned long running; /* ... to here */
static pthread_cond_t place_free = PTHREAD_COND_INITIALIZER;

/* A restart closes all sessions underneath, which no module survives while a call is inside: real calls on a
 * session read-lock this, a restart write-locks it. No latency and no hang is ever slept inside it. */
static pthread_rwlock_t restart_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

/* ---- the log ---- */

static void log_line(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (log_descriptor < 0)
        return;
    /* One write() to a file opened with O_APPEND: lines of several processes never mix. A lost line would let a
     * signature go unaccounted, so that ends the process. */
    if (length <= 0 || length >= (int)sizeof line || write(log_descriptor, line, (size_t)length) != length)
        abort();
}

static unsigned long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long)now.tv_sec * 1000000000ULL + (unsigned long long)now.tv_nsec;
}

static CK_RV log_call(enum function function, CK_SESSION_HANDLE session, unsigned long detail, CK_RV result)
{
    log_line("CALL %llu %d %s %lu 0x%lx 0x%lx\n", now_ns(), (int)getpid(), function_names[function], session, detail,
             result);
    return result;
}

/* ---- the control file ---- */

static int function_called(const char *name)
{
    for (int i = 0; i < FUNCTIONS; i++)
        if (!strcmp(name, function_names[i]))
            return i;
    fprintf(stderr, "hsm_shim: the control file names an unknown function %s\n", name);
    abort();
}

static void add_rule(struct control *next, struct rule rule)
{
    if (next->rule_count == MAX_RULES || (rule.kind == FAIL_RATE && rule.count == 0))
        abort();
    rule.left = rule.count;
    for (int i = 0; i < control.rule_count; i++)
        if (control.rules[i].arm == rule.arm)
            rule.left = control.rules[i].left;
    next->rules[next->rule_count++] = rule;
}

static void read_statement(struct control *next, const char *line)
{
    char name[64];
    unsigned long a, b, c;
    if (sscanf(line, "latency %63s %lu", name, &a) == 2)
        next->latency_us[function_called(name)] = a;
    else if (sscanf(line, "fail %63s %lx count %lu arm %lu", name, &a, &b, &c) == 4)
        add_rule(next, (struct rule){FAIL_COUNT, (enum function)function_called(name), a, b, 0, c});
    else if (sscanf(line, "fail %63s %lx rate %lu arm %lu", name, &a, &b, &c) == 4)
        add_rule(next, (struct rule){FAIL_RATE, (enum function)function_called(name), a, b, 0, c});
    else if (sscanf(line, "hang %63s count %lu arm %lu", name, &b, &c) == 3)
        add_rule(next, (struct rule){HANG_COUNT, (enum function)function_called(name), 0, b, 0, c});
    else if (sscanf(line, "sessions %lu", &a) == 1)
        next->session_cap = a;
    else if (sscanf(line, "parallel %lu", &a) == 1)
        next->parallel_cap = a;
    else if (sscanf(line, "hide %lx", &a) == 1 && next->hidden_count < MAX_HIDDEN)
        next->hidden[next->hidden_count++] = a;
    else if (sscanf(line, "restart %lu", &a) == 1)
        next->restart = a;
    else if (sscanf(line, "seed %lu", &a) == 1)
        next->seed = a;
    else if (line[0] != '#' && line[0] != '\n') {
        fprintf(stderr, "hsm_shim: the control file has a line that means nothing: %s", line);
        abort();
    }
}

static bool control_changed(struct stat *found)
{
    if (!control_path || stat(control_path, found))
        return false;
    return found->st_ino != control_seen.st_ino || found->st_mtim.tv_sec != control_seen.st_mtim.tv_sec
           || found->st_mtim.tv_nsec != control_seen.st_mtim.tv_nsec || found->st_size != control_seen.st_size;
}

/* Reads the control file again if it was replaced; true if it asks for a restart. Needs state_lock. */
static bool reload_control(void)
{
    struct stat found;
    if (!control_changed(&found))
        return false;
    FILE *file = fopen(control_path, "re");
    if (!file)
        return false;
    struct control next = {0};
    char line[256];
    while (fgets(line, sizeof line, file))
        read_statement(&next, line);
    fclose(file);
    bool first = control_seen.st_ino == 0;
    bool restart = !first && next.restart != control.restart;
    if (first || next.seed != control.seed)
        random_state = next.seed * 2 + 1; /* xorshift needs a state other than zero */
    control = next;
    control_seen = found;
    return restart;
}

/* ---- sessions ---- */

static struct session *find_session(CK_SESSION_HANDLE handle)
{
    for (int i = 0; i < MAX_SESSIONS; i++)
        if (sessions[i].handle == handle)
            return &sessions[i];
    return NULL;
}

static void forget_session(struct session *session)
{
    if (session->place >= 0)
        close(session->place);
    memset(session, 0, sizeof *session);
}

static void restart_token(void)
{
    pthread_rwlock_wrlock(&restart_lock);
    pthread_mutex_lock(&state_lock);
    for (int i = 0; i < MAX_SESSIONS; i++)
        if (sessions[i].handle) {
            real->C_CloseAllSessions(sessions[i].slot); /* the log-in ends with the last session (section 5.6) */
            forget_session(&sessions[i]);
        }
    log_line("RESTART %llu %d\n", now_ns(), (int)getpid());
    pthread_mutex_unlock(&state_lock);
    pthread_rwlock_unlock(&restart_lock);
}

/* The places under the cap are bytes of one file, each locked by the session that holds it. Such a lock belongs
 * to an open descriptor, so the cap counts all processes, and what a dead process held is free at once. */
static int open_places(void)
{
    char path[4096];
    if (!control_path || snprintf(path, sizeof path, "%s.sessions", control_path) >= (int)sizeof path)
        return -1;
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static int take_place(unsigned long cap)
{
    int descriptor = open_places();
    for (unsigned long i = 0; descriptor >= 0 && i < cap; i++) {
        struct flock place = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)i, .l_len = 1};
        if (!fcntl(descriptor, F_OFD_SETLK, &place))
            return descriptor;
    }
    if (descriptor >= 0)
        close(descriptor);
    return -1;
}

static unsigned long taken_places(unsigned long cap)
{
    unsigned long taken = 0;
    int descriptor = open_places();
    for (unsigned long i = 0; descriptor >= 0 && i < cap; i++) {
        struct flock place = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)i, .l_len = 1};
        if (!fcntl(descriptor, F_OFD_GETLK, &place) && place.l_type != F_UNLCK)
            taken++;
    }
    if (descriptor >= 0)
        close(descriptor);
    return taken;
}

/* ---- faults ---- */

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Which armed fault this call draws: the arm number of a hang through `hang`, a CKR as the result. */
static CK_RV draw_fault(enum function function, unsigned long *hang)
{
    CK_RV result = CKR_OK;
    for (int i = 0; i < control.rule_count && result == CKR_OK; i++) {
        struct rule *rule = &control.rules[i];
        if (rule->function != function)
            continue;
        if (rule->kind == FAIL_RATE)
            result = next_random() % rule->count == 0 ? rule->result : CKR_OK;
        else if (rule->left > 0) {
            rule->left--;
            if (rule->kind == FAIL_COUNT)
                result = rule->result;
            else
                *hang = rule->arm;
        }
    }
    return result;
}

static bool still_armed(unsigned long arm)
{
    pthread_mutex_lock(&state_lock);
    bool restart = reload_control();
    bool armed = false;
    for (int i = 0; i < control.rule_count; i++)
        armed = armed || control.rules[i].arm == arm;
    pthread_mutex_unlock(&state_lock);
    if (restart)
        restart_token();
    return armed;
}

/* What every wrapped call begins with: reads the control file, restarts if asked, hangs, sleeps. */
static CK_RV enter(enum function function)
{
    unsigned long hang = 0;
    pthread_mutex_lock(&state_lock);
    bool restart = reload_control();
    CK_RV fault = draw_fault(function, &hang);
    unsigned long latency = control.latency_us[function];
    pthread_mutex_unlock(&state_lock);
    if (restart)
        restart_token();
    if (hang)
        log_line("HANG %llu %d %s %lu\n", now_ns(), (int)getpid(), function_names[function], hang);
    while (hang && still_armed(hang))
        usleep(HANG_POLL_US);
    if (latency)
        usleep((useconds_t)latency);
    return fault;
}

static void take_processor(void)
{
    pthread_mutex_lock(&state_lock);
    while (control.parallel_cap && running >= control.parallel_cap)
        pthread_cond_wait(&place_free, &state_lock);
    running++;
    pthread_mutex_unlock(&state_lock);
}

static void leave_processor(void)
{
    pthread_mutex_lock(&state_lock);
    running--;
    pthread_cond_broadcast(&place_free);
    pthread_mutex_unlock(&state_lock);
}

/* ---- what is signed ---- */

static size_t digest_signed(CK_MECHANISM_TYPE mechanism, CK_BYTE_PTR data, CK_ULONG length, unsigned char *digest)
{
    switch (mechanism) {
    case CKM_SHA256_RSA_PKCS: case CKM_SHA256_RSA_PKCS_PSS: case CKM_ECDSA_SHA256:
        SHA256(data, length, digest);
        return 32;
    case CKM_SHA384_RSA_PKCS: case CKM_SHA384_RSA_PKCS_PSS: case CKM_ECDSA_SHA384:
        SHA384(data, length, digest);
        return 48;
    case CKM_SHA512_RSA_PKCS: case CKM_SHA512_RSA_PKCS_PSS: case CKM_ECDSA_SHA512:
        SHA512(data, length, digest);
        return 64;
    default:
        break;
    }
    /* RFC 8017 section 9.2: a DigestInfo of SHA-2 has 19 octets before the digest. */
    size_t before = mechanism == CKM_RSA_PKCS && (length == 51 || length == 67 || length == 83) ? 19 : 0;
    size_t size = length - before > MAX_DIGEST ? MAX_DIGEST : length - before;
    memcpy(digest, data + before, size);
    return size;
}

static void log_signature(CK_SESSION_HANDLE handle, CK_MECHANISM_TYPE mechanism, CK_BYTE_PTR data, CK_ULONG length,
                          CK_RV result, bool discarded)
{
    unsigned char digest[MAX_DIGEST];
    char text[2 * MAX_DIGEST + 1] = "";
    size_t size = digest_signed(mechanism, data, length, digest);
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    log_line("SIGN %llu %d %lu 0x%lx %s 0x%lx %s\n", now_ns(), (int)getpid(), handle, mechanism, size ? text : "-", result,
             discarded ? "discarded" : "returned");
}

/* ---- the replaced functions ---- */

static CK_RV shim_initialize(void *arguments)
{
    CK_C_INITIALIZE_ARGS_PTR given = arguments;
    CK_RV result = enter(INITIALIZE);
    if (result == CKR_OK)
        result = real->C_Initialize(arguments);
    return log_call(INITIALIZE, 0, given ? given->flags : 0, result);
}

static CK_RV shim_finalize(void *reserved)
{
    CK_RV fault = enter(FINALIZE);
    pthread_mutex_lock(&state_lock);
    for (int i = 0; i < MAX_SESSIONS; i++)
        if (sessions[i].handle)
            forget_session(&sessions[i]);
    pthread_mutex_unlock(&state_lock);
    CK_RV result = real->C_Finalize(reserved);
    return log_call(FINALIZE, 0, 0, fault ? fault : result);
}

static CK_RV shim_get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    CK_RV result = enter(GET_TOKEN_INFO);
    if (result == CKR_OK)
        result = real->C_GetTokenInfo(slot, info);
    pthread_mutex_lock(&state_lock);
    if (result == CKR_OK && control.session_cap) {
        info->ulMaxSessionCount = control.session_cap;
        info->ulSessionCount = taken_places(control.session_cap);
    }
    pthread_mutex_unlock(&state_lock);
    return result;
}

static bool is_hidden(CK_MECHANISM_TYPE mechanism)
{
    bool hidden = false;
    pthread_mutex_lock(&state_lock);
    for (int i = 0; i < control.hidden_count; i++)
        hidden = hidden || control.hidden[i] == mechanism;
    pthread_mutex_unlock(&state_lock);
    return hidden;
}

static CK_RV shim_get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
    CK_RV result = enter(GET_MECHANISM_LIST);
    if (result == CKR_OK)
        result = real->C_GetMechanismList(slot, list, count);
    if (result != CKR_OK || !list) /* the length may be too large, never too small */
        return result;
    CK_ULONG kept = 0;
    for (CK_ULONG i = 0; i < *count; i++)
        if (!is_hidden(list[i]))
            list[kept++] = list[i];
    *count = kept;
    return CKR_OK;
}

static CK_RV shim_get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE mechanism, CK_MECHANISM_INFO_PTR info)
{
    return is_hidden(mechanism) ? CKR_MECHANISM_INVALID : real->C_GetMechanismInfo(slot, mechanism, info);
}

static CK_RV open_session_in(int place, CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                             CK_SESSION_HANDLE *handle)
{
    pthread_rwlock_rdlock(&restart_lock);
    CK_RV result = real->C_OpenSession(slot, flags, application, notify, handle);
    pthread_mutex_lock(&state_lock);
    struct session *session = result == CKR_OK ? find_session(0) : NULL;
    if (session)
        *session = (struct session){.handle = *handle, .slot = slot, .place = place};
    pthread_mutex_unlock(&state_lock);
    pthread_rwlock_unlock(&restart_lock);
    if (!session && place >= 0)
        close(place);
    if (result == CKR_OK && !session)
        abort(); /* more sessions than this module was built for */
    return result;
}

static CK_RV shim_open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                               CK_SESSION_HANDLE *handle)
{
    CK_RV fault = enter(OPEN_SESSION);
    if (fault)
        return log_call(OPEN_SESSION, 0, flags, fault);
    pthread_mutex_lock(&state_lock);
    unsigned long cap = control.session_cap;
    int place = cap ? take_place(cap) : -1;
    pthread_mutex_unlock(&state_lock);
    if (cap && place < 0)
        return log_call(OPEN_SESSION, 0, flags, CKR_SESSION_COUNT);
    CK_RV result = open_session_in(place, slot, flags, application, notify, handle);
    return log_call(OPEN_SESSION, result == CKR_OK ? *handle : 0, flags, result);
}

static CK_RV shim_close_session(CK_SESSION_HANDLE handle)
{
    CK_RV fault = enter(CLOSE_SESSION);
    pthread_rwlock_rdlock(&restart_lock);
    CK_RV result = real->C_CloseSession(handle);
    pthread_mutex_lock(&state_lock);
    struct session *session = handle ? find_session(handle) : NULL;
    if (result == CKR_OK && session)
        forget_session(session);
    pthread_mutex_unlock(&state_lock);
    pthread_rwlock_unlock(&restart_lock);
    return log_call(CLOSE_SESSION, handle, 0, fault ? fault : result);
}

static CK_RV shim_close_all_sessions(CK_SLOT_ID slot)
{
    pthread_rwlock_wrlock(&restart_lock);
    CK_RV result = real->C_CloseAllSessions(slot);
    pthread_mutex_lock(&state_lock);
    for (int i = 0; i < MAX_SESSIONS; i++)
        if (sessions[i].handle && sessions[i].slot == slot)
            forget_session(&sessions[i]);
    pthread_mutex_unlock(&state_lock);
    pthread_rwlock_unlock(&restart_lock);
    return result;
}

/* The body of a replaced function that does nothing but pass on, unless a fault is drawn. */
#define PASS_ON(function, call)                \
    CK_RV result = enter(function);            \
    if (result == CKR_OK) {                    \
        pthread_rwlock_rdlock(&restart_lock);  \
        result = real->call;                   \
        pthread_rwlock_unlock(&restart_lock);  \
    }

static CK_RV shim_get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
    PASS_ON(GET_SESSION_INFO, C_GetSessionInfo(session, info))
    return result;
}

static CK_RV shim_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    PASS_ON(LOGIN, C_Login(session, user, pin, length))
    return log_call(LOGIN, session, user, result);
}

static CK_RV shim_logout(CK_SESSION_HANDLE session)
{
    PASS_ON(LOGOUT, C_Logout(session))
    return log_call(LOGOUT, session, 0, result);
}

static CK_RV shim_find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
    PASS_ON(FIND_OBJECTS_INIT, C_FindObjectsInit(session, template, count))
    return result;
}

static CK_RV shim_find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG room, CK_ULONG_PTR count)
{
    PASS_ON(FIND_OBJECTS, C_FindObjects(session, objects, room, count))
    return result;
}

static CK_RV shim_get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                      CK_ULONG count)
{
    PASS_ON(GET_ATTRIBUTE_VALUE, C_GetAttributeValue(session, object, template, count))
    return result;
}

static CK_RV shim_generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR public_key,
                                    CK_ULONG public_count, CK_ATTRIBUTE_PTR private_key, CK_ULONG private_count,
                                    CK_OBJECT_HANDLE_PTR public_handle, CK_OBJECT_HANDLE_PTR private_handle)
{
    PASS_ON(GENERATE_KEY_PAIR, C_GenerateKeyPair(session, mechanism, public_key, public_count, private_key,
                                                 private_count, public_handle, private_handle))
    return log_call(GENERATE_KEY_PAIR, session, mechanism->mechanism, result);
}

static CK_RV shim_sign_init(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    if (mechanism && is_hidden(mechanism->mechanism))
        return CKR_MECHANISM_INVALID;
    PASS_ON(SIGN_INIT, C_SignInit(handle, mechanism, key))
    pthread_mutex_lock(&state_lock);
    struct session *session = handle ? find_session(handle) : NULL;
    if (result == CKR_OK && session)
        session->mechanism = mechanism->mechanism;
    pthread_mutex_unlock(&state_lock);
    return result;
}

static CK_MECHANISM_TYPE mechanism_of(CK_SESSION_HANDLE handle)
{
    pthread_mutex_lock(&state_lock);
    struct session *session = handle ? find_session(handle) : NULL;
    CK_MECHANISM_TYPE mechanism = session ? session->mechanism : 0;
    pthread_mutex_unlock(&state_lock);
    return mechanism;
}

static CK_RV real_sign(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                       CK_ULONG_PTR size)
{
    pthread_rwlock_rdlock(&restart_lock);
    CK_RV result = real->C_Sign(handle, data, length, signature, size);
    pthread_rwlock_unlock(&restart_lock);
    return result;
}

/* Ends the operation that an injected error pretends has failed: the signature is made and thrown away. */
static void sign_and_discard(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length)
{
    CK_BYTE scratch[2048];
    CK_ULONG size = sizeof scratch;
    CK_MECHANISM_TYPE mechanism = mechanism_of(handle);
    CK_RV result = real_sign(handle, data, length, scratch, &size);
    log_signature(handle, mechanism, data, length, result, true);
}

static CK_RV shim_sign(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                       CK_ULONG_PTR size)
{
    take_processor();
    CK_RV fault = enter(SIGN);
    CK_RV result = fault;
    CK_MECHANISM_TYPE mechanism = mechanism_of(handle); /* before the call: a restart after it forgets the session */
    if (fault)
        sign_and_discard(handle, data, length);
    else
        result = real_sign(handle, data, length, signature, size);
    leave_processor();
    /* A question for the length, or a buffer too small, makes no signature and leaves the operation open. */
    if (!fault && signature && result != CKR_BUFFER_TOO_SMALL)
        log_signature(handle, mechanism, data, length, result, false);
    return result;
}

static CK_RV refuse_update(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG length)
{
    (void)session, (void)data, (void)length;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV refuse_final(CK_SESSION_HANDLE session, CK_BYTE_PTR signature, CK_ULONG_PTR length)
{
    (void)session, (void)signature, (void)length;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV refuse_recover(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    (void)session, (void)mechanism, (void)key;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV refuse_sign_encrypt(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG length, CK_BYTE_PTR encrypted,
                                 CK_ULONG_PTR size)
{
    (void)session, (void)part, (void)length, (void)encrypted, (void)size;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

/* ---- loading ---- */

static void open_log(void)
{
    const char *path = getenv("HSM_SHIM_LOG");
    if (!path)
        return;
    log_descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log_descriptor < 0) {
        perror("hsm_shim: the log cannot be opened");
        abort();
    }
}

static void replace_functions(void)
{
    shim = *real;
    shim.C_GetFunctionList = C_GetFunctionList;
    shim.C_Initialize = shim_initialize;
    shim.C_Finalize = shim_finalize;
    shim.C_GetTokenInfo = shim_get_token_info;
    shim.C_GetMechanismList = shim_get_mechanism_list;
    shim.C_GetMechanismInfo = shim_get_mechanism_info;
    shim.C_OpenSession = shim_open_session;
    shim.C_CloseSession = shim_close_session;
    shim.C_CloseAllSessions = shim_close_all_sessions;
    shim.C_GetSessionInfo = shim_get_session_info;
    shim.C_Login = shim_login;
    shim.C_Logout = shim_logout;
    shim.C_FindObjectsInit = shim_find_objects_init;
    shim.C_FindObjects = shim_find_objects;
    shim.C_GetAttributeValue = shim_get_attribute_value;
    shim.C_GenerateKeyPair = shim_generate_key_pair;
    shim.C_SignInit = shim_sign_init;
    shim.C_Sign = shim_sign;
    shim.C_SignUpdate = refuse_update;
    shim.C_SignFinal = refuse_final;
    shim.C_SignRecoverInit = refuse_recover;
    shim.C_SignEncryptUpdate = refuse_sign_encrypt;
}

static void load_wrapped(void)
{
    const char *path = getenv("HSM_SHIM_MODULE");
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList get = NULL;
    if (module)
        *(void **)&get = dlsym(module, "C_GetFunctionList");
    if (!get || get(&real) != CKR_OK) {
        fprintf(stderr, "hsm_shim: HSM_SHIM_MODULE does not name a PKCS#11 module: %s\n", path ? path : "it is not set");
        real = NULL;
        return;
    }
    control_path = getenv("HSM_SHIM_CONTROL");
    control_path = control_path ? strdup(control_path) : NULL;
    open_log();
    replace_functions();
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_wrapped);
    if (!real)
        return CKR_GENERAL_ERROR;
    *list = &shim;
    return CKR_OK;
}
