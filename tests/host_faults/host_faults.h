/* What a preloaded process is told to suffer: read from the control file at every call, so that a fault begins and ends
 * in all processes at once. Its form is in README.md. */

#ifndef HOST_FAULTS_H
#define HOST_FAULTS_H

#include <stdbool.h>

/* Whether a call on this descriptor is to fail; if so, with which errno. `writes` tells a write from a sync. */
int told_to_fail(int descriptor, bool writes);

/* Seconds by which the wall clock is wrong. */
long long told_clock_error(void);

#endif
