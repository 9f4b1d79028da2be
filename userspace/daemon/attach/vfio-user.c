// SPDX-License-Identifier: MIT
/*
 * Attach point "vfio-user"; see vfio-user.h. The protocol is that of QEMU's vfio-user-pci, version 0.0: each
 * message is a struct head, then mostly the argument of a VFIO ioctl(). One thread runs all of this but the
 * three functions that workers call.
 *
 * What the peer says is checked. A message that can't be right ends the connection; one that is merely
 * refused gets an error. Memory is mapped only from a memfd sealed against shrinking: else the peer could
 * take the pages away under a running command, which would end tenond by SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/vfio.h>

#include "../device.h"
#include "../faults.h"
#include "../mutant.h"
#include "listen.h"
#include "pci.h"
#include "vfio-user.h"

enum command {
	VERSION = 1, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS,
	REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, DEVICE_RESET, DEVICE_FEATURE = 16,
};

#define FLAG_TYPE	0xfu
#define FLAG_REPLY	1u
#define FLAG_NO_REPLY	(1u << 4)
#define FLAG_ERROR	(1u << 5)

struct head {
	uint16_t id;
	uint16_t command;
	uint32_t size;			/* this included */
	uint32_t flags;
	uint32_t error;
};

/* JSON text follows. */
struct version {
	uint16_t major, minor;
};

struct dma_map {
	uint32_t argsz, flags;
	uint64_t offset, iova, size;
};

struct dma_unmap {
	uint32_t argsz, flags;
	uint64_t iova, size;
};

struct device_info {
	uint32_t argsz, flags, regions, irqs;
};

struct region_access {
	uint64_t offset;
	uint32_t region, count;
	uint8_t data[];
};

struct dma_access {
	uint64_t address, count;
	uint32_t data;			/* of a write alone */
};

#define DATA_MAX	4096
#define MESSAGE_MAX	(sizeof(struct head) + sizeof(struct region_access) + DATA_MAX)
#define FDS_MAX		16
#define REGIONS		9		/* of a PCI device in VFIO */
#define IRQS		5
#define RANGES_MAX	65536
#define FILES_MAX	256
#define SEND_MS		5000		/* for a peer that doesn't read */
#define MISSES_MAX	16		/* that the VMM hasn't judged yet; more are not told */

/* What the VMM supports isn't asked: we send no descriptor and next to no data. */
#define CAPABILITIES "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":4096,\"pgsizes\":4096}}"

/* Guest memory, mapped whole and once; the ranges of the space point into it. */
struct file {
	struct file *next;
	dev_t dev;
	ino_t ino;
	uint64_t bytes;
	char *host;
	uint32_t ranges;
};

struct tn_vfu {
	struct tn_vfu_options options;
	struct tn_device *device;
	struct tn_pci *pci;
	int listen, epoll, stop;
	/* the connection */
	int fd;				/* -1: none */
	bool negotiated;
	size_t have;			/* bytes of @in */
	int fds[FDS_MAX];		/* that came with them */
	unsigned int fd_count;
	struct file *files;
	uint32_t file_count;
	bool told;			/* that memory isn't sealed */
	uint16_t next_id;
	struct {
		uint16_t id, command;
	} asked[MISSES_MAX];		/* DMA messages without an answer */
	uint32_t asked_count;
	/* shared with workers */
	pthread_mutex_t lock;		/* taken last */
	int irq[TN_PCI_VECTORS];	/* eventfds, -1: none */
	uint64_t missed[MISSES_MAX];	/* addresses */
	uint32_t missed_count;
	int wake;			/* eventfd: look at missed */
	int faults;			/* of test builds */
	_Alignas(8) uint8_t in[MESSAGE_MAX];
	_Alignas(8) uint8_t out[MESSAGE_MAX];
};

/* ---------------------------------------------------------------------------- from workers */

/* A host that doesn't accept event queues has no use for notices. */
void tn_vfu_notice(void *arg, uint32_t queue)
{
}

