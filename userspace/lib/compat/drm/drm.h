/* SPDX-License-Identifier: MIT */
/* Where the kernel's headers leave it out, as on Debian 12: libdrm has the same. */
#include <drm.h>
