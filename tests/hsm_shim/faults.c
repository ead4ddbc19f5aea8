/* What a wrapped call meets before the wrapped module sees it: restarts, an absent token, hangs, latency, errors. */
#include "hsm_shim.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

enum { HANG_POLL_US = 2000 };

pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER;

void look_at_control(void)
{
    pthread_mutex_lock(&state_lock);
    bool restart = read_control() || (in_force(AWAY, NULL) && any_session());
    pthread_mutex_unlock(&state_lock);
    if (restart)
        restart_token();
}

bool token_is_away(void)
{
    look_at_control();
    pthread_mutex_lock(&state_lock);
    bool away = in_force(AWAY, NULL) != NULL;
    pthread_mutex_unlock(&state_lock);
    return away;
}

/* What a call returns while the token is away; CKR_OK for the two functions that need none. */
static CK_RV absence(enum function function)
{
    switch (function) {
    case INITIALIZE: case FINALIZE:
        return CKR_OK;
    case GET_TOKEN_INFO: case GET_MECHANISM_LIST: case OPEN_SESSION:
        return CKR_TOKEN_NOT_PRESENT;
    default:
        return CKR_DEVICE_REMOVED;
    }
}

bool is_hidden(CK_MECHANISM_TYPE mechanism)
{
    bool hidden = false;
    pthread_mutex_lock(&state_lock);
    for (struct statement *said = in_force(HIDE, NULL); said; said = in_force(HIDE, said))
        hidden = hidden || said->number == mechanism;
    pthread_mutex_unlock(&state_lock);
    return hidden;
}

static bool use_up(struct statement *said, enum function function)
{
    if (said->function != function || said->left == 0)
        return false;
    said->left--;
    return true;
}

/* Which hang this call meets: its arm number, or 0. */
static unsigned long draw_hang(enum function function)
{
    for (struct statement *said = in_force(HANG_COUNT, NULL); said; said = in_force(HANG_COUNT, said))
        if (use_up(said, function))
            return said->arm;
    return 0;
}

static CK_RV draw_error(enum function function)
{
    for (struct statement *said = in_force(FAIL_COUNT, NULL); said; said = in_force(FAIL_COUNT, said))
        if (use_up(said, function))
            return said->result;
    for (struct statement *said = in_force(FAIL_RATE, NULL); said; said = in_force(FAIL_RATE, said))
        if (said->function == function && one_in(said->number))
            return said->result;
    return CKR_OK;
}

static double draw_latency(enum function function)
{
    struct statement *last = NULL;
    for (struct statement *said = in_force(LATENCY, NULL); said; said = in_force(LATENCY, said))
        if (said->function == function)
            last = said;
    return last ? draw_microseconds(&last->latency) : 0;
}

static void hang_while_armed(enum function function, unsigned long arm)
{
    log_hang(function, arm);
    for (bool armed = true; armed;) {
        usleep(HANG_POLL_US);
        look_at_control();
        armed = false;
        pthread_mutex_lock(&state_lock);
        for (struct statement *said = in_force(HANG_COUNT, NULL); said; said = in_force(HANG_COUNT, said))
            armed = armed || said->arm == arm;
        pthread_mutex_unlock(&state_lock);
    }
}

static void sleep_for(double microseconds)
{
    int64_t end = now_ns() + (int64_t)(microseconds * 1e3);
    struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    while (microseconds > 0 && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

/* What every wrapped call begins with; returns the error that it shall end with, or CKR_OK. */
CK_RV enter(enum function function)
{
    if (token_is_away() && absence(function))
        return absence(function);
    pthread_mutex_lock(&state_lock);
    unsigned long hang = draw_hang(function);
    CK_RV error = draw_error(function);
    double latency = draw_latency(function);
    pthread_mutex_unlock(&state_lock);
    if (hang)
        hang_while_armed(function, hang);
    sleep_for(latency);
    if (latency > 0 && token_is_away() && absence(function))
        return absence(function);
    return error;
}