static bool interrupt(struct tn_vfu *attach, uint32_t vector)
{
	uint64_t one = 1;
	ssize_t done = 0;
	bool there;

	pthread_mutex_lock(&attach->lock);
	there = vector < TN_PCI_VECTORS && attach->irq[vector] >= 0;
	/* It doesn't block: see take_irq(). Full, it is readable already. */
	if (there)
		done = write(attach->irq[vector], &one, sizeof(one));
	pthread_mutex_unlock(&attach->lock);
	(void)done;
	TRACE("irq %u%s", vector, there ? "" : " has no taker");
	return there;
}

void tn_vfu_interrupt(void *arg, uint32_t vector)
{
	if (!tn_fault_interrupt(vector))
		interrupt(arg, vector);
}

static void missed(void *arg, uint64_t address)
{
	struct tn_vfu *attach = arg;
	uint64_t one = 1;
	ssize_t done = 0;

	pthread_mutex_lock(&attach->lock);
	if (attach->missed_count < MISSES_MAX) {
		attach->missed[attach->missed_count++] = address;
		done = write(attach->wake, &one, sizeof(one));
	}
	pthread_mutex_unlock(&attach->lock);
	(void)done;
}

/* ----------------------------------------------------------------------------------- memory */

static struct file *file_of(struct tn_vfu *attach, const void *host)
{
	struct file *file = attach->files;

	while (file && ((const char *)host < file->host || (const char *)host >= file->host + file->bytes))
		file = file->next;
	return file;
}

static void file_put(struct tn_vfu *attach, struct file *file)
{
	struct file **link = &attach->files;

	if (file->ranges)
		return;
	while (*link != file)
		link = &(*link)->next;
	*link = file->next;
	munmap(file->host, file->bytes);
	free(file);
	attach->file_count--;
}

/* The mapping of the file behind @fd, made if there is none yet; NULL with -errno in *@error. */
static struct file *file_get(struct tn_vfu *attach, int fd, int *error)
{
	struct file *file;
	struct stat stat;

	*error = -EINVAL;
	if (fstat(fd, &stat) || stat.st_size <= 0)
		return NULL;
	for (file = attach->files; file; file = file->next)
		if (file->dev == stat.st_dev && file->ino == stat.st_ino &&
		    file->bytes == (uint64_t)stat.st_size)
			return file;
	*error = -ENOSPC;
	if (attach->file_count == FILES_MAX)
		return NULL;
	*error = -ENOMEM;
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->dev = stat.st_dev;
	file->ino = stat.st_ino;
	file->bytes = (uint64_t)stat.st_size;
	file->host = mmap(NULL, file->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (file->host == MAP_FAILED) {
		*error = -errno;
		free(file);
		return NULL;
	}
	file->next = attach->files;
	attach->files = file;
	attach->file_count++;
	return file;
}

static bool is_sealed(struct tn_vfu *attach, int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if ((seals >= 0 && seals & F_SEAL_SHRINK) || MUTANT(map_sealed))
		return true;
	if (!attach->told)
		fprintf(stderr,
			"tenond: memory that the VMM shares isn't a sealed memfd and stays out of reach; "
			"use memory-backend-memfd\n");
	attach->told = true;
	return false;
}

static int dma_map(struct tn_vfu *attach, const struct dma_map *map)
{
	struct tn_space *space = &attach->device->space;
	uint64_t end;
	struct file *file;
	int error;

	if (map->flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) || !map->size ||
	    (map->offset | map->iova | map->size) % TDI_PAGE_SIZE ||
	    __builtin_add_overflow(map->iova, map->size - 1, &end) ||
	    __builtin_add_overflow(map->offset, map->size, &end) || attach->fd_count > 1)
		return -EINVAL;
	/* Without a descriptor it can be had by messages alone: each access is a miss. */
	if (!attach->fd_count || !map->flags || !is_sealed(attach, attach->fds[0]))
		return 0;
	if (space->regions >= RANGES_MAX)
		return -ENOSPC;
	file = file_get(attach, attach->fds[0], &error);
	if (!file)
		return error;
	error = -EINVAL;
	if (end <= file->bytes) {
		/* Flags of VFIO are the rights of TDI. */
		tn_device_freeze(attach->device);
		error = tn_space_add_for(space, map->iova, map->size, file->host + map->offset, map->flags);
		tn_device_thaw(attach->device);
	}
	if (!error)
		file->ranges++;
	file_put(attach, file);
	TRACE("map 0x%llx-0x%llx: %d", (unsigned long long)map->iova,
	      (unsigned long long)(map->iova + map->size - 1), error);
	return error;
}

