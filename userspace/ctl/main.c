/* SPDX-License-Identifier: MIT */
/* tenonctl: options and subcommands. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

static const char usage[] =
	"Usage: tenonctl [OPTION]... COMMAND [ARGUMENT]...\n"
	"Look at inference devices, check them, share them.\n"
	"\n"
	"Devices. DEVICE is the path of a node or of a socket; else the first is taken.\n"
	"  list                            devices that can be seen from here\n"
	"  info [DEVICE]                   what a device is, can do and allows\n"
	"  validate [DEVICE]               time no-ops and copies, check a product\n"
	"\n"
	"Partitions, as root. NAME is [CONTROLLER/]NAME; KEYs are listed by show.\n"
	"  partition list                  each in a line\n"
	"  partition show [NAME]           all of one, or of all\n"
	"  partition create NAME [KEY=VALUE]...\n"
	"  partition set NAME KEY=VALUE... also of a controller: overcommit=1\n"
	"  partition drain NAME            let nobody in, and tell who is still there\n"
	"  partition delete NAME           end it; its number is kept from reuse\n"
	"  partition recycle NAME KEY=VALUE...\n"
	"                                  a drained one to another allow_uid or _cgroup\n"
	"  partition reap N | --all        give the number of accelN back\n"
	"  partition save [FILE]           all settings (/etc/tenon/partitions.json)\n"
	"  partition restore [FILE]        make and change what is needed; --prune too\n"
	"\n"
	"Use.\n"
	"  meter                           what each partition used\n"
	"  events                          what happened, as root\n"
	"  top                             what is used now\n"
	"\n"
	"  --json                          for machines\n"
	"  --size BYTES                    validate: of copies; K, M, G (default 16M)\n"
	"  --all                           reap: all that are kept\n"
	"  --prune                         restore: delete what isn't in the file\n"
	"  --state FILE                    meter: keep the counters of now in FILE\n"
	"  --since FILE                    meter: what was used since FILE was written\n"
	"  --follow                        events: wait for more\n"
	"  --once                          top: one table, as text\n"
	"  --interval SECONDS              top: between two looks (default 1)\n"
	"  --sort busy|name|memory         top: by this (default busy)\n"
	"  --help, --version\n"
	"\n"
	"Devices are looked for in $TENON_DEVICE, a colon separated list of nodes and\n"
	"sockets, else in /dev/accel and /run/tenon. Exit status: 0; 1 no device, an\n"
	"error or a failed check; 2 wrong usage.\n";

enum {
	ALL = 1, PRUNE = 2, FOLLOW = 4, ONCE = 8, SIZE = 16, INTERVAL = 32, SINCE = 64, STATE = 128,
	SORT = 256
};

/* @most: arguments that it takes, -1 for any number; @takes: options, beside those that all take */
static const struct command {
	const char *name;
	const char *second;
	int (*run)(const struct ctl *ctl, char *const *args);
	int least;
	int most;
	unsigned int takes;
} commands[] = {
	{ "list", NULL, ctl_list, 0, 0, 0 },
	{ "info", NULL, ctl_info, 0, 1, 0 },
	{ "validate", NULL, ctl_validate, 0, 1, SIZE },
	{ "partition", "list", ctl_partition_list, 0, 0, 0 },
	{ "partition", "show", ctl_partition_show, 0, 1, 0 },
	{ "partition", "create", ctl_partition_create, 1, -1, 0 },
	{ "partition", "set", ctl_partition_set, 2, -1, 0 },
	{ "partition", "drain", ctl_partition_drain, 1, 1, 0 },
	{ "partition", "delete", ctl_partition_delete, 1, 1, 0 },
	{ "partition", "recycle", ctl_partition_recycle, 2, -1, 0 },
	{ "partition", "reap", ctl_partition_reap, 0, 1, ALL },
	{ "partition", "save", ctl_partition_save, 0, 1, 0 },
	{ "partition", "restore", ctl_partition_restore, 0, 1, PRUNE },
	{ "meter", NULL, ctl_meter, 0, 0, SINCE | STATE },
	{ "events", NULL, ctl_events, 0, 0, FOLLOW },
	{ "top", NULL, ctl_top, 0, 0, ONCE | INTERVAL | SORT },
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

static uint64_t parse_interval(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.01 && seconds <= 3600))
		wrong("--interval: not 0.01 to 3600 seconds: ", text);
	return (uint64_t)(seconds * 1e9);
}

static const struct command *find(const char *name, const char *second)
{
	bool known = false;
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(name, commands[i].name))
			continue;
		known = true;
		if (!commands[i].second || (second && !strcmp(second, commands[i].second)))
			return &commands[i];
	}
	if (known && !second)
		wrong(name, " what? list, show, create, set, ...");
	wrong("no such command: ", known ? second : name);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "size", required_argument, NULL, 's' },
		{ "all", no_argument, NULL, 'a' },
		{ "prune", no_argument, NULL, 'p' },
		{ "state", required_argument, NULL, 'S' },
		{ "since", required_argument, NULL, 'i' },
		{ "follow", no_argument, NULL, 'f' },
		{ "once", no_argument, NULL, 'o' },
		{ "interval", required_argument, NULL, 'n' },
		{ "sort", required_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	static const struct {
		unsigned int bit;
		const char *name;
	} names[] = {
		{ ALL, "all" }, { PRUNE, "prune" }, { FOLLOW, "follow" }, { ONCE, "once" }, { SIZE, "size" },
		{ INTERVAL, "interval" }, { SINCE, "since" }, { STATE, "state" }, { SORT, "sort" },
	};
	struct ctl ctl = { .interval_ns = 1000000000, .sort = "busy" };
	const struct command *command;
	unsigned int given = 0;
	int option, status, count;
	size_t i;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			ctl.json = true;
			break;
		case 's':
			ctl.copy_bytes = parse_size(optarg);
			given |= SIZE;
			break;
		case 'a':
			ctl.all = true;
			given |= ALL;
			break;
		case 'p':
			ctl.prune = true;
			given |= PRUNE;
			break;
		case 'S':
			ctl.state = optarg;
			given |= STATE;
			break;
		case 'i':
			ctl.since = optarg;
			given |= SINCE;
			break;
		case 'f':
			ctl.follow = true;
			given |= FOLLOW;
			break;
		case 'o':
			ctl.once = true;
			given |= ONCE;
			break;
		case 'n':
			ctl.interval_ns = parse_interval(optarg);
			given |= INTERVAL;
			break;
		case 'k':
			if (strcmp(optarg, "busy") && strcmp(optarg, "name") && strcmp(optarg, "memory"))
				wrong("--sort: not busy, name or memory: ", optarg);
			ctl.sort = optarg;
			given |= SORT;
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
	command = find(argv[optind], argv[optind + 1]);
	optind += command->second ? 2 : 1;
	count = argc - optind;
	if (count < command->least)
		wrong(command->least > 1 ? "a name and KEY=VALUE are needed by " : "a name is needed by ",
		      command->second);
	if (command->most >= 0 && count > command->most)
		wrong("one argument too many: ", argv[argc - 1]);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (given & names[i].bit & ~command->takes) {
			fprintf(stderr, "tenonctl: --%s is not for %s\nTry 'tenonctl --help'.\n",
				names[i].name, command->second ? command->second : command->name);
			return EXIT_USAGE;
		}
	}
	ctl.terminal = !ctl.json && isatty(STDOUT_FILENO);
	status = command->run(&ctl, argv + optind);
	if (fflush(stdout) || ferror(stdout)) {
		perror("tenonctl: stdout");
		return EXIT_FAILED;
	}
	return status;
}
