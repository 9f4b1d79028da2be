/* SPDX-License-Identifier: MIT */
/* A unix socket at a path. */
#ifndef TN_ATTACH_LISTEN_H
#define TN_ATTACH_LISTEN_H

#include <sys/types.h>

/* A listening, non-blocking socket or -errno; errors are printed. */
int tn_listen(const char *path, int type, mode_t mode);

#endif /* TN_ATTACH_LISTEN_H */