/* With the device frozen. */
static void drop_region(struct tn_vfu *attach, const struct tn_region *region)
{
	struct file *file = file_of(attach, region->host);

	tn_space_remove(&attach->device->space, region->base);
	file->ranges--;
	file_put(attach, file);
}

static int dma_unmap(struct tn_vfu *attach, const struct dma_unmap *unmap)
{
	struct tn_space *space = &attach->device->space;
	uint64_t base = unmap->iova, last;
	uint32_t i;
	bool whole;

	if (unmap->flags == VFIO_DMA_UNMAP_FLAG_ALL && !unmap->iova && !unmap->size)
		last = UINT64_MAX;
	else if (unmap->flags || !unmap->size || __builtin_add_overflow(base, unmap->size - 1, &last))
		return -EINVAL;
	/* As in VFIO, what was mapped in one piece can't be unmapped in two. */
	i = tn_space_find(space, base);
	if (i < space->regions && space->region[i].base < base)
		return -EINVAL;
	i = tn_space_find(space, last);
	if (i < space->regions && space->region[i].base <= last &&
	    space->region[i].base + (space->region[i].bytes - 1) > last)
		return -EINVAL;
	/*
	 * No worker is in any command after this, and none finds the memory again: the reply is the end of
	 * access.
	 */
	tn_device_freeze(attach->device);
	tn_fault_unmap(attach->device, base, last);
	whole = tn_device_lose(attach->device, base, last - base + 1 ? last - base + 1 : UINT64_MAX);
	for (i = tn_space_find(space, base);
	     i < space->regions && space->region[i].base <= last && !MUTANT(dma_unmap);)
		drop_region(attach, &space->region[i]);
	tn_device_thaw(attach->device);
	if (!whole)
		tn_pci_fatal(attach->pci);
	return 0;
}

/* ------------------------------------------------------------------------------- interrupts */

/* An eventfd that doesn't block its writer; another kind of file might block in its own way. */
static bool is_eventfd(int fd)
{
	char path[40], target[32];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target));
	return length == (ssize_t)strlen("anon_inode:[eventfd]") &&
	       !memcmp(target, "anon_inode:[eventfd]", (size_t)length);
}

/* From now on @fd, or -1, belongs to the vector. */
static void take_irq(struct tn_vfu *attach, uint32_t vector, int fd)
{
	int old;

	pthread_mutex_lock(&attach->lock);
	old = attach->irq[vector];
	attach->irq[vector] = fd;
	pthread_mutex_unlock(&attach->lock);
	if (old >= 0)
		close(old);
}

static uint32_t irq_index(const struct tn_vfu *attach)
{
	return attach->options.msi_only ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_MSIX_IRQ_INDEX;
}

static int set_irqs(struct tn_vfu *attach, const struct vfio_irq_set *set)
{
	uint32_t vectors = set->index == irq_index(attach) ? TN_PCI_VECTORS : 0, i;

	if (set->index >= IRQS || set->start > vectors || set->count > vectors - set->start)
		return -EINVAL;
	switch (set->flags) {
	case VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER:
		if (attach->fd_count && attach->fd_count != set->count)
			return -EINVAL;
		for (i = 0; i < attach->fd_count; i++)
			if (!is_eventfd(attach->fds[i]) || fcntl(attach->fds[i], F_SETFL, O_NONBLOCK))
				return -EINVAL;
		for (i = 0; i < set->count; i++)
			take_irq(attach, set->start + i, attach->fd_count ? attach->fds[i] : -1);
		attach->fd_count = 0;
		return 0;
	case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER:
		if (attach->fd_count)
			return -EINVAL;
		/* Without a count it disables all; else it is a test of the vectors. */
		for (i = 0; !set->count && i < vectors; i++)
			take_irq(attach, i, -1);
		for (i = 0; i < set->count; i++)
			tn_vfu_interrupt(attach, set->start + i);
		return 0;
	default:
		return -EINVAL;
	}
}

