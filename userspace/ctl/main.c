/* SPDX-License-Identifier: MIT */
/* tenonctl: options and subcommands. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

static const char usage[] =
	"Usage: tenonctl [OPTION]... COMMAND [DEVICE]\n"
	"Look at inference devices and check them. DEVICE is the path of a node or\n"
	"of a socket; without one the first device is taken.\n"
	"\n"
	"  list                 devices that can be seen from here\n"
	"  info [DEVICE]        what a device is, can do and allows\n"
	"  validate [DEVICE]    time no-ops and copies, check a matrix product\n"
	"\n"
	"  --json               for machines\n"
	"  --size BYTES         of the copies of validate; K, M, G allowed (default 16M)\n"
	"  --help, --version\n"
	"\n"
	"Devices are looked for in $TENON_DEVICE, a colon separated list of nodes and\n"
	"sockets, else in /dev/accel and /run/tenon. Exit status: 0; 1 no device, an\n"
	"error or a failed check; 2 wrong usage.\n";

static const struct {
	const char *name;
	int (*run)(const struct ctl *ctl, const char *device);
	bool takes_device;
} commands[] = {
	{ "list", ctl_list, false },
	{ "info", ctl_info, true },
	{ "validate", ctl_validate, true },
};

static _Noreturn void wrong(const char *what, const char *value)
{
	fprintf(stderr, "tenonctl: %s%s\nTry 'tenonctl --help'.\n", what, value);
	exit(EXIT_USAGE);
}

static uint64_t parse_size(const char *text)
{
	unsigned long long value;
	unsigned int shift = 0;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (end != text && *end && strchr("KMG", *end)) {
		shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 30;
		end++;
	}
	if (errno || end == text || *end || *text == '-' || !value || value > UINT64_MAX >> shift)
		wrong("--size: not a size: ", text);
	return value << shift;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "size", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	struct ctl ctl = { 0 };
	const char *name;
	int option, status;
	size_t i;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			ctl.json = true;
			break;
		case 's':
			ctl.copy_bytes = parse_size(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_OK;
		case 'v':
			printf("tenonctl %s, TDI %d.%d\n", TENON_VERSION, TDI_VERSION_MAJOR,
			       TDI_VERSION_MINOR);
			return EXIT_OK;
		default:
			fputs("Try 'tenonctl --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		wrong("a command is needed", "");
	name = argv[optind++];
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(name, commands[i].name))
			break;
	if (i == sizeof(commands) / sizeof(commands[0]))
		wrong("no such command: ", name);
	if (argc - optind > commands[i].takes_device)
		wrong("one argument too many: ", argv[argc - 1]);
	if (ctl.copy_bytes && commands[i].run != ctl_validate)
		wrong("--size is for validate", "");
	ctl.terminal = !ctl.json && isatty(STDOUT_FILENO);
	status = commands[i].run(&ctl, argv[optind]);
	if (fflush(stdout) || ferror(stdout)) {
		perror("tenonctl: stdout");
		return EXIT_FAILED;
	}
	return status;
}
