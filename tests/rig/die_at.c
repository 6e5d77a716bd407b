/* Kills `pinfold-xen do` with SIGKILL before or after the nth call of a function: PINFOLD_DIE_AT=before:xs_transaction_end:1
 *
 * For LD_PRELOAD, so that the program under test is the very program that is installed. No other program that has it in its environment,
 * such as the daemon that starts the worker, is concerned.
 *
 * PINFOLD_DIE_ONCE=/run/die-at names a file that says the same. It is removed at the death, so that the next worker lives. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char at[128];
static char *once;

/* At once: the worker clears its environment. */
__attribute__((constructor)) static void remember(int argc, char **argv)
{
    const char *wanted = getenv("PINFOLD_DIE_AT"), *file = getenv("PINFOLD_DIE_ONCE");
    const char *slash = argc < 2 ? NULL : strrchr(argv[0], '/');
    if (argc < 2 || strcmp(slash ? slash + 1 : argv[0], "pinfold-xen") || strcmp(argv[1], "do"))
        return;
    if (wanted)
        strncpy(at, wanted, sizeof at - 1);
    if (file) {
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        once = strdup(file);
        if (fd < 0 || read(fd, at, sizeof at - 1) < 0)
            at[0] = 0;
        if (fd >= 0)
            close(fd);
    }
}

static void reach(const char *when, const char *name, int count)
{
    size_t when_length = strlen(when), name_length = strlen(name);
    if (!strncmp(at, when, when_length) && at[when_length] == ':' &&
        !strncmp(at + when_length + 1, name, name_length) && at[when_length + 1 + name_length] == ':' &&
        atoi(at + when_length + name_length + 2) == count) {
        if (once)
            unlink(once);
        raise(SIGKILL);
    }
}

/* All of them take at most six integers or pointers, which the ABI passes in registers whatever their types. */
#define POINT(name)                                               \
    long name(long a, long b, long c, long d, long e, long f)     \
    {                                                             \
        static long (*next)(long, long, long, long, long, long);  \
        static int count;                                         \
        if (!next)                                                \
            next = dlsym(RTLD_NEXT, #name);                       \
        count++;                                                  \
        reach("before", #name, count);                            \
        long answer = next(a, b, c, d, e, f);                     \
        reach("after", #name, count);                             \
        return answer;                                            \
    }

POINT(libxl_cpupool_cpuadd)
POINT(libxl_cpupool_cpuremove)
POINT(libxl_cpupool_movedomain)
POINT(libxl_domain_create_new)
POINT(libxl_domain_destroy)
POINT(libxl_domain_pause)
POINT(libxl_domain_unpause)
POINT(libxl_set_vcpuaffinity)
POINT(xc_cpupool_create)
POINT(xc_domain_create)
POINT(xs_rm)
POINT(xs_transaction_end)

/* unistd.h has it declared, with its real types. */
int fsync(int fd)
{
    static int (*next)(int);
    static int count;
    if (!next)
        next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    count++;
    reach("before", "fsync", count);
    int answer = next(fd);
    reach("after", "fsync", count);
    return answer;
}