/* --------------------------------------------------------------------------------- messages */

static bool send_all(struct tn_vfu *attach, const void *data, size_t bytes)
{
	struct pollfd wait[] = {
		{ .fd = attach->fd, .events = POLLOUT },
		{ .fd = attach->stop, .events = POLLIN },
	};

	while (bytes) {
		ssize_t sent = send(attach->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent >= 0) {
			data = (const char *)data + sent;
			bytes -= (size_t)sent;
		} else if (errno == EAGAIN) {
			if (poll(wait, 2, SEND_MS) <= 0 || wait[1].revents)
				return false;
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

/* Access 4 bytes by a message; false: the connection is at its end. The answer is for answered(). */
static bool ask(struct tn_vfu *attach, enum command command, uint64_t address)
{
	struct {
		struct head head;
		struct dma_access access;
	} message = {
		.head = {
			.id = attach->next_id++,
			.command = (uint16_t)command,
			.size = sizeof(struct head) + offsetof(struct dma_access, data) +
				(command == DMA_WRITE ? 4 : 0),
		},
		.access = { .address = address & ~3ULL, .count = 4, .data = 0xa5a5a5a5 },
	};

	attach->asked[attach->asked_count].command = message.head.command;
	attach->asked[attach->asked_count++].id = message.head.id;
	return send_all(attach, &message, message.head.size);
}

#ifdef TENON_FAULTS
bool tn_vfu_raise(struct tn_vfu *attach, uint32_t vector)
{
	return interrupt(attach, vector);
}

int tn_vfu_dma(struct tn_vfu *attach, bool write, uint64_t address)
{
	struct tn_space *space = &attach->device->space;
	uint32_t i = tn_space_find(space, address & ~3ULL);
	struct tn_region *region = &space->region[i];

	if (tn_pci_masters(attach->pci) && i < space->regions && region->base <= address &&
	    region->rights & (write ? TDI_BUFFER_WRITE : TDI_BUFFER_READ)) {
		if (write)
			memset((char *)region->host + ((address & ~3ULL) - region->base), 0xa5, 4);
		TRACE("dma 0x%llx mapped", (unsigned long long)address);
		return 0;
	}
	if (attach->fd < 0 || !attach->negotiated || attach->asked_count == MISSES_MAX)
		return -EBUSY;
	TRACE("dma 0x%llx by message", (unsigned long long)address);
	return ask(attach, write ? DMA_WRITE : DMA_READ, address) ? 0 : -EPIPE;
}
#endif

/*
 * Ask the VMM for memory that an access of the function missed: what it answers doesn't matter, but its IOMMU
 * sees the address. A read, whatever the access was: a write would take effect if there is something after
 * all.
 */
static bool tell_misses(struct tn_vfu *attach)
{
	uint64_t address[MISSES_MAX];
	uint32_t i, count;

	pthread_mutex_lock(&attach->lock);
	count = attach->missed_count;
	memcpy(address, attach->missed, count * sizeof(address[0]));
	attach->missed_count = 0;
	pthread_mutex_unlock(&attach->lock);

	for (i = 0; i < count && attach->asked_count < MISSES_MAX; i++) {
		if (!tn_pci_masters(attach->pci))
			break;
		TRACE("miss 0x%llx", (unsigned long long)address[i]);
		if (!ask(attach, DMA_READ, address[i]))
			return false;
	}
	return true;
}

/* An answer to one of those. */
static bool answered(struct tn_vfu *attach, const struct head *head)
{
	uint16_t command;
	uint32_t i;

	for (i = 0; i < attach->asked_count; i++) {
		if (attach->asked[i].id != head->id)
			continue;
		command = attach->asked[i].command;
		attach->asked[i] = attach->asked[--attach->asked_count];
		TRACE("dma-answer %s", head->flags & FLAG_ERROR ? "refused" : "ok");
		return head->command == command && !attach->fd_count;
	}
	return false;
}

static int version(struct tn_vfu *attach, const struct version *asked, size_t bytes, struct version *reply)
{
	/* QEMU has room for as much as it sent. */
	const char *text = bytes >= sizeof(*reply) + sizeof(CAPABILITIES) ? CAPABILITIES : "{}";

	if (attach->negotiated || asked->major)
		return -EPROTO;
	attach->negotiated = true;
	reply->major = 0;
	reply->minor = 0;
	memcpy(reply + 1, text, strlen(text) + 1);
	return (int)(sizeof(*reply) + strlen(text) + 1);
}

static int get_info(struct device_info *reply)
{
	*reply = (struct device_info){
		.argsz = sizeof(*reply),
		.flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
		.regions = REGIONS,
		.irqs = IRQS,
	};
	return sizeof(*reply);
}

static int get_region_info(struct tn_vfu *attach, uint32_t index, struct vfio_region_info *reply)
{
	if (index >= REGIONS)
		return -EINVAL;
	*reply = (struct vfio_region_info){
		.argsz = sizeof(*reply),
		.index = index,
		.size = tn_pci_bytes(attach->pci, index),
	};
	if (reply->size)
		reply->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	return sizeof(*reply);
}

/* Without NORESIZE, since QEMU would disable all vectors to add one. */
static int get_irq_info(struct tn_vfu *attach, uint32_t index, struct vfio_irq_info *reply)
{
	if (index >= IRQS)
		return -EINVAL;
	*reply = (struct vfio_irq_info){
		.argsz = sizeof(*reply),
		.flags = VFIO_IRQ_INFO_EVENTFD,
		.index = index,
		.count = index == irq_index(attach) ? TN_PCI_VECTORS : 0,
	};
	return sizeof(*reply);
}

static int region(struct tn_vfu *attach, uint32_t command, const struct region_access *access, size_t bytes,
		  struct region_access *reply)
{
	uint64_t room = tn_pci_bytes(attach->pci, access->region);

	if (bytes != sizeof(*access) + (command == REGION_WRITE ? access->count : 0))
		return -EPROTO;
	if (access->count > DATA_MAX || access->offset > room || access->count > room - access->offset)
		return -EINVAL;
	*reply = *access;
	if (command == REGION_READ) {
		tn_pci_read(attach->pci, access->region, access->offset, reply->data, access->count);
		return (int)(sizeof(*reply) + access->count);
	}
	tn_pci_write(attach->pci, access->region, access->offset, access->data, access->count);
	return sizeof(*reply);
}

/* Bytes of the reply, -EPROTO to end the connection, or another -errno for the reply. */
static int dispatch(struct tn_vfu *attach, uint32_t command, const void *data, size_t bytes, void *reply)
{
	static const uint8_t least[] = {
		[VERSION] = sizeof(struct version) + 1,
		[DMA_MAP] = sizeof(struct dma_map),
		[DMA_UNMAP] = sizeof(struct dma_unmap),
		[GET_INFO] = sizeof(struct device_info),
		[GET_REGION_INFO] = sizeof(struct vfio_region_info),
		[GET_IRQ_INFO] = sizeof(struct vfio_irq_info),
		[SET_IRQS] = sizeof(struct vfio_irq_set),
		[REGION_READ] = sizeof(struct region_access),
		[REGION_WRITE] = sizeof(struct region_access),
		[DEVICE_RESET] = 0,
	};

	if ((command != VERSION && !attach->negotiated) ||
	    (command < sizeof(least) && bytes < least[command]))
		return -EPROTO;
	if (attach->fd_count && command != DMA_MAP && command != SET_IRQS)
		return -EPROTO;
	switch (command) {
	case VERSION:
		return version(attach, data, bytes, reply);
	case DMA_MAP:
		return dma_map(attach, data);
	case DMA_UNMAP:
		memcpy(reply, data, sizeof(struct dma_unmap));
		return dma_unmap(attach, data) ? -EINVAL : (int)sizeof(struct dma_unmap);
	case GET_INFO:
		return get_info(reply);
	case GET_REGION_INFO:
		return get_region_info(attach, ((const struct vfio_region_info *)data)->index, reply);
	case GET_IRQ_INFO:
		return get_irq_info(attach, ((const struct vfio_irq_info *)data)->index, reply);
	case SET_IRQS:
		return set_irqs(attach, data);
	case REGION_READ:
	case REGION_WRITE:
		return region(attach, command, data, bytes, reply);
	case DEVICE_RESET:
		TRACE("reset by the VMM");
		tn_pci_reset(attach->pci);
		return 0;
	case DEVICE_FEATURE:
		return -ENOTTY;
	default:
		return -EOPNOTSUPP;
	}
}

static void close_fds(struct tn_vfu *attach)
{
	while (attach->fd_count)
		close(attach->fds[--attach->fd_count]);
}

/* A whole message is there; false ends the connection. */
static bool serve_message(struct tn_vfu *attach)
{
	const struct head *head = (const void *)attach->in;
	struct head *reply = (void *)attach->out;
	int result;

	if ((head->flags & FLAG_TYPE) == FLAG_REPLY)
		return answered(attach, head);
	if (head->flags & ~FLAG_NO_REPLY)
		return false;
	result = dispatch(attach, head->command, head + 1, head->size - sizeof(*head), reply + 1);
	if (result == -EPROTO)
		return false;
	if (head->flags & FLAG_NO_REPLY)
		return true;
	*reply = (struct head){
		.id = head->id,
		.command = head->command,
		.size = (uint32_t)sizeof(*reply) + (result < 0 ? 0 : (uint32_t)result),
		.flags = FLAG_REPLY | (result < 0 ? FLAG_ERROR : 0),
		.error = result < 0 ? (uint32_t)-result : 0,
	};
	return send_all(attach, reply, reply->size);
}

/* What came with the last bytes; false: more than a message may have. */
static bool take_fds(struct tn_vfu *attach, struct msghdr *msg)
{
	bool fit = !(msg->msg_flags & MSG_CTRUNC);
	struct cmsghdr *control;

	for (control = CMSG_FIRSTHDR(msg); control; control = CMSG_NXTHDR(msg, control)) {
		size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;

		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
			if (attach->fd_count < FDS_MAX) {
				attach->fds[attach->fd_count++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* Read up to the end of the head or of the message: so a descriptor belongs to what it came with. */
static bool serve_client(struct tn_vfu *attach)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	const struct head *head = (const void *)attach->in;
	size_t want = attach->have < sizeof(*head) ? sizeof(*head) : head->size;
	struct iovec data = { .iov_base = attach->in + attach->have, .iov_len = want - attach->have };
	struct msghdr msg = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t bytes = recvmsg(attach->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	bool good;

	if (bytes < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!take_fds(attach, &msg) || !bytes)
		return false;
	attach->have += (size_t)bytes;
	if (attach->have < sizeof(*head))
		return true;
	if (head->size < sizeof(*head) || head->size > sizeof(attach->in))
		return false;
	if (attach->have < head->size)
		return true;
	good = serve_message(attach);
	close_fds(attach);
	attach->have = 0;
	return good;
}

/* ------------------------------------------------------------------------------- connection */

static void disconnect(struct tn_vfu *attach)
{
	struct tn_space *space = &attach->device->space;
	uint32_t i;

	TRACE("disconnect");
	/* Forgets all that used the memory; then the memory. */
	tn_pci_reset(attach->pci);
	tn_device_freeze(attach->device);
	while (space->regions)
		drop_region(attach, &space->region[space->regions - 1]);
	tn_device_thaw(attach->device);
	for (i = 0; i < TN_PCI_VECTORS; i++)
		take_irq(attach, i, -1);
	close_fds(attach);
	close(attach->fd);
	attach->fd = -1;
	attach->negotiated = false;
	attach->told = false;
	attach->have = 0;
	attach->asked_count = 0;
	pthread_mutex_lock(&attach->lock);
	attach->missed_count = 0;
	pthread_mutex_unlock(&attach->lock);
}

static void serve_listen(struct tn_vfu *attach)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &attach->fd };
	struct pollfd old = { .fd = attach->fd };
	int fd = accept4(attach->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	/* A VMM that was started again may be seen before the end of the one before. */
	if (attach->fd >= 0 && poll(&old, 1, 0) == 1 && old.revents & POLLHUP)
		disconnect(attach);
	/* A function is in one machine. */
	if (attach->fd >= 0 || epoll_ctl(attach->epoll, EPOLL_CTL_ADD, fd, &event)) {
		close(fd);
		return;
	}
	attach->fd = fd;
	TRACE("connect");
}

int tn_vfu_serve(struct tn_vfu *attach, int stop_fd)
{
	struct epoll_event stop = { .events = EPOLLIN, .data.ptr = &attach->stop };
	struct epoll_event event[4];
	uint64_t count;
	int i, n;

	attach->stop = stop_fd;
	if (epoll_ctl(attach->epoll, EPOLL_CTL_ADD, stop_fd, &stop))
		return -errno;
	for (;;) {
		/* One admin command between two looks at the socket. */
		bool more = tn_pci_run(attach->pci), alive = true;

		n = epoll_wait(attach->epoll, event, 4, more ? 0 : -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (i = 0; i < n; i++) {
			if (event[i].data.ptr == &attach->stop)
				return 0;
			if (event[i].data.ptr == &attach->listen)
				serve_listen(attach);
			else if (event[i].data.ptr == &attach->faults)
				tn_faults_serve();
			else if (event[i].data.ptr == &attach->wake)
				alive = read(attach->wake, &count, sizeof(count)) < 0 ||
					!attach->negotiated || tell_misses(attach);
			else if (attach->fd >= 0)
				alive = serve_client(attach);
			/* At once: what else is in the list may be the next connection. */
			if (!alive)
				disconnect(attach);
			alive = true;
		}
	}
}

/* ---------------------------------------------------------------------------- start and end */

static int watch(struct tn_vfu *attach, int fd, void *name)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = name };

	return epoll_ctl(attach->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int tn_vfu_create(const struct tn_vfu_options *options, struct tn_vfu **result)
{
	struct tn_vfu *attach = calloc(1, sizeof(*attach));
	uint32_t i;
	int error;

	if (!attach)
		return -ENOMEM;
	attach->options = *options;
	attach->listen = -1;
	attach->fd = -1;
	for (i = 0; i < TN_PCI_VECTORS; i++)
		attach->irq[i] = -1;
	pthread_mutex_init(&attach->lock, NULL);
	attach->epoll = epoll_create1(EPOLL_CLOEXEC);
	attach->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = attach->epoll < 0 || attach->wake < 0 ? -errno : watch(attach, attach->wake, &attach->wake);
	if (error) {
		fprintf(stderr, "tenond: %s\n", strerror(-error));
		tn_vfu_destroy(attach);
		return error;
	}
	*result = attach;
	return 0;
}

int tn_vfu_start(struct tn_vfu *attach, struct tn_device *device)
{
	int error;

	attach->device = device;
	device->space.missed = missed;
	device->space.owner = attach;
	error = tn_pci_create(attach->options.msi_only, device, &attach->pci);
	if (error)
		return error;
	attach->faults = tn_faults_open(attach->options.faults, attach->options.faults_trace, attach,
					attach->pci);
	if (attach->faults >= 0)
		error = watch(attach, attach->faults, &attach->faults);
	else if (attach->faults != -ENOENT)
		error = attach->faults;
	if (error)
		return error;
	attach->listen = tn_listen(attach->options.path, SOCK_STREAM, attach->options.mode);
	return attach->listen < 0 ? attach->listen : watch(attach, attach->listen, &attach->listen);
}

void tn_vfu_destroy(struct tn_vfu *attach)
{
	if (attach->fd >= 0)
		disconnect(attach);
	if (attach->pci)
		tn_pci_destroy(attach->pci);
	if (attach->listen >= 0) {
		unlink(attach->options.path);
		close(attach->listen);
	}
	if (attach->wake >= 0)
		close(attach->wake);
	if (attach->epoll >= 0)
		close(attach->epoll);
	pthread_mutex_destroy(&attach->lock);
	free(attach);
}
