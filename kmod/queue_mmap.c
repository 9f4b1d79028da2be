// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a tenant maps of a queue: the areas that it writes, those that it reads, and the doorbell, which can
 * be taken back while it is mapped.
 */
#include <linux/mm.h>

#include "tenon.h"

/*
 * Offsets for mmap(), beyond those of GEM. Doorbells have a range of their own, so that taking one back
 * touches nothing else; each other area has room for the largest ring.
 */
#define RING_SHIFT	22
#define RING_AT(id, part) ((1ULL << 41) + (((u64)(id) * 2 + (part)) << RING_SHIFT))
#define DOORBELL_AT(id) ((1ULL << 42) + ((u64)(id) << PAGE_SHIFT))

/* Areas are mapped in the order of their numbers: those that the tenant writes, and those that it reads. */
enum part {
	PART_TENANT,
	PART_DEVICE,
	PART_DOORBELL,
};

static const struct {
	enum tenon_area_id first;
	enum tenon_area_id last;
} parts[] = {
	[PART_TENANT] = { TENON_AREA_PRODUCER, TENON_AREA_SQ },
	[PART_DEVICE] = { TENON_AREA_DEVICE, TENON_AREA_CQ },
};

static u32 part_bytes(const struct tenon_queue *q, enum part part)
{
	unsigned int i;
	u32 pages = 0;

	if (part == PART_DOORBELL)
		return PAGE_SIZE;
	for (i = parts[part].first; i <= parts[part].last; i++)
		pages += q->area[i].count;
	return pages << PAGE_SHIFT;
}

static struct page *part_page(const struct tenon_queue *q, enum part part, unsigned long number)
{
	unsigned int i;

	for (i = parts[part].first; i <= parts[part].last; i++) {
		if (number < q->area[i].count)
			return q->area[i].page + number;
		number -= q->area[i].count;
	}
	return NULL;
}

/* Which queue and which part of it begins at an offset. */
static u64 offset_id(u64 offset, enum part *part)
{
	u64 number;

	if (offset >= DOORBELL_AT(0)) {
		*part = PART_DOORBELL;
		return (offset - DOORBELL_AT(0)) >> PAGE_SHIFT;
	}
	number = (offset - RING_AT(0, 0)) >> RING_SHIFT;
	*part = number & 1 ? PART_DEVICE : PART_TENANT;
	return number >> 1;
}

static u64 part_offset(u32 id, enum part part)
{
	return part == PART_DOORBELL ? DOORBELL_AT(id) : RING_AT(id, part);
}

/* For the tenant who has made it. */
void tenon_queue_offsets(const struct tenon_queue *q, struct drm_tenon_queue_create *args)
{
	struct tenon_controller *c = q->context->controller;
	unsigned long pfn;

	args->tenant_offset = part_offset(q->id, PART_TENANT);
	args->device_offset = part_offset(q->id, PART_DEVICE);
	args->tenant_bytes = part_bytes(q, PART_TENANT);
	args->device_bytes = part_bytes(q, PART_DEVICE);
	if (!c->ops->doorbell_pfn(c, q->id, &pfn))
		args->doorbell_offset = part_offset(q->id, PART_DOORBELL);
}

/*
 * Pages come by faults, since an unplug zaps all mappings of the node and innocent processes must find theirs
 * again. Each has a reference of the mapping's own.
 */
static vm_fault_t ring_fault(struct vm_fault *vmf)
{
	struct tenon_queue *q = vmf->vma->vm_private_data;
	struct page *page;
	enum part part;

	offset_id((u64)vmf->pgoff << PAGE_SHIFT, &part);
	page = part_page(q, part, vmf->pgoff - (part_offset(q->id, part) >> PAGE_SHIFT));
	if (!page)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static vm_fault_t doorbell_fault(struct vm_fault *vmf)
{
	struct tenon_queue *q = vmf->vma->vm_private_data;
	struct tenon_controller *c = q->context->controller;
	unsigned long pfn;
	vm_fault_t ret;

	/* Whoever revokes sets the flag first, then zaps: what is put here before that doesn't survive it. */
	mutex_lock(&q->doorbell_lock);
	if (q->revoked || c->ops->doorbell_pfn(c, q->id, &pfn))
		pfn = page_to_pfn(q->context->dummy);
	ret = vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	mutex_unlock(&q->doorbell_lock);
	return ret;
}

static void part_open(struct vm_area_struct *vma)
{
	struct tenon_queue *q = vma->vm_private_data;

	kref_get(&q->ref);
}

static void part_close(struct vm_area_struct *vma)
{
	tenon_queue_put(vma->vm_private_data);
}

static const struct vm_operations_struct ring_vm_ops = {
	.open = part_open,
	.close = part_close,
	.fault = ring_fault,
};

static const struct vm_operations_struct doorbell_vm_ops = {
	.open = part_open,
	.close = part_close,
	.fault = doorbell_fault,
};

/* From here on a store goes nowhere; one that was under way has arrived. */
void tenon_queue_revoke(struct tenon_queue *q)
{
	mutex_lock(&q->doorbell_lock);
	q->revoked = true;
	mutex_unlock(&q->doorbell_lock);
	unmap_mapping_range(q->context->drm->anon_inode->i_mapping, DOORBELL_AT(q->id), PAGE_SIZE, 1);
}

bool tenon_queue_owns_offset(const struct vm_area_struct *vma)
{
	return (u64)vma->vm_pgoff << PAGE_SHIFT >= RING_AT(0, 0);
}

/* A mapping that takes over the reference to @q if it returns 0. */
static int part_mmap(struct tenon_queue *q, struct vm_area_struct *vma, enum part part)
{
	struct tenon_controller *c = q->context->controller;
	unsigned long pfn;

	/* All of it, and no copies on write: a tenant would see its own stores there. */
	if ((u64)vma->vm_pgoff << PAGE_SHIFT != part_offset(q->id, part) ||
	    vma->vm_end - vma->vm_start != part_bytes(q, part) || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (part == PART_DEVICE && (vma->vm_flags & VM_WRITE))
		return -EACCES;
	/* One that is revoked leads where it would lead had it been mapped before. */
	if (part == PART_DOORBELL && !READ_ONCE(q->revoked) && c->ops->doorbell_pfn(c, q->id, &pfn))
		return -EINVAL;

	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = q;
	vma->vm_ops = &ring_vm_ops;
	if (part == PART_DEVICE)
		vm_flags_clear(vma, VM_MAYWRITE);
	if (part == PART_DOORBELL) {
		vm_flags_set(vma, VM_IO | VM_PFNMAP);
		vma->vm_page_prot = pgprot_noncached(vm_get_page_prot(vma->vm_flags));
		vma->vm_ops = &doorbell_vm_ops;
	}
	return 0;
}

int tenon_queue_mmap(struct tenon_context *x, struct vm_area_struct *vma)
{
	struct tenon_queue *q;
	enum part part;
	u64 id;
	int ret;

	id = offset_id((u64)vma->vm_pgoff << PAGE_SHIFT, &part);
	q = id > U32_MAX ? NULL : tenon_queue_lookup(x, id);
	if (!q)
		return -EINVAL;
	ret = part_mmap(q, vma, part);
	if (ret)
		tenon_queue_put(q);
	return ret;
}
