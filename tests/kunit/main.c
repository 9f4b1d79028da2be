// SPDX-License-Identifier: GPL-2.0-only
/*
 * In the place of kmod/drv.c: what the module's files need of it, and no drivers.
 */
#include <kunit/test.h>
#include <linux/module.h>

#include "suites.h"
#include "tenon.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

struct workqueue_struct *tenon_wq;

kunit_test_suites(&tenon_buffer_suite, &tenon_events_suite, &tenon_queue_suite, &tenon_usage_suite);

MODULE_DESCRIPTION("Tests of what is static in the Tenon module");
MODULE_LICENSE("GPL");
