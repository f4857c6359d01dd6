/* role/notify.h -- tells the service manager how master is, and has it keep the listening sockets while no master runs (the datagram
 * protocol of sd_notify(3) and the descriptors of sd_listen_fds(3); systemd and others). */
#ifndef FACTEUR_ROLE_NOTIFY_H
#define FACTEUR_ROLE_NOTIFY_H
#include <stddef.h>

/* "READY=1", "STOPPING=1". Nothing happens where nobody asked (no NOTIFY_SOCKET): so with the other two. */
void notify_manager(const char *state);

/* The manager keeps copies of these and gives them to the next master, if its unit allows so many (FileDescriptorStoreMax=); what it has already it
 * does not take twice. */
void notify_keep(const int *fds, size_t n);

/* The manager closes its copies, sooner or later: whoever wants their addresses shuts them down first. */
void notify_forget(void);

/* The descriptors that the manager gave to this process, close-on-exec and each once; *fds (mem_free) and what is in it are the caller's. None the second
 * time. */
size_t notify_given(int **fds);
#endif
