// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers: GEM objects in shared memory, and the maps by which the device uses them.
 *
 * An object is charged to its partition from the beginning: once it is mmapped, its pages can't be swapped
 * out. A map pins them, gives them DMA addresses and tells the device a list of blocks. All that stays until
 * the device has acknowledged the end of the map, or is fenced off [EOA-5].
 */
#include <linux/bitops.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/mount.h>
#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <drm/drm_gem.h>
#include <drm/drm_gem_shmem_helper.h>
#include <drm/drm_vma_manager.h>

#include "compat.h"
#include "tenon.h"
#include "trace.h"

/**
 * struct tenon_map - a buffer id
 * @gem: with a reference, pinned
 * @id: buffer id
 * @listed: a tenant may name it; else the device may still know it, no more
 * @unproven: counted as such: the device may still access the pages
 * @blocks: array that the device reads, or NULL if one block is all
 * @blocks_bytes: its size
 * @blocks_dma: its address for the device
 *
 * Belongs to the context's table, under the context's lock.
 */
struct tenon_map {
	struct drm_gem_object *gem;
	u32 id;
	bool listed;
	bool unproven;
	__le64 *blocks;
	size_t blocks_bytes;
	dma_addr_t blocks_dma;
};

/**
 * struct tenon_gem - a buffer
 * @base: owns the memory of this; first, since the helper frees it
 * @charged: bytes of it
 * @lock: of the next two; taken below a context's lock
 * @maps: that use @sgt
 * @sgt: its pages, with DMA addresses, while @maps isn't 0
 */
struct tenon_gem {
	struct drm_gem_shmem_object base;
	u64 charged;
	struct mutex lock;	/* see above */
	unsigned int maps;
	struct sg_table sgt;
};

static inline struct tenon_gem *to_tenon_gem(struct drm_gem_object *gem)
{
	return container_of(to_drm_gem_shmem_obj(gem), struct tenon_gem, base);
}

/* --------------------------------------------------------------------------------------- GEM */

static void gem_free(struct drm_gem_object *gem)
{
	struct tenon_partition *p = to_tenon_node(gem->dev)->partition;

	atomic64_sub(to_tenon_gem(gem)->charged, &p->bytes);
	atomic64_sub(to_tenon_gem(gem)->charged, &p->pinned);
	tenon_usage_memory(p, -(s64)to_tenon_gem(gem)->charged);
	drm_gem_shmem_free(to_drm_gem_shmem_obj(gem));
}

static const struct drm_gem_object_funcs gem_funcs = {
	.free = gem_free,
	.print_info = drm_gem_shmem_object_print_info,
	.pin = drm_gem_shmem_object_pin,
	.unpin = drm_gem_shmem_object_unpin,
	.get_sg_table = drm_gem_shmem_object_get_sg_table,
	.vmap = drm_gem_shmem_object_vmap,
	.vunmap = drm_gem_shmem_object_vunmap,
	.mmap = drm_gem_shmem_object_mmap,
	.vm_ops = &drm_gem_shmem_vm_ops,
};

struct drm_gem_object *tenon_gem_create(struct drm_device *drm, size_t size)
{
	struct tenon_gem *gem;

	gem = kzalloc(sizeof(*gem), GFP_KERNEL_ACCOUNT);
	if (!gem)
		return ERR_PTR(-ENOMEM);
	gem->base.base.funcs = &gem_funcs;
	mutex_init(&gem->lock);
	return &gem->base.base;
}

/*
 * Shared memory has its pages where the task that is first to touch them wants them, but in a mount with a
 * policy where that wants them, if there is room: here, on the device's node. Cpusets hold as ever.
 */
struct vfsmount *tenon_buffer_mount(int node)
{
	struct vfsmount *mount;
	char policy[32];

	if (node == NUMA_NO_NODE || num_online_nodes() < 2)
		return NULL;
	snprintf(policy, sizeof(policy), "mpol=prefer:%d", node);
	mount = vfs_kern_mount(get_fs_type("tmpfs"), SB_KERNMOUNT, "tenon", policy);
	/* A node without memory, for example. */
	return IS_ERR(mount) ? NULL : mount;
}

/* The same as DRM's helper has made, which knows of no mounts; before anyone else sees the object. */
static int move_near(struct tenon_context *x, struct drm_gem_object *gem)
{
	struct file *file;

	if (!x->controller->near)
		return 0;
	file = shmem_file_setup_with_mnt(x->controller->near, "tenon", gem->size, TENON_NORESERVE);
	if (IS_ERR(file))
		return PTR_ERR(file);
	mapping_set_gfp_mask(file->f_mapping, mapping_gfp_mask(gem->filp->f_mapping));
	fput(gem->filp);
	gem->filp = file;
	return 0;
}

