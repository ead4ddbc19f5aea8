/* The sessions that are open in this process, the cap on them, and the restart that ends them all. */
#include "hsm_shim.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SESSIONS = 1024 };

struct session {
    CK_SESSION_HANDLE handle; /* 0 = free */
    CK_SLOT_ID slot;
    int place; /* descriptor that holds this session's place under the cap, or -1 */
    CK_MECHANISM_TYPE mechanism;
};

static struct session sessions[MAX_SESSIONS];

/* A restart closes all sessions underneath, which no module survives while a call is inside: real calls on a
 * session read-lock this, a restart write-locks it. No latency and no hang is ever slept inside it. */
static pthread_rwlock_t restart_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

void begin_call(void)
{
    pthread_rwlock_rdlock(&restart_lock);
}

void end_call(void)
{
    pthread_rwlock_unlock(&restart_lock);
}

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

bool any_session(void)
{
    for (int i = 0; i < MAX_SESSIONS; i++)
        if (sessions[i].handle)
            return true;
    return false;
}

void forget_sessions(void)
{
    pthread_mutex_lock(&state_lock);
    for (int i = 0; i < MAX_SESSIONS; i++)
        if (sessions[i].handle)
            forget_session(&sessions[i]);
    pthread_mutex_unlock(&state_lock);
}

void restart_token(void)
{
    pthread_rwlock_wrlock(&restart_lock);
    pthread_mutex_lock(&state_lock);
    for (int i = 0; i < MAX_SESSIONS; i++)
        if (sessions[i].handle) {
            real->C_CloseAllSessions(sessions[i].slot); /* the log-in ends with the last session (section 5.6) */
            forget_session(&sessions[i]);
        }
    log_restart();
    pthread_mutex_unlock(&state_lock);
    pthread_rwlock_unlock(&restart_lock);
}

unsigned long session_cap(void)
{
    pthread_mutex_lock(&state_lock);
    unsigned long cap = cap_of(SESSIONS);
    pthread_mutex_unlock(&state_lock);
    return cap;
}

unsigned long capped_sessions(unsigned long cap)
{
    int descriptor = open_beside_control(".sessions");
    unsigned long taken = descriptor < 0 ? 0 : locked_bytes(descriptor, cap);
    if (descriptor >= 0)
        close(descriptor);
    return taken;
}

static int take_place(unsigned long cap)
{
    int descriptor = open_beside_control(".sessions");
    if (descriptor < 0 || lock_any_byte(descriptor, cap))
        return descriptor;
    close(descriptor);
    return -1;
}

CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *handle)
{
    unsigned long cap = session_cap();
    int place = cap ? take_place(cap) : -1;
    if (cap && place < 0)
        return CKR_SESSION_COUNT;
    begin_call();
    CK_RV result = real->C_OpenSession(slot, flags, application, notify, handle);
    pthread_mutex_lock(&state_lock);
    struct session *session = result == CKR_OK ? find_session(0) : NULL;
    if (session)
        *session = (struct session){.handle = *handle, .slot = slot, .place = place};
    pthread_mutex_unlock(&state_lock);
    end_call();
    if (!session && place >= 0)
        close(place);
    if (result == CKR_OK && !session)
        abort(); /* more sessions than this module was built for */
    return result;
}

CK_RV close_session(CK_SESSION_HANDLE handle)
{
    begin_call();
    CK_RV result = real->C_CloseSession(handle);
    pthread_mutex_lock(&state_lock);
    struct session *session = handle ? find_session(handle) : NULL;
    if (result == CKR_OK && session)
        forget_session(session);
    pthread_mutex_unlock(&state_lock);
    end_call();
    return result;
}

CK_RV close_all_sessions(CK_SLOT_ID slot)
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

void set_mechanism(CK_SESSION_HANDLE handle, CK_MECHANISM_TYPE mechanism)
{
    pthread_mutex_lock(&state_lock);
    struct session *session = handle ? find_session(handle) : NULL;
    if (session)
        session->mechanism = mechanism;
    pthread_mutex_unlock(&state_lock);
}

CK_MECHANISM_TYPE mechanism_of(CK_SESSION_HANDLE handle)
{
    pthread_mutex_lock(&state_lock);
    struct session *session = handle ? find_session(handle) : NULL;
    CK_MECHANISM_TYPE mechanism = session ? session->mechanism : 0;
    pthread_mutex_unlock(&state_lock);
    return mechanism;
}
