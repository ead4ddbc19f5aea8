/* The control file. Nothing here calls what is wrapped: no stdio, no time. */

#include "host_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_OCTETS 1024 /* of the control file: a guess, far more than its two lines */

static const char *control_path(void) { return getenv("HOST_FAULTS_CONTROL"); }

static bool read_control(char *text) {
    const char *path = control_path();
    if (path == NULL)
        return false;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t octets = read(file, text, MOST_OCTETS - 1);
    close(file);
    if (octets <= 0)
        return false;
    text[octets] = '\0';
    return true;
}

/* A line of its own in the file beside the control file: how often, and which file. */
static void tell(const char *path) {
    char name[PATH_MAX], line[PATH_MAX + 2];
    if (snprintf(name, sizeof name, "%s.hits", control_path()) >= (int)sizeof name)
        return;
    int length = snprintf(line, sizeof line, "%s\n", path);
    int file = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    syscall(SYS_write, file, line, (size_t)length);
    close(file);
}

static bool path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t octets = readlink(link, path, PATH_MAX - 1);
    if (octets <= 0)
        return false;
    path[octets] = '\0';
    return true;
}

int told_to_fail(int descriptor, bool writes) {
    int before = errno, error = 0;
    char text[MOST_OCTETS], path[PATH_MAX], fragment[MOST_OCTETS];
    if (read_control(text)) {
        char *line = strstr(text, "fail ");
        if (line != NULL && sscanf(line, "fail %d %1023s", &error, fragment) == 2) {
            /* A disk that is full lets everything be synced that is on it. */
            bool is_meant = (writes || error == EIO) && path_of(descriptor, path);
            if (!is_meant || strstr(path, fragment) == NULL)
                error = 0;
            else
                tell(path);
        } else {
            error = 0;
        }
    }
    errno = before;
    return error;
}

long long told_clock_error(void) {
    int before = errno;
    char text[MOST_OCTETS];
    long long seconds = 0;
    if (read_control(text)) {
        char *line = strstr(text, "clock ");
        if (line != NULL)
            seconds = atoll(line + strlen("clock "));
    }
    errno = before;
    return seconds;
}