static int charge(struct tenon_context *x, struct drm_gem_object *gem)
{
	struct tenon_partition *p = x->partition;
	u64 max = READ_ONCE(p->settings.pinned_max);
	u64 needed = tenon_charge(&p->pinned, gem->size, max);

	if (needed)
		return tenon_context_limit(x, -ENOMEM, needed, max);
	atomic64_add(gem->size, &p->bytes);
	to_tenon_gem(gem)->charged = gem->size;
	tenon_usage_memory(p, gem->size);
	return 0;
}

/* ENOSPC is what shmem says if there is no memory for an inode; tenants are told of limits by it. */
static int no_inode(int error)
{
	return error == -ENOSPC ? -ENOMEM : error;
}

int tenon_buffer_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;
	struct drm_tenon_buffer_create *args = data;
	struct drm_gem_shmem_object *shmem;
	u64 max = READ_ONCE(x->partition->settings.pinned_max);
	u32 handle;
	int ret;

	if (!args->size || args->flags || args->handle)
		return -EINVAL;
	/* Before the size is rounded up: what it wraps to might fit. */
	if (args->size > max)
		return tenon_context_limit(x, -ENOMEM, args->size, max);
	shmem = drm_gem_shmem_create(drm, PAGE_ALIGN(args->size));
	if (IS_ERR(shmem))
		return no_inode(PTR_ERR(shmem));
	ret = no_inode(move_near(x, &shmem->base));
	if (!ret)
		ret = charge(x, &shmem->base);
	if (!ret)
		ret = drm_gem_handle_create(file, &shmem->base, &handle);
	if (!ret) {
		args->size = shmem->base.size;
		args->handle = handle;
	}
	/* The handle has a reference of its own. */
	drm_gem_object_put(&shmem->base);
	return ret;
}

int tenon_buffer_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_tenon_buffer_info *args = data;
	struct drm_gem_object *gem;
	int ret;

	if (args->flags || args->size || args->offset)
		return -EINVAL;
	gem = drm_gem_object_lookup(file, args->handle);
	if (!gem)
		return -ENOENT;
	ret = drm_gem_create_mmap_offset(gem);
	if (!ret) {
		args->size = gem->size;
		args->offset = drm_vma_node_offset_addr(&gem->vma_node);
	}
	drm_gem_object_put(gem);
	return ret;
}

u64 tenon_buffer_max(const struct tenon_context *x)
{
	return min(le32_to_cpu(x->controller->identify.max_buffers), TDI_BUFFER_INDEX(~0u) + 1);
}

/* ---------------------------------------------------------------------------------- mappings */

/*
 * All maps of an object share its DMA mapping: with one for each, a tenant could pile up mappings of the same
 * page, which a kernel that checks the use of DMA warns of. Under a context's lock, which keeps the
 * controller's device there. It is for that device: the node's own is no bus master.
 */
static int dma_get(struct tenon_context *x, struct drm_gem_object *gem)
{
	struct tenon_gem *g = to_tenon_gem(gem);
	int ret = 0;

	mutex_lock(&g->lock);
	if (!g->maps) {
		ret = sg_alloc_table_from_pages(&g->sgt, g->base.pages, gem->size >> PAGE_SHIFT, 0, gem->size,
						GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
		if (ret)
			goto unlock;
		ret = dma_map_sgtable(x->controller->dev, &g->sgt, DMA_BIDIRECTIONAL, DMA_ATTR_NO_WARN);
		if (ret) {
			/* Whatever it says: EIO means something else here. */
			ret = -ENOMEM;
			sg_free_table(&g->sgt);
			goto unlock;
		}
	}
	g->maps++;
unlock:
	mutex_unlock(&g->lock);
	return ret;
}

static void dma_put(struct tenon_context *x, struct drm_gem_object *gem)
{
	struct tenon_gem *g = to_tenon_gem(gem);

	mutex_lock(&g->lock);
	if (!--g->maps) {
		dma_unmap_sgtable(x->controller->dev, &g->sgt, DMA_BIDIRECTIONAL, DMA_ATTR_NO_WARN);
		sg_free_table(&g->sgt);
	}
	mutex_unlock(&g->lock);
}

/**
 * struct span - segments that a part of an object lies in
 * @sg: the first
 * @count: how many
 * @at: address of the part's first byte
 */
struct span {
	struct scatterlist *sg;
	unsigned int count;
	u64 at;
};

static struct span find_span(struct sg_table *sgt, u64 offset, u64 bytes)
{
	struct span r = { };
	struct scatterlist *sg;
	unsigned int i;
	u64 sum = 0;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (sum < offset + bytes && sum + sg_dma_len(sg) > offset) {
			if (!r.count) {
				r.sg = sg;
				r.at = sg_dma_address(sg) + offset - sum;
			}
			r.count++;
		}
		sum += sg_dma_len(sg);
	}
	return r;
}

