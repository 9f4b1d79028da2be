/* SPDX-License-Identifier: MIT */
/* Words for statuses. */
#include "internal.h"

const char *tenon_status_str(unsigned int status)
{
	switch (status) {
	case TDI_SC_OK:
		return "ok";
	case TDI_SC_OPCODE:
		return "unknown opcode";
	case TDI_SC_FIELD:
		return "value not allowed";
	case TDI_SC_RESERVED:
		return "reserved field not zero";
	case TDI_SC_ALIGNMENT:
		return "wrong alignment";
	case TDI_SC_BUFFER_ID:
		return "no such buffer";
	case TDI_SC_BUFFER_BOUNDS:
		return "beyond the end of the buffer";
	case TDI_SC_BUFFER_RIGHTS:
		return "the buffer doesn't allow that access";
	case TDI_SC_PROGRAM_ID:
		return "no such program";
	case TDI_SC_DTYPE:
		return "wrong type of tensor";
	case TDI_SC_SHAPE:
		return "wrong shape of tensor";
	case TDI_SC_OP:
		return "unknown tensor operator";
	case TDI_SC_OVERLAP:
		return "source and destination overlap";
	case TDI_SC_LIMIT:
		return "beyond a limit of the device";
	case TDI_SC_CANCELED:
		return "canceled: a linked command failed before it";
	case TDI_SC_ABORTED:
		return "aborted";
	case TDI_SC_TIMEOUT:
		return "timed out";
	case TDI_SC_COMMAND_TIME:
		return "ran too long";
	case TDI_SC_INDEX_RANGE:
		return "index outside its axis";
	case TDI_SC_BUFFER_LOST:
		return "the buffer's content was lost";
	case TDI_SC_DEVICE:
		return "the device failed";
	default:
		return "unknown status";
	}
}
