/* The control file: read again when it was replaced; each statement knows from when to when it is in force. */
#include "hsm_shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_STATEMENTS = 256 };

struct control {
    struct statement statements[MAX_STATEMENTS];
    int count;
    int64_t origin_ns;
    unsigned long restart;
    unsigned long seed;
};

static const char *control_path;
static struct control control;
static struct stat control_seen;
static int64_t last_look_ns;

void use_control_file(const char *path)
{
    control_path = path ? strdup(path) : NULL;
}

int open_beside_control(const char *suffix)
{
    char path[4096];
    if (!control_path || snprintf(path, sizeof path, "%s%s", control_path, suffix) >= (int)sizeof path)
        return -1;
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void refuse(const char *why, const char *line)
{
    fprintf(stderr, "hsm_shim: the control file has a line that %s: %s\n", why, line);
    abort();
}

static enum function function_called(const char *name)
{
    for (int i = 0; i < FUNCTIONS; i++)
        if (!strcmp(name, function_names[i]))
            return (enum function)i;
    refuse("names an unknown function", name);
    return FUNCTIONS;
}

static bool read_latency(struct statement *said, const char *text)
{
    char name[64];
    struct distribution *latency = &said->latency;
    if (sscanf(text, "latency %63s uniform %lf %lf", name, &latency->a, &latency->b) == 3)
        latency->shape = UNIFORM;
    else if (sscanf(text, "latency %63s exponential %lf", name, &latency->a) == 2)
        latency->shape = EXPONENTIAL;
    else if (sscanf(text, "latency %63s lognormal %lf %lf", name, &latency->a, &latency->b) == 3)
        latency->shape = LOGNORMAL;
    else if (sscanf(text, "latency %63s %lf", name, &latency->a) == 2)
        latency->shape = CONSTANT;
    else
        return false;
    if (latency->shape == LOGNORMAL && !(latency->a > 0 && latency->b >= latency->a))
        refuse("wants a 99th percentile below the median", text);
    said->kind = LATENCY;
    said->function = function_called(name);
    return true;
}

static bool read_fault(struct statement *said, const char *text)
{
    char name[64];
    if (sscanf(text, "fail %63s %lx count %lu arm %lu", name, &said->result, &said->number, &said->arm) == 4)
        said->kind = FAIL_COUNT;
    else if (sscanf(text, "fail %63s %lx rate %lu arm %lu", name, &said->result, &said->number, &said->arm) == 4)
        said->kind = FAIL_RATE;
    else if (sscanf(text, "hang %63s count %lu arm %lu", name, &said->number, &said->arm) == 3)
        said->kind = HANG_COUNT;
    else
        return false;
    if (said->kind == FAIL_RATE && said->number == 0)
        refuse("wants one call in none to fail", text);
    said->function = function_called(name);
    said->left = said->number;
    for (int i = 0; i < control.count; i++)
        if (control.statements[i].kind == said->kind && control.statements[i].arm == said->arm)
            said->left = control.statements[i].left;
    return true;
}

static bool read_other(struct statement *said, const char *text)
{
    char first[16] = "";
    sscanf(text, "%15s", first);
    if (sscanf(text, "sessions %lu", &said->number) == 1)
        said->kind = SESSIONS;
    else if (sscanf(text, "parallel %lu", &said->number) == 1)
        said->kind = PARALLEL;
    else if (sscanf(text, "hide %lx", &said->number) == 1)
        said->kind = HIDE;
    else if (!strcmp(first, "away"))
        said->kind = AWAY;
    else if (!strcmp(first, "restart") && said->from_ns)
        said->kind = RESTART;
    else
        return false;
    return true;
}

static void add_statement(struct control *next, const char *text, int64_t from_ns, int64_t to_ns)
{
    struct statement said = {.from_ns = from_ns, .to_ns = to_ns};
    if (next->count == MAX_STATEMENTS)
        refuse("is one too many", text);
    if (!read_latency(&said, text) && !read_fault(&said, text) && !read_other(&said, text))
        refuse("means nothing", text);
    next->statements[next->count++] = said;
}

static int64_t moment(const struct control *next, double seconds, const char *line)
{
    if (!next->origin_ns)
        refuse("has a time but no origin before it", line);
    return next->origin_ns + (int64_t)(seconds * 1e9);
}

static void read_line(struct control *next, const char *line)
{
    double from, to;
    int head = 0;
    long long origin;
    if (sscanf(line, "from %lf to %lf %n", &from, &to, &head) == 2 && head)
        add_statement(next, line + head, moment(next, from, line), moment(next, to, line));
    else if (sscanf(line, "at %lf %n", &from, &head) == 1 && head)
        add_statement(next, line + head, moment(next, from, line), INT64_MAX);
    else if (sscanf(line, "origin %lld", &origin) == 1)
        next->origin_ns = origin;
    else if (sscanf(line, "restart %lu", &next->restart) != 1 && sscanf(line, "seed %lu", &next->seed) != 1)
        add_statement(next, line, 0, INT64_MAX);
}

static bool was_replaced(struct stat *found)
{
    if (!control_path || stat(control_path, found))
        return false;
    return found->st_ino != control_seen.st_ino || found->st_mtim.tv_sec != control_seen.st_mtim.tv_sec
           || found->st_mtim.tv_nsec != control_seen.st_mtim.tv_nsec || found->st_size != control_seen.st_size;
}

/* Reads the file; true if its statement `restart` has another number than before. */
static bool read_again(FILE *file, const struct stat *found)
{
    static struct control next; /* large; guarded by state_lock like the rest */
    char line[256];
    next = (struct control){0};
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] && line[0] != '#')
            read_line(&next, line);
    }
    bool first = control_seen.st_ino == 0;
    bool restart = !first && next.restart != control.restart;
    if (first || next.seed != control.seed)
        seed_random_numbers(next.seed);
    control = next;
    control_seen = *found;
    return restart;
}

bool read_control(void)
{
    struct stat found;
    bool restarted = false;
    FILE *file = was_replaced(&found) ? fopen(control_path, "re") : NULL;
    if (file) {
        restarted = read_again(file, &found);
        fclose(file);
    }
    int64_t now = now_ns();
    for (int i = 0; i < control.count; i++) {
        const struct statement *said = &control.statements[i];
        bool ends_sessions = said->kind == RESTART || said->kind == AWAY;
        if (ends_sessions && last_look_ns && last_look_ns < said->from_ns && said->from_ns <= now)
            restarted = true;
    }
    last_look_ns = now;
    return restarted;
}

struct statement *in_force(enum kind kind, struct statement *after)
{
    int64_t now = now_ns();
    struct statement *end = control.statements + control.count;
    for (struct statement *said = after ? after + 1 : control.statements; said < end; said++)
        if (said->kind == kind && said->from_ns <= now && now < said->to_ns)
            return said;
    return NULL;
}

unsigned long cap_of(enum kind kind)
{
    unsigned long cap = 0;
    for (struct statement *said = in_force(kind, NULL); said; said = in_force(kind, said))
        cap = said->number;
    return cap;
}
