/* SPDX-License-Identifier: MIT */
/* tenonctl list: each device on a line. */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

struct walk {
	struct json_object *devices;	/* NULL: for people */
	unsigned int count;
};

static void add(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value));
}

/* A device that can't be opened is listed too, with the reason. */
static int list_one(const struct tenon_device *device, void *arg)
{
	struct tenon_open_options options = { .size = sizeof(options), .timeout_ms = 2000 };
	struct walk *walk = arg;
	struct tenon_context *context;
	char model[65] = "", serial[33] = "", firmware[33] = "", link[CTL_LINK_MAX], health[16];
	const char *state = "ok";
	int error;

	ctl_link(link, sizeof(link), device->path);
	error = tenon_open(device->path, &options, &context);
	if (error) {
		state = strerror(-error);
	} else {
		const struct tdi_identify *id = tenon_identify(context);

		ctl_string(model, sizeof(model), id->model, sizeof(id->model));
		ctl_string(serial, sizeof(serial), id->serial, sizeof(id->serial));
		ctl_string(firmware, sizeof(firmware), id->firmware, sizeof(id->firmware));
		tenon_close(context);
		/* A node can be opened while its device can't be used. */
		if (*ctl_health(health, sizeof(health), device->path) && strcmp(health, "ready"))
			state = health;
	}
	if (walk->devices) {
		struct json_object *object = json_object_new_object();

		add(object, "path", device->path);
		add(object, "transport", device->transport);
		add(object, "link", link);
		add(object, "model", model);
		add(object, "serial", serial);
		add(object, "firmware", firmware);
		add(object, "state", state);
		json_object_array_add(walk->devices, object);
	} else {
		if (!walk->count)
			printf("%-28s %-9s %-24s %-8s %s\n", "PATH", "TRANSPORT", "MODEL", "SERIAL", "STATE");
		printf("%-28s %-9s %-24s %-8s %s%s%s\n", device->path, device->transport,
		       *model ? model : "-", *serial ? serial : "-", state, *link ? "  " : "", link);
		fflush(stdout);
	}
	walk->count++;
	return 0;
}

int ctl_list(const struct ctl *ctl, char *const *args)
{
	struct walk walk = { .devices = ctl->json ? json_object_new_array() : NULL };
	int error = tenon_devices(list_one, &walk);

	(void)args;
	if (ctl->json) {
		struct json_object *top = json_object_new_object();

		json_object_object_add(top, "devices", walk.devices);
		ctl_json_print(top);
	}
	if (error)
		fprintf(stderr, "tenonctl: looking for devices: %s\n", strerror(-error));
	else if (!walk.count)
		ctl_no_device();
	return error || !walk.count ? EXIT_FAILED : EXIT_OK;
}
