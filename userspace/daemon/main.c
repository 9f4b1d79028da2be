// SPDX-License-Identifier: MIT
/* tenond: a TDI device in software. Options, signals, and the life of one device with one attach point. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <tenon/socket.h>

#include "attach/pci.h"
#include "attach/unix.h"
#include "attach/vfio-user.h"
#include "device.h"

static const char usage[] =
	"Usage: tenond --attach unix:PATH|vfio-user:PATH [OPTION]...\n"
	"Serve an inference device in software, to processes or to a virtual machine.\n"
	"\n"
	"  --attach unix:PATH       to processes; e.g. unix:" TENON_SOCKET_DIR "/tenond.sock\n"
	"  --attach vfio-user:PATH  to QEMU's vfio-user-pci, as a PCIe function\n"
	"  --engine reference       what runs commands (the only engine so far)\n"
	"  --clock real|virtual     virtual: a command's cost is a function of the command\n"
	"  --mode OCTAL             permissions of the socket (default 0660)\n"
	"  --serial TEXT            serial number that the device tells (default 0)\n"
	"  --workers N              execution units, 1 to 64 (default 1)\n"
	"  --spin-us N              longest polling of an idle queue (default 50)\n"
	"of vfio-user:\n"
	"  --msi-only               MSI instead of MSI-X\n"
#ifdef TENON_FAULTS
	"  --faults PATH            socket that takes faults to have; \"help\" lists them\n"
	"  --faults-trace FILE      where the trace goes\n"
#endif
	"of unix:\n"
	"  --memory-max BYTES       memory of one context (default 256M; K, M, G allowed)\n"
	"  --memory-total BYTES     memory of all contexts (default half of the host's)\n"
	"  --contexts-max N         contexts in all, up to 256 (default 256)\n"
	"  --contexts-per-uid N     contexts of one user, root excepted (default 64)\n"
	"  --queues-max N           queues of one context, up to 64 (default 16)\n"
	"\n"
	"  --help, --version\n"
	"\n"
	"Ends cleanly on SIGTERM and SIGINT: each command that is left open ends ABORTED.\n";

enum option_id {
	OPT_ATTACH = 256, OPT_ENGINE, OPT_CLOCK, OPT_MODE, OPT_SERIAL, OPT_WORKERS, OPT_SPIN, OPT_MEMORY_MAX,
	OPT_MEMORY_TOTAL, OPT_CONTEXTS_MAX, OPT_CONTEXTS_PER_UID, OPT_QUEUES_MAX, OPT_MSI_ONLY, OPT_FAULTS,
	OPT_FAULTS_TRACE, OPT_HELP, OPT_VERSION,
};

static const struct option long_options[] = {
	{ "attach", required_argument, NULL, OPT_ATTACH },
	{ "engine", required_argument, NULL, OPT_ENGINE },
	{ "clock", required_argument, NULL, OPT_CLOCK },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "serial", required_argument, NULL, OPT_SERIAL },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "spin-us", required_argument, NULL, OPT_SPIN },
	{ "memory-max", required_argument, NULL, OPT_MEMORY_MAX },
	{ "memory-total", required_argument, NULL, OPT_MEMORY_TOTAL },
	{ "contexts-max", required_argument, NULL, OPT_CONTEXTS_MAX },
	{ "contexts-per-uid", required_argument, NULL, OPT_CONTEXTS_PER_UID },
	{ "queues-max", required_argument, NULL, OPT_QUEUES_MAX },
	{ "msi-only", no_argument, NULL, OPT_MSI_ONLY },
#ifdef TENON_FAULTS
	{ "faults", required_argument, NULL, OPT_FAULTS },
	{ "faults-trace", required_argument, NULL, OPT_FAULTS_TRACE },
#endif
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static _Noreturn void bad(const char *name, const char *value, const char *wanted)
{
	fprintf(stderr, "tenond: --%s %s: %s\n", name, value, wanted);
	exit(2);
}

/* A number in [low, high]; with @base 10 it may end in K, M or G. */
static uint64_t number(const char *name, const char *value, int base, uint64_t low, uint64_t high)
{
	unsigned long long result;
	unsigned int shift = 0;
	char *end, text[96];

	errno = 0;
	result = strtoull(value, &end, base);
	if (base == 10 && *end && strchr("KMG", *end)) {
		shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 30;
		end++;
	}
	if (errno || end == value || *end || value[0] == '-' || result > UINT64_MAX >> shift ||
	    result << shift < low || result << shift > high) {
		snprintf(text, sizeof(text),
			 base == 8 ? "must be an octal number from %llo to %llo"
				   : "must be a number from %llu to %llu",
			 (unsigned long long)low, (unsigned long long)high);
		bad(name, value, text);
	}
	return result << shift;
}

