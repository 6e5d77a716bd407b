/* Lets a vCPU of dom0 run on nothing but one pCPU, so that Xen cannot take it out of its cpupool: hold_pcpu PCPU, and -1 ends it.
 *
 * That is SCHEDOP_pin_override (xen/include/public/sched.h), which drivers in dom0 use for a moment. Xen then answers a removal of that
 * pCPU with EADDRINUSE and has begun it all the same. The vCPU concerned is the one that this program runs on: taskset(1) chooses it. */

/* Without this the headers are those of 2005, with another sched_op. */
#define __XEN_TOOLS__ 1
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <xen/sched.h>
#include <xen/sys/privcmd.h>
#include <xen/xen.h>

int main(int argc, char **argv)
{
    struct sched_pin_override *pin = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    int privcmd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
    if (argc != 2 || pin == MAP_FAILED || privcmd < 0) {
        perror("hold_pcpu PCPU");
        return 2;
    }
    pin->pcpu = atoi(argv[1]);
    privcmd_hypercall_t call = {
        .op = __HYPERVISOR_sched_op,
        .arg = { SCHEDOP_pin_override, (uintptr_t)pin },
    };
    if (ioctl(privcmd, IOCTL_PRIVCMD_HYPERCALL, &call) < 0) {
        perror("SCHEDOP_pin_override");
        return 1;
    }
    return 0;
}
