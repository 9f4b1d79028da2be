// SPDX-License-Identifier: MIT
/* The layout of the headers in C++11, and that the library's is C++ too; compiling is the test. [CON-1] */
#include <linux/tdi.h>
#include <tenon/socket.h>
#include <tenon/tenon.h>

#include "tdi_layout.h"
