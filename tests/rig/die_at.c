/* Kills the process with SIGKILL before or after the nth call of a function: PINFOLD_DIE_AT=before:xs_transaction_end:1
 *
 * For LD_PRELOAD, so that the program under test is the very program that is installed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char *at;

/* At once: the worker clears its environment. */
__attribute__((constructor)) static void remember(void)
{
    const char *wanted = getenv("PINFOLD_DIE_AT");
    at = wanted ? strdup(wanted) : NULL;
}

static void reach(const char *when, const char *name, int count)
{
    size_t when_length = strlen(when), name_length = strlen(name);
    if (at && !strncmp(at, when, when_length) && at[when_length] == ':' &&
        !strncmp(at + when_length + 1, name, name_length) && at[when_length + 1 + name_length] == ':' &&
        atoi(at + when_length + name_length + 2) == count)
        raise(SIGKILL);
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
POINT(xs_rm)
POINT(xs_transaction_end)
