/* SPDX-License-Identifier: MIT */
/*
 * Attach point "unix": libtenon without a kernel module. Towards a client tenond plays the kernel (it owns
 * all pages and ids, keeps the limits, ends what a death leaves open); towards the device model it issues TDI
 * admin commands as a kernel does.
 */
#ifndef TN_ATTACH_UNIX_H
#define TN_ATTACH_UNIX_H

#include <stdint.h>
#include <sys/types.h>

struct tn_device;
struct tn_unix;

struct tn_unix_options {
	const char *path;
	mode_t mode;
	uint64_t memory_total;		/* of all contexts */
	uint64_t memory_max;		/* of one context */
	uint32_t contexts_max;
	uint32_t contexts_per_uid;	/* root excepted */
	uint32_t buffers_max;		/* of one context */
	uint32_t queues_max;		/* of one context */
	uint32_t depth_max;
};

/* What a struct tn_device_options needs; @attach is the struct tn_unix. */
void tn_unix_notice(void *attach, uint32_t queue);
void tn_unix_stopped(void *attach, uint32_t queue);

/* Two steps, since device and attach point refer to each other. Errors are printed. */
int tn_unix_create(const struct tn_unix_options *options, struct tn_unix **result);
int tn_unix_start(struct tn_unix *attach, struct tn_device *device);
/* Serve until @stop_fd is readable. */
int tn_unix_serve(struct tn_unix *attach, int stop_fd);
/* One client on a connected socket, without listening: for tests. The socket is closed with the client. */
int tn_unix_adopt(struct tn_unix *attach, int fd);
/* End all commands, tell all clients, remove the socket. The device must outlive this. */
void tn_unix_destroy(struct tn_unix *attach);

#endif /* TN_ATTACH_UNIX_H */
