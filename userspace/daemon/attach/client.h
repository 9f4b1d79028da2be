/* SPDX-License-Identifier: MIT */
/* A client of attach point "unix": what unix.c (connections, messages) and client.c share. */
#ifndef TN_ATTACH_CLIENT_H
#define TN_ATTACH_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <tenon/socket.h>

#include "../device.h"
#include "unix.h"

/* Where a client's memory begins in its address space, and what is left free behind each piece. */
#define SPACE_BASE	(1ULL << 32)
#define SPACE_END	(1ULL << 62)
#define SPACE_GAP	TDI_PAGE_SIZE

/*
 * As little room for unread replies, or notices, as the kernel allows: about six of them. The descriptors of
 * replies count against the RLIMIT_NOFILE of our user, so a client that doesn't read would use up what others
 * need.
 */
#define REPLY_ROOM	1

struct buffer {
	uint8_t generation;		/* of the next id in this slot */
	uint32_t id;			/* 0: free */
	uint64_t bytes;			/* rounded up */
	uint64_t address;
	void *host;
};

/* The kernel's side of a queue: its pages and the two ways to wake somebody. */
struct ring {
	uint32_t id;
	uint32_t generation;
	uint32_t depth;
	uint64_t tenant_bytes, device_bytes;
	uint64_t tenant_address, device_address;
	void *tenant, *device;
	int kick;			/* eventfd, shared with the client */
	int notice;			/* our end of a stream socket */
};

/* One connection, one context. */
struct client {
	struct tn_unix *attach;
	struct client *next;
	int fd;
	uid_t uid;
	bool hello;			/* has a context */
	uint32_t context, generation;
	struct tn_space space;
	uint64_t address;		/* next free one; never reused */
	uint64_t memory;
	uint32_t buffers, queues;
	struct buffer *buffer;
	struct ring **ring;
};

struct tn_unix {
	struct tn_unix_options options;
	struct tn_device *device;
	bool has_timer;
	timer_t timer;			/* see dropping() */
	int listen, epoll;
	bool deaf;			/* out of descriptors: not listening until a client is gone */
	uint32_t clients;
	uint64_t memory;		/* of all clients */
	struct client *first;
	struct ring *ring[TN_MAX_QUEUES];	/* by queue id; read by workers while the queue exists */
	uint32_t queue_generation[TN_MAX_QUEUES];
	uint32_t context_generation[TN_MAX_CONTEXTS];
	uint64_t received[TENON_SOCKET_MAX / 8];
	_Alignas(TDI_PAGE_SIZE) uint8_t page[TDI_PAGE_SIZE];	/* for IDENTIFY and GET_LOG */
};

/* A reply on its way: the struct that fits the request, and descriptors. */
struct answer {
	union {
		struct tenon_reply head;
		struct tenon_reply_hello hello;
		struct tenon_reply_buffer_create buffer_create;
		struct tenon_reply_queue_create queue_create;
		struct tenon_reply_status status;
		struct tenon_reply_usage usage;
	};
	size_t bytes;			/* if there is no error */
	int fd[TENON_SOCKET_FDS];
	unsigned int fds;		/* to be closed when sent */
};

/* An admin command to the device: 0 or -errno. */
int tn_client_admin(struct tn_unix *attach, struct tn_space *space, const struct tdi_admin_sqe *sqe);
int tn_client_log(struct client *client, enum tdi_log_page page, uint32_t id, uint32_t generation, void *to,
		  uint32_t bytes);
/* Say in the reply what was asked for and what is allowed; returns @error. */
int tn_client_refuse(struct answer *answer, int error, uint64_t needed, uint64_t allowed);

/* Requests; 0 or -errno. */
int tn_client_buffer_create(struct client *client, const struct tenon_msg_buffer_create *msg,
			    struct answer *answer);
int tn_client_buffer_destroy(struct client *client, const struct tenon_msg_buffer_destroy *msg,
			     struct answer *answer);
int tn_client_queue_create(struct client *client, const struct tenon_msg_queue_create *msg,
			   struct answer *answer);
int tn_client_queue_destroy(struct client *client, const struct tenon_msg_queue_destroy *msg,
			    struct answer *answer);
int tn_client_queue_usage(struct client *client, const struct tenon_msg_queue_usage *msg,
			  struct answer *answer);
/* The device has destroyed the context: what is left goes. */
void tn_client_end(struct client *client);

#endif /* TN_ATTACH_CLIENT_H */
