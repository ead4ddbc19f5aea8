/* Places counted over all processes: a place is a byte of a file, locked by whoever holds it.
 *
 * Such a lock belongs to an open file description (fcntl(2), F_OFD_SETLK): every holder opens the file for itself,
 * and what a dead process held is free at once. */
#include "hsm_shim.h"

#include <fcntl.h>

bool lock_any_byte(int descriptor, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        struct flock place = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)i, .l_len = 1};
        if (!fcntl(descriptor, F_OFD_SETLK, &place))
            return true;
    }
    return false;
}

unsigned long locked_bytes(int descriptor, unsigned long count)
{
    unsigned long locked = 0;
    for (unsigned long i = 0; i < count; i++) {
        struct flock place = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)i, .l_len = 1};
        if (!fcntl(descriptor, F_OFD_GETLK, &place) && place.l_type != F_UNLCK)
            locked++;
    }
    return locked;
}
