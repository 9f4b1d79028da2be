# SPDX-License-Identifier: MIT
# For the tests in the guest: TAP, and devices. MEMORY has registers that the test itself writes: it is a
# display adapter whose BAR0 is plain memory. CLASS has the class of a TDI device and nothing else of it. A
# test with a line "# device: tenond" has DEVICE, which is one.
FILE=/modules/tenon/tenon.ko
DRIVER=/sys/bus/pci/drivers/tenon
number=0

# check WHAT COMMAND...: the test ends at the first failure.
check()
{
	number=$((number + 1))
	what=$1
	shift
	if "$@"; then
		echo "ok $number - $what"
	else
		echo "not ok $number - $what: $*"
		exit 1
	fi
}

# The address of the PCI device VENDOR:DEVICE.
pci()
{
	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/vendor" "$device/device" | tr -d '\n')" != "0x${1%:*}0x${1#*:}" ] ||
			basename "$device"
	done
}

# The address of the PCI device of a class, but for one.
class()
{
	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/class")" != "$1" ] || [ "$(basename "$device")" = "$2" ] ||
			basename "$device"
	done
}

# load_with_device [PARAMETER...]: loads the module with tenond's function plugged in, which must then be DEVICE
# and bound by its class.
load_with_device()
{
	DEVICE=$(await class 0x120000 "$CLASS")
	check "load $*" insmod $FILE "$@"
	check 'bound' bound "$DEVICE"
}

# registers [WORD...]: what the memory device answers, 32-bit words; without any, prints what it has now.
registers()
{
	echo 1 > "/sys/bus/pci/devices/$MEMORY/enable"
	./bar "/sys/bus/pci/devices/$MEMORY/resource0" "$@"
	echo 0 > "/sys/bus/pci/devices/$MEMORY/enable"
}

# rounds N: how many of them there are to be.
rounds() { if [ -n "$long" ]; then echo 1000; else echo "$1"; fi; }

bound() { [ -e "$DRIVER/$1" ]; }
unbound() { [ ! -e "$DRIVER/$1" ]; }
# Waits for a device to be unplugged.
gone() { [ "$(await sh -c "[ -e /sys/bus/pci/devices/$1 ] || echo gone")" = gone ]; }
logged() { dmesg | grep -qF "$1"; }
nodes() { [ "$(ls /sys/class/accel 2>/dev/null | wc -l)" = "$1" ]; }

# Runs COMMAND until it says something, 20 s at most: for what takes its time, like plugging in.
await()
{
	for round in $(seq 200); do
		said=$("$@")
		[ -z "$said" ] || break
		sleep 0.1
	done
	echo "$said"
}

# fault WORDS...: ask the host for a fault of tenond's, see Documentation/lab.rst; prints what it has to show.
fault()
{
	echo "FAULT $*" > /dev/ttyS1
	while read -r answer; do
		case $answer in
		ok*) return 0 ;;
		error*) echo "# $*: $answer"; return 1 ;;
		*) echo "$answer" ;;
		esac
	done < /dev/ttyS1
	return 1
}

MEMORY=$(pci 1234:1111)
CLASS=$(pci 1af4:1042)
TDI_LOW=0x6e6f6e54 TDI_HIGH=0x30494454 TDI_0_2=2	# signature and version
