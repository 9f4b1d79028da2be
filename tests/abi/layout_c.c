// SPDX-License-Identifier: MIT
/* The layout of the headers in C11; compiling is the test. [CON-1] */
#include <linux/tdi.h>
#include <tenon/socket.h>

#include "tdi_layout.h"
