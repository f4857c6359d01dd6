/* role/notify.h -- tells the service manager how master is (the datagram protocol of sd_notify(3); systemd and others). */
#ifndef FACTEUR_ROLE_NOTIFY_H
#define FACTEUR_ROLE_NOTIFY_H

/* "READY=1", "STOPPING=1". Nothing happens where nobody asked (no NOTIFY_SOCKET). */
void notify_manager(const char *state);
#endif