static void parse(int argc, char **argv, struct tn_device_options *device, struct tn_unix_options *attach,
		  struct tn_vfu_options *vfu)
{
	int id;

	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (id) {
		case OPT_ATTACH:
			attach->path = NULL;
			vfu->path = NULL;
			if (!strncmp(optarg, "unix:", 5) && optarg[5])
				attach->path = optarg + 5;
			else if (!strncmp(optarg, "vfio-user:", 10) && optarg[10])
				vfu->path = optarg + 10;
			else
				bad("attach", optarg, "must be unix:PATH or vfio-user:PATH");
			break;
		case OPT_ENGINE:
			if (strcmp(optarg, "reference"))
				bad("engine", optarg, "must be reference");
			break;
		case OPT_CLOCK:
			if (strcmp(optarg, "real") && strcmp(optarg, "virtual"))
				bad("clock", optarg, "must be real or virtual");
			device->virtual_clock = optarg[0] == 'v';
			break;
		case OPT_MODE:
			attach->mode = (mode_t)number("mode", optarg, 8, 0, 0777);
			vfu->mode = attach->mode;
			break;
		case OPT_SERIAL:
			if (strlen(optarg) >= sizeof(((struct tdi_identify *)0)->serial))
				bad("serial", optarg, "must be shorter than 32 bytes");
			device->serial = optarg;
			break;
		case OPT_WORKERS:
			device->workers = (uint32_t)number("workers", optarg, 10, 1, TN_MAX_WORKERS);
			break;
		case OPT_SPIN:
			device->spin_ns = 1000 * number("spin-us", optarg, 10, 0, 1000000000);
			break;
		case OPT_MEMORY_MAX:
			attach->memory_max = number("memory-max", optarg, 10, TDI_PAGE_SIZE, UINT64_MAX);
			break;
		case OPT_MEMORY_TOTAL:
			attach->memory_total = number("memory-total", optarg, 10, TDI_PAGE_SIZE, UINT64_MAX);
			break;
		case OPT_CONTEXTS_MAX:
			attach->contexts_max = (uint32_t)number("contexts-max", optarg, 10, 1, 256);
			break;
		case OPT_CONTEXTS_PER_UID:
			attach->contexts_per_uid = (uint32_t)number("contexts-per-uid", optarg, 10, 1, 256);
			break;
		case OPT_QUEUES_MAX:
			attach->queues_max = (uint32_t)number("queues-max", optarg, 10, 1,
							      TDI_CONTEXT_QUEUES);
			break;
		case OPT_MSI_ONLY:
			vfu->msi_only = true;
			break;
		case OPT_FAULTS:
			vfu->faults = optarg;
			break;
		case OPT_FAULTS_TRACE:
			vfu->faults_trace = optarg;
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			exit(0);
		case OPT_VERSION:
			printf("tenond %s, TDI %d.%d\n", TENON_VERSION, TDI_VERSION_MAJOR, TDI_VERSION_MINOR);
			exit(0);
		default:
			fputs("Try 'tenond --help'.\n", stderr);
			exit(2);
		}
	}
	if (optind < argc || (!attach->path && !vfu->path)) {
		fputs(optind < argc ? "tenond: takes options only\n" :
		      "tenond: --attach unix:PATH or --attach vfio-user:PATH is needed\n", stderr);
		exit(2);
	}
	if (device->virtual_clock && device->workers != 1)
		bad("clock", "virtual", "needs --workers 1");
}

static void ready(const char *path)
{
	printf("tenond: ready on %s\n", path);
	fflush(stdout);
}

static int serve_unix(struct tn_device_options *device_options, const struct tn_unix_options *attach_options,
		      int stop)
{
	struct tn_device *device;
	struct tn_unix *attach;
	int error = tn_unix_create(attach_options, &attach);

	if (error)
		return error;
	device_options->notice = tn_unix_notice;
	device_options->stopped = tn_unix_stopped;
	device_options->attach = attach;
	error = tn_device_create(device_options, &device);
	if (error) {
		fprintf(stderr, "tenond: can't start the device: %s\n", strerror(-error));
		tn_unix_destroy(attach);
		return error;
	}
	error = tn_unix_start(attach, device);
	if (!error) {
		ready(attach_options->path);
		error = tn_unix_serve(attach, stop);
		if (error)
			fprintf(stderr, "tenond: %s\n", strerror(-error));
	}
	tn_unix_destroy(attach);
	tn_device_destroy(device);
	return error;
}

static int serve_vfu(struct tn_device_options *device_options, const struct tn_vfu_options *attach_options,
		     int stop)
{
	struct tn_device *device;
	struct tn_vfu *attach;
	int error = tn_vfu_create(attach_options, &attach);

	if (error)
		return error;
	device_options->notice = tn_vfu_notice;
	device_options->stopped = tn_vfu_notice;
	device_options->interrupt = tn_vfu_interrupt;
	device_options->vectors = TN_PCI_VECTORS;
	device_options->max_queues = TN_PCI_QUEUES;
	device_options->attach = attach;
	error = tn_device_create(device_options, &device);
	if (error) {
		fprintf(stderr, "tenond: can't start the device: %s\n", strerror(-error));
		tn_vfu_destroy(attach);
		return error;
	}
	error = tn_vfu_start(attach, device);
	if (!error) {
		ready(attach_options->path);
		error = tn_vfu_serve(attach, stop);
		if (error)
			fprintf(stderr, "tenond: %s\n", strerror(-error));
	}
	tn_vfu_destroy(attach);
	tn_device_destroy(device);
	return error;
}

int main(int argc, char **argv)
{
	struct tn_device_options device_options = {
		.workers = 1,
		.spin_ns = 50000,
		.serial = "0",
	};
	struct tn_vfu_options vfu_options = { .mode = 0660 };
	struct tn_unix_options attach_options = {
		.mode = 0660,
		.memory_total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2,
		.memory_max = 256ULL << 20,
		.contexts_max = 256,
		.contexts_per_uid = 64,
		.buffers_max = 128, /* with all contexts and queues below the kernel's limit of mappings */
		.queues_max = 16,
		.depth_max = 1u << TN_MAX_DEPTH_LOG2,
	};
	sigset_t signals;
	int error, stop;

	parse(argc, argv, &device_options, &attach_options, &vfu_options);

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	stop = signalfd(-1, &signals, SFD_CLOEXEC);
	if (stop < 0) {
		perror("tenond: signalfd");
		return 1;
	}

	error = vfu_options.path ? serve_vfu(&device_options, &vfu_options, stop) :
		serve_unix(&device_options, &attach_options, stop);
	close(stop);
	return error ? 1 : 0;
}
