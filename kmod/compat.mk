# SPDX-License-Identifier: GPL-2.0-only
# Features of the kernel that is built for, for kmod/compat.h: $(call has,HEADER,TEXT) is y if its header has it.
has = $(if $(shell grep -s -e '$(2)' $(srctree)/include/$(1)),y)

ccflags-$(call has,linux/shmem_fs.h,shmem_kernel_file_setup.*vma_flags_t) += -DHAVE_SHMEM_VMA_FLAGS
