/* SPDX-License-Identifier: MIT */
/*
 * Tenon: what the kernel module and userspace share at /dev/accel/accelN.
 *
 * Besides these a node passes VERSION, GET_CAP, GEM_CLOSE and the two PRIME ioctls of <drm/drm.h>; any other
 * ends ENOTTY, on an unplugged device ENODEV. Structures are the same for 32 and 64 bit. They grow at their
 * end, where 0 means what it meant before; DRM_IOCTL_VERSION tells the version.
 */
#ifndef _UAPI_DRM_TENON_DRM_H
#define _UAPI_DRM_TENON_DRM_H

#include <drm/drm.h>

#if defined(__cplusplus)
extern "C" {
#endif

enum drm_tenon_ioctl_id {
	DRM_TENON_QUERY = 0,
};

/* What QUERY tells about. */
enum drm_tenon_query_type {
	DRM_TENON_QUERY_DEVICE = 0,	/* struct drm_tenon_device */
};

/**
 * struct drm_tenon_query - DRM_IOCTL_TENON_QUERY
 * @type: enum drm_tenon_query_type; EINVAL if unknown
 * @size: in: bytes at @pointer, at most 4096, else E2BIG; out: bytes that the kernel knows of
 * @pointer: where to; 0 to ask for @size alone
 *
 * If there is room for less than the kernel knows, that much is written; the rest of a larger room is 0.
 */
struct drm_tenon_query {
	__u32 type;
	__u32 size;
	__u64 pointer;
};

/**
 * struct drm_tenon_device - of DRM_TENON_QUERY_DEVICE
 * @tdi_version: the device's TDI_VERSION()
 * @reserved: 0
 */
struct drm_tenon_device {
	__u32 tdi_version;
	__u32 reserved;
};

#define DRM_IOCTL_TENON_QUERY	DRM_IOWR(DRM_COMMAND_BASE + DRM_TENON_QUERY, struct drm_tenon_query)

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_DRM_TENON_DRM_H */
