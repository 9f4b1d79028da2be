// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module: comes with its drivers, goes when nothing of it is left.
 */
#include <linux/module.h>
#include <linux/pci.h>

#include "tenon.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* Releases of contexts, resets, and what configfs asks for; no tenant waits here for another. */
struct workqueue_struct *tenon_wq;

static int __init tenon_init(void)
{
	int ret;

	tenon_wq = alloc_workqueue("tenon", WQ_UNBOUND, 0);
	if (!tenon_wq)
		return -ENOMEM;
	ret = tenon_events_init();
	if (ret)
		goto destroy_wq;
	/* Partitions are made while controllers are probed, so their driver comes first. */
	ret = auxiliary_driver_register(&tenon_partition_driver);
	if (ret)
		goto remove_events;
	ret = tenon_config_init();
	if (ret)
		goto unregister_partitions;
	ret = pci_register_driver(&tenon_pci_driver);
	if (ret)
		goto exit_config;
	return 0;

exit_config:
	tenon_config_exit();
unregister_partitions:
	auxiliary_driver_unregister(&tenon_partition_driver);
remove_events:
	tenon_events_exit();
destroy_wq:
	destroy_workqueue(tenon_wq);
	return ret;
}
module_init(tenon_init);

static void __exit tenon_exit(void)
{
	pci_unregister_driver(&tenon_pci_driver);
	tenon_config_exit();
	auxiliary_driver_unregister(&tenon_partition_driver);
	/* The last file is closed, but its context may be on its way. */
	destroy_workqueue(tenon_wq);
	tenon_events_exit();
}
module_exit(tenon_exit);

MODULE_DESCRIPTION("Tenon: one interface to inference accelerators");
MODULE_LICENSE("GPL");
