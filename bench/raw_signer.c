/* The token's raw rate: C_SignInit and C_Sign in a loop, with nothing around them.
 *
 * usage: raw_signer MODULE PIN_FILE TOKEN_LABEL KEY_LABEL PROCESSES THREADS SECONDS
 *
 * Each of PROCESSES processes opens the module anew, logs in once, and signs with THREADS sessions for SECONDS; all begin
 * together. Prints the signatures a second of all of them. The message has the length of a company certificate's TBS and
 * another content each time; the mechanism is CKM_SHA256_RSA_PKCS, as in issuance.
 */
#define CRYPTOKI_COMPAT 1
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit-1/p11-kit/pkcs11.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_OCTETS = 1000, MAXIMUM_WORKERS = 256, MAXIMUM_SLOTS = 64 };

struct shared {
    pthread_barrier_t begin;
    double rate[MAXIMUM_WORKERS];
};

static CK_FUNCTION_LIST *functions;
static CK_SLOT_ID slot;
static const char *key_label;
static double seconds;
static struct shared *shared;

static void fail(const char *what, unsigned long code) {
    fprintf(stderr, "raw_signer: %s: 0x%lx\n", what, code);
    exit(1);
}

static void check(CK_RV code, const char *what) {
    if (code != CKR_OK) fail(what, code);
}

static double now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (double)moment.tv_sec + (double)moment.tv_nsec * 1e-9;
}

static CK_SESSION_HANDLE open_session(void) {
    CK_SESSION_HANDLE session;
    check(functions->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
    return session;
}

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session) {
    CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &private_key, sizeof private_key},
        {CKA_LABEL, (void *)key_label, strlen(key_label)},
    };
    CK_OBJECT_HANDLE key;
    CK_ULONG found = 0;
    check(functions->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
    check(functions->C_FindObjects(session, &key, 1, &found), "C_FindObjects");
    check(functions->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    if (found != 1) fail("the key is not there", found);
    return key;
}

static void *sign_for_a_while(void *number) {
    CK_SESSION_HANDLE session = open_session();
    CK_OBJECT_HANDLE key = find_key(session);
    CK_MECHANISM mechanism = {CKM_SHA256_RSA_PKCS, NULL, 0};
    unsigned char message[MESSAGE_OCTETS], signature[512];
    unsigned long count = 0;
    memset(message, 0x5a, sizeof message);
    pthread_barrier_wait(&shared->begin);
    double begin = now(), end = begin;
    while (end - begin < seconds) {
        CK_ULONG length = sizeof signature;
        memcpy(message, &count, sizeof count);
        check(functions->C_SignInit(session, &mechanism, key), "C_SignInit");
        check(functions->C_Sign(session, message, sizeof message, signature, &length), "C_Sign");
        count++;
        end = now();
    }
    shared->rate[(size_t)number] = (double)count / (end - begin);
    return NULL;
}

static void open_token(const char *module, const char *token_label, const char *pin_file) {
    int lock = open(pin_file, O_RDONLY); /* SoftHSM fails when one process begins while another logs in */
    flock(lock, LOCK_EX);
    void *library = dlopen(module, RTLD_NOW);
    if (library == NULL) fail(dlerror(), 0);
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    if (get == NULL) fail("no C_GetFunctionList", 0);
    check(get(&functions), "C_GetFunctionList");
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    check(functions->C_Initialize(&arguments), "C_Initialize");

    CK_SLOT_ID slots[MAXIMUM_SLOTS];
    CK_ULONG count = MAXIMUM_SLOTS, index;
    check(functions->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
    for (index = 0; index < count; index++) {
        CK_TOKEN_INFO info;
        check(functions->C_GetTokenInfo(slots[index], &info), "C_GetTokenInfo");
        if (strncmp((const char *)info.label, token_label, strlen(token_label)) == 0) break;
    }
    if (index == count) fail("no token of that label", count);
    slot = slots[index];

    char pin[256];
    FILE *file = fopen(pin_file, "r");
    if (file == NULL || fgets(pin, sizeof pin, file) == NULL) fail("the PIN file cannot be read", 0);
    fclose(file);
    pin[strcspn(pin, "\r\n")] = '\0';
    check(functions->C_Login(open_session(), CKU_USER, (unsigned char *)pin, strlen(pin)), "C_Login");
    close(lock);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: raw_signer MODULE PIN_FILE TOKEN_LABEL KEY_LABEL PROCESSES THREADS SECONDS\n");
        return 2;
    }
    size_t processes = (size_t)atoi(argv[5]), threads = (size_t)atoi(argv[6]);
    key_label = argv[4];
    seconds = atof(argv[7]);
    if (processes * threads == 0 || processes * threads > MAXIMUM_WORKERS) fail("too few or too many", 0);

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) fail("mmap", 0);
    pthread_barrierattr_t across;
    pthread_barrierattr_init(&across);
    pthread_barrierattr_setpshared(&across, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->begin, &across, (unsigned)(processes * threads));

    for (size_t process = 0; process < processes; process++) {
        if (fork() != 0) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever gives up on the parent gives up on its children */
        open_token(argv[1], argv[3], argv[2]);
        pthread_t running[MAXIMUM_WORKERS];
        for (size_t thread = 0; thread < threads; thread++)
            pthread_create(&running[thread], NULL, sign_for_a_while, (void *)(process * threads + thread));
        for (size_t thread = 0; thread < threads; thread++) pthread_join(running[thread], NULL);
        _exit(0);
    }
    int status, bad = 0;
    while (wait(&status) > 0) bad |= status;
    double total = 0;
    for (size_t worker = 0; worker < processes * threads; worker++) total += shared->rate[worker];
    printf("%.1f\n", total);
    return bad != 0;
}
