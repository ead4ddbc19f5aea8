/* The log: one line for each event, so that every signature can be accounted for. */
#include "hsm_shim.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_DIGEST = 64 };

/* From libcrypto; declared here so that its headers need not be installed. */
unsigned char *SHA256(const unsigned char *data, size_t length, unsigned char *digest);
unsigned char *SHA384(const unsigned char *data, size_t length, unsigned char *digest);
unsigned char *SHA512(const unsigned char *data, size_t length, unsigned char *digest);

const char *const function_names[FUNCTIONS] = {
    "C_Initialize", "C_Finalize", "C_GetTokenInfo", "C_GetMechanismList", "C_OpenSession", "C_CloseSession",
    "C_GetSessionInfo", "C_Login", "C_Logout", "C_FindObjectsInit", "C_FindObjects", "C_GetAttributeValue",
    "C_GenerateKeyPair", "C_DestroyObject", "C_SignInit", "C_Sign"
};

static int log_descriptor = -1;

void open_log(void)
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

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

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

void log_restart(void)
{
    log_line("RESTART %lld %d\n", (long long)now_ns(), (int)getpid());
}

void log_hang(enum function function, unsigned long arm)
{
    log_line("HANG %lld %d %s %lu\n", (long long)now_ns(), (int)getpid(), function_names[function], arm);
}

CK_RV log_call(enum function function, CK_SESSION_HANDLE session, unsigned long detail, CK_RV result)
{
    log_line("CALL %lld %d %s %lu 0x%lx 0x%lx\n", (long long)now_ns(), (int)getpid(), function_names[function], session,
             detail, result);
    return result;
}

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

void log_signature(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE mechanism, CK_BYTE_PTR data, CK_ULONG length,
                   CK_RV result, bool discarded)
{
    unsigned char digest[MAX_DIGEST];
    char text[2 * MAX_DIGEST + 1] = "";
    size_t size = digest_signed(mechanism, data, length, digest);
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    log_line("SIGN %lld %d %lu 0x%lx %s 0x%lx %s\n", (long long)now_ns(), (int)getpid(), session, mechanism,
             size ? text : "-", result, discarded ? "discarded" : "returned");
}
