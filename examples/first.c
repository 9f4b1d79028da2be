// SPDX-License-Identifier: MIT
/* The shortest whole program: has the first device that there is fill a buffer with 42. */
#include <stdio.h>

#include <tenon/tenon.h>

int main(void)
{
	struct tenon_context *context;
	struct tenon_buffer *buffer;
	struct tenon_queue *queue;

	if (tenon_open(NULL, NULL, &context) ||
	    tenon_buffer_create(context, 4096, TDI_BUFFER_WRITE, &buffer) ||
	    tenon_queue_create(context, 8, NULL, &queue))
		return 1;
	tenon_prep_fill(tenon_sqe_get(queue), buffer, 0, 4096, 42, 1, 0);
	if (tenon_submit(queue) || tenon_wait(queue, 1, -1))
		return 1;
	printf("%s: %d\n", tenon_status_str(tenon_cqe_peek(queue)->status),
	       *(char *)tenon_buffer_data(buffer));
	tenon_close(context);
	return 0;
}
