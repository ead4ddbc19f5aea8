/* A disk that is full or broken, for files whose path has a certain part. */

#include "host_faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static _Thread_local bool was_short; /* the disk took a part of the write before this one */

/* Returns whether the write fails; *octets is then how many are written all the same. A full disk takes half of a write
 * and refuses the next, as a real one does; a broken one leaves half of it there and says nothing of it. */
static bool write_fails(int descriptor, size_t *octets, int *error) {
    *error = told_to_fail(descriptor, true);
    if (*error == 0) {
        was_short = false;
        return false;
    }
    *octets /= 2;
    if (*error == ENOSPC && *octets > 0 && !was_short) {
        was_short = true;
        *error = 0;
        return true;
    }
    was_short = false;
    return true;
}

static ssize_t failed(int error) {
    errno = error;
    return -1;
}

ssize_t write(int descriptor, const void *data, size_t octets) {
    int error;
    if (!write_fails(descriptor, &octets, &error))
        return REAL(write)(descriptor, data, octets);
    return error != 0 ? failed(error) : REAL(write)(descriptor, data, octets);
}

static ssize_t place(int descriptor, const void *data, size_t octets, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    int error;
    if (real == NULL)
        real = REAL(pwrite);
    if (!write_fails(descriptor, &octets, &error))
        return real(descriptor, data, octets, offset);
    if (error == ENOSPC)
        return failed(error);
    ssize_t written = real(descriptor, data, octets, offset);
    return error != 0 ? failed(error) : written;
}

ssize_t pwrite(int descriptor, const void *data, size_t octets, off_t offset) {
    return place(descriptor, data, octets, offset);
}

ssize_t pwrite64(int descriptor, const void *data, size_t octets, off64_t offset) {
    return place(descriptor, data, octets, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    int error = told_to_fail(descriptor, true);
    return error != 0 ? failed(error) : REAL(writev)(descriptor, parts, count);
}

ssize_t pwritev2(int descriptor, const struct iovec *parts, int count, off_t offset, int flags) {
    int error = told_to_fail(descriptor, true);
    if (error == 0)
        return REAL(pwritev2)(descriptor, parts, count, offset, flags);
    if (error == EIO && count > 1)
        REAL(pwritev2)(descriptor, parts, count / 2, offset, flags);
    return failed(error);
}

ssize_t pwritev64v2(int descriptor, const struct iovec *parts, int count, off64_t offset, int flags) {
    return pwritev2(descriptor, parts, count, offset, flags);
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t offset) {
    return pwritev2(descriptor, parts, count, offset, 0);
}

ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off64_t offset) {
    return pwritev2(descriptor, parts, count, offset, 0);
}

int fsync(int descriptor) {
    int error = told_to_fail(descriptor, false);
    return error != 0 ? (int)failed(error) : REAL(fsync)(descriptor);
}

int fdatasync(int descriptor) {
    int error = told_to_fail(descriptor, false);
    return error != 0 ? (int)failed(error) : REAL(fdatasync)(descriptor);
}

int ftruncate(int descriptor, off_t octets) {
    int error = told_to_fail(descriptor, true);
    return error != 0 ? (int)failed(error) : REAL(ftruncate)(descriptor, octets);
}

int ftruncate64(int descriptor, off64_t octets) { return ftruncate(descriptor, octets); }

int posix_fallocate(int descriptor, off_t offset, off_t octets) {
    int error = told_to_fail(descriptor, true);
    return error != 0 ? error : REAL(posix_fallocate)(descriptor, offset, octets);
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t octets) {
    return posix_fallocate(descriptor, offset, octets);
}
