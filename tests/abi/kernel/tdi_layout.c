// SPDX-License-Identifier: GPL-2.0
/* The layout of the headers in a kernel module that is never loaded; building is the test. [CON-1] */
#include <linux/build_bug.h>
#include <linux/module.h>

#include <linux/tdi.h>
#include <tenon/socket.h>

#include "tdi_layout.h"

MODULE_DESCRIPTION("Layout of the Tenon Device Interface");
MODULE_LICENSE("GPL");
