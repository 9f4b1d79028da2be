/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between kernels, by feature: kmod/compat.mk asks their headers. */
#ifndef TENON_COMPAT_H
#define TENON_COMPAT_H

#include <linux/mm.h>

/* For shmem: pages are accounted for one by one. */
#ifdef HAVE_SHMEM_VMA_FLAGS
#define TENON_NORESERVE	mk_vma_flags(VMA_NORESERVE_BIT)
#else
#define TENON_NORESERVE	VM_NORESERVE
#endif

#endif /* TENON_COMPAT_H */
