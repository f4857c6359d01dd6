/* role/memory.h -- how much memory this server may use. */
#ifndef FACTEUR_ROLE_MEMORY_H
#define FACTEUR_ROLE_MEMORY_H
#include <stdint.h>

/* Bytes: those of the machine, or fewer where a control group allows fewer (MemoryMax= of the service, a container). groups: the file that
 * names the group of this process, "/proc/self/cgroup"; root: where groups are mounted, "/sys/fs/cgroup". What cannot be read limits nothing. */
uint64_t memory_allowed(uint64_t machine, const char *groups, const char *root);
#endif