/* The largest block, as a shift, such that each begins and ends where a segment may. */
static unsigned int block_shift(const struct span *r)
{
	struct scatterlist *sg;
	u64 edges = 0;
	unsigned int i;

	for_each_sg(r->sg, sg, r->count, i) {
		if (i)
			edges |= sg_dma_address(sg);
		if (i + 1 < r->count)
			edges |= sg_dma_address(sg) + sg_dma_len(sg);
	}
	return __ffs64(edges);
}

static int map_blocks(struct tenon_context *x, struct tenon_map *m, const struct span *r, u64 bytes,
		      struct tdi_admin_buffer *b)
{
	struct device *dev = x->controller->dev;
	unsigned int shift = block_shift(r), i;
	struct scatterlist *sg;
	u64 first, count, at, n = 0;

	first = r->at & (BIT_ULL(shift) - 1);
	count = (first + bytes + BIT_ULL(shift) - 1) >> shift;
	m->blocks_bytes = array_size(count, sizeof(*m->blocks));
	m->blocks = alloc_pages_exact(m->blocks_bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_ZERO);
	if (!m->blocks)
		return -ENOMEM;
	for_each_sg(r->sg, sg, r->count, i) {
		at = round_down(i ? sg_dma_address(sg) : r->at, BIT_ULL(shift));
		for (; at < sg_dma_address(sg) + sg_dma_len(sg) && n < count; at += BIT_ULL(shift))
			m->blocks[n++] = cpu_to_le64(at);
	}
	m->blocks_dma = dma_map_single(dev, m->blocks, m->blocks_bytes, DMA_TO_DEVICE);
	if (dma_mapping_error(dev, m->blocks_dma)) {
		free_pages_exact(m->blocks, m->blocks_bytes);
		m->blocks = NULL;
		return -ENOMEM;
	}
	b->shift = cpu_to_le32(shift);
	b->first = cpu_to_le64(first);
	b->address = cpu_to_le64(m->blocks_dma);
	return 0;
}

static void unmap_blocks(struct tenon_context *x, struct tenon_map *m)
{
	dma_unmap_single(x->controller->dev, m->blocks_dma, m->blocks_bytes, DMA_TO_DEVICE);
	free_pages_exact(m->blocks, m->blocks_bytes);
}

static int describe(struct tenon_context *x, struct tenon_map *m, struct sg_table *sgt, u64 offset, u64 bytes,
		    u32 flags, struct tdi_admin_buffer *b)
{
	struct span r = find_span(sgt, offset, bytes);
	u64 first = r.at & (TDI_PAGE_SIZE - 1);

	b->context = cpu_to_le32(x->id);
	b->context_generation = cpu_to_le32(x->generation);
	b->buffer = cpu_to_le32(m->id);
	b->length = cpu_to_le64(bytes);
	if (r.count > 1) {
		b->flags = cpu_to_le32(flags);
		return map_blocks(x, m, &r, bytes, b);
	}
	b->flags = cpu_to_le32(flags | TDI_BUFFER_INLINE);
	b->shift = cpu_to_le32(max(TDI_PAGE_SHIFT, order_base_2(first + bytes)));
	b->first = cpu_to_le64(first);
	b->address = cpu_to_le64(r.at - first);
	return 0;
}

static void map_free(struct tenon_context *x, struct tenon_map *m)
{
	trace_tenon_buffer_release(x, m->id);
	if (m->blocks)
		unmap_blocks(x, m);
	dma_put(x, m->gem);
	drm_gem_shmem_unpin(to_drm_gem_shmem_obj(m->gem));
	drm_gem_object_put(m->gem);
	kfree(m);
}

/* --------------------------------------------------------------------------------------- ids */

static int id_alloc(struct tenon_context *x, struct tenon_map *m)
{
	u32 before = x->next_map, index;
	int ret;

	ret = xa_alloc_cyclic(&x->maps, &index, m, XA_LIMIT(0, tenon_buffer_max(x) - 1), &x->next_map,
			      GFP_KERNEL_ACCOUNT);
	if (ret == -EBUSY)
		return tenon_context_refuse(x, -ENOSPC, tenon_buffer_max(x) + 1, tenon_buffer_max(x));
	if (ret < 0)
		return ret;
	/* Kernels differ in whether they tell of a wrap. */
	if (index < before && !++x->map_lap)
		x->map_lap = 1;
	m->id = TDI_BUFFER_ID(index, x->map_lap);
	x->map_count++;
	return 0;
}

static void id_free(struct tenon_context *x, struct tenon_map *m)
{
	xa_erase(&x->maps, TDI_BUFFER_INDEX(m->id));
	x->map_count--;
}

/* ------------------------------------------------------------------------------------- ioctls */

/* Under the context's lock; takes over @gem, pinned and with a reference, if it returns 0 or sets @kept. */
static int buffer_map(struct tenon_context *x, struct drm_gem_object *gem, struct drm_tenon_buffer_map *args,
		      bool *kept)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_MAP };
	struct tenon_map *m;
	int ret;

	if (args->bytes > le64_to_cpu(x->controller->identify.max_buffer_bytes))
		return tenon_context_refuse(x, -EFBIG, args->bytes,
					    le64_to_cpu(x->controller->identify.max_buffer_bytes));
	m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	if (!m)
		return -ENOMEM;
	m->gem = gem;
	ret = id_alloc(x, m);
	if (ret)
		goto free;
	ret = dma_get(x, gem);
	if (ret)
		goto free_id;
	ret = describe(x, m, &to_tenon_gem(gem)->sgt, args->offset, args->bytes, args->flags, &sqe.buffer);
	if (ret)
		goto unmap;
	ret = tenon_context_admin(x, &sqe, true);
	if (!ret) {
		m->listed = true;
		args->buffer = m->id;
		trace_tenon_buffer_map(x, m->id, gem->size >> PAGE_SHIFT);
		return 0;
	}
	/* The device may yet do it: then the map goes with the context. */
	if (tenon_admin_unknown(ret)) {
		*kept = true;
		return ret;
	}
	if (m->blocks)
		unmap_blocks(x, m);
unmap:
	dma_put(x, gem);
free_id:
	id_free(x, m);
free:
	kfree(m);
	return ret;
}

int tenon_buffer_map_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;
	struct drm_tenon_buffer_map *args = data;
	struct drm_gem_object *gem;
	bool kept = false;
	u64 end;
	int ret;

	if (!args->flags || (args->flags & ~(TDI_BUFFER_READ | TDI_BUFFER_WRITE)) || !args->bytes ||
	    args->buffer || args->reserved)
		return -EINVAL;
	gem = drm_gem_object_lookup(file, args->handle);
	if (!gem)
		return -ENOENT;
	if (check_add_overflow(args->offset, args->bytes, &end) || end > gem->size) {
		ret = -EINVAL;
		goto put;
	}
	/* All of it, whatever part is mapped. It takes its time, so no lock is held. */
	ret = drm_gem_shmem_pin(to_drm_gem_shmem_obj(gem));
	if (ret)
		goto put;
	ret = tenon_context_enter(x);
	if (ret)
		goto unpin;
	ret = buffer_map(x, gem, args, &kept);
	tenon_context_leave(x);
	if (!ret || kept)
		return ret;
unpin:
	drm_gem_shmem_unpin(to_drm_gem_shmem_obj(gem));
put:
	drm_gem_object_put(gem);
	return ret;
}

int tenon_buffer_unmap_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_UNMAP };
	struct tenon_context *x = file->driver_priv;
	struct drm_tenon_buffer_unmap *args = data;
	struct tenon_map *m;
	int ret;

	if (args->reserved)
		return -EINVAL;
	ret = tenon_context_enter(x);
	if (ret)
		return ret;
	m = xa_load(&x->maps, TDI_BUFFER_INDEX(args->buffer));
	if (!m || m->id != args->buffer || !m->listed) {
		ret = -ENOENT;
		goto leave;
	}
	sqe.buffer.context = cpu_to_le32(x->id);
	sqe.buffer.context_generation = cpu_to_le32(x->generation);
	sqe.buffer.buffer = cpu_to_le32(m->id);
	ret = tenon_context_admin(x, &sqe, true);
	trace_tenon_buffer_unmap(x, m->id, ret);
	if (!ret) {
		id_free(x, m);
		map_free(x, m);
	} else {
		/* Nothing is known of it any more; it goes with the context. */
		m->listed = false;
	}
leave:
	tenon_context_leave(x);
	return ret;
}

/* The context has ended on the device, or the device was fenced off. Under the context's lock. */
void tenon_buffer_end_all(struct tenon_context *x, bool proven)
{
	struct tenon_map *m;
	unsigned long index;

	xa_for_each(&x->maps, index, m) {
		if (proven) {
			if (m->unproven)
				atomic64_sub(m->gem->size >> PAGE_SHIFT, &x->controller->unproven);
			id_free(x, m);
			map_free(x, m);
		} else if (!m->unproven) {
			atomic64_add(m->gem->size >> PAGE_SHIFT, &x->controller->unproven);
			m->unproven = true;
		}
	}
}
