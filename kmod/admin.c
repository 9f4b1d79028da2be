// SPDX-License-Identifier: GPL-2.0-only
/*
 * Admin commands: handing them to the transport, waiting for the answer, what a bad answer means.
 */
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/string.h>

#include <linux/device.h>

#include "tenon.h"
#include "trace.h"

void tenon_admin_init(struct tenon_request *rq)
{
	init_completion(&rq->done);
}

static bool admin_try(struct tenon_controller *c, struct tenon_request *rq, int *ret)
{
	unsigned long flags;

	spin_lock_irqsave(&c->admin_lock, flags);
	switch (c->state) {
	case TENON_STARTING:
		*ret = rq == &c->request || rq == &c->log_request ? c->ops->admin_submit(c, rq) : -EIO;
		break;
	case TENON_LIVE:
		*ret = c->ops->admin_submit(c, rq);
		break;
	case TENON_DOWN:
	case TENON_FAILED:
		*ret = -EIO;
		break;
	case TENON_GONE:
		*ret = -ENODEV;
		break;
	}
	spin_unlock_irqrestore(&c->admin_lock, flags);
	return *ret != -EAGAIN;
}

/*
 * Hand @rq to the device; the caller has filled its sqe. If it returns 0, @rq is busy until its done is
 * complete. What occupies the queue ends by itself or by a reset, so this waits no longer than that.
 */
int tenon_admin_submit(struct tenon_controller *c, struct tenon_request *rq)
{
	int ret;

	reinit_completion(&rq->done);
	rq->error = 0;
	if (!wait_event_timeout(c->admin_room, admin_try(c, rq, &ret), msecs_to_jiffies(c->admin_ms)))
		return -ETIMEDOUT;
	if (ret)
		return ret;
	rq->busy = true;
	trace_tenon_admin_submit(c, rq);
	return 0;
}

/*
 * Wait for the answer. -EINTR: a fatal signal came first, and -ETIMEDOUT: it didn't come: then @rq is still
 * busy, and the device may yet do what it says.
 */
int tenon_admin_wait(struct tenon_controller *c, struct tenon_request *rq, bool killable)
{
	unsigned long end = jiffies + msecs_to_jiffies(c->admin_ms);
	long got;

	do {
		if (killable)
			got = wait_for_completion_killable_timeout(&rq->done, HZ);
		else
			got = wait_for_completion_timeout(&rq->done, HZ);
		if (got < 0)
			return -EINTR;
		if (got) {
			rq->busy = false;
			return 0;
		}
		/* The watchdog would find an answer whose interrupt was lost, unless it is what waits. */
		c->ops->poll(c);
	} while (time_before(jiffies, end));
	return -ETIMEDOUT;
}

/* May the device do, or have done, what a command says that ended so? EIO and ENODEV: it was canceled. */
bool tenon_admin_unknown(int error)
{
	return error == -EINTR || error == -ETIMEDOUT || error == -EIO || error == -ENODEV;
}

/* What the device made of it, as an errno. */
int tenon_admin_result(struct tenon_controller *c, const struct tenon_request *rq)
{
	unsigned int status;

	if (rq->error)
		return rq->error;
	status = le16_to_cpu(rq->cqe.status);
	switch (status) {
	case TDI_AS_OK:
		return 0;
	case TDI_AS_LIMIT:
		return -ENOSPC;
	case TDI_AS_NO_MEMORY:
		return -ENOMEM;
	default:
		/* We name what exists and hold to its limits, so one of us is wrong. */
		dev_warn_ratelimited(c->dev, "admin command %#x refused with status %#x, info %u\n",
				     rq->sqe.opcode, status, le32_to_cpu(rq->cqe.info));
		return -EPROTO;
	}
}

/* Submit, wait and tell, for those who have nothing better to do; a time-out leads to a reset. */
int tenon_admin(struct tenon_controller *c, struct tenon_request *rq)
{
	int ret;

	/* Of a command that was given up: its time-out has started a reset, which ends it. */
	if (rq->busy) {
		if (!completion_done(&rq->done))
			return -EIO;
		rq->busy = false;
	}
	ret = tenon_admin_submit(c, rq);
	if (ret)
		return ret;
	ret = tenon_admin_wait(c, rq, false);
	if (ret) {
		tenon_controller_reset(c, "an admin command was not answered");
		return ret;
	}
	return tenon_admin_result(c, rq);
}

/* The transport has the answer, in @rq->cqe or as @error; under admin_lock. */
void tenon_admin_complete(struct tenon_request *rq, int error)
{
	rq->error = error;
	trace_tenon_admin_complete(rq);
	complete(&rq->done);
}

/*
 * IDENTIFY or GET_LOG: @sqe but for its address and bytes. There is one page for all, since the device may
 * write to it until the command has ended.
 */
int tenon_admin_log(struct tenon_controller *c, const struct tdi_admin_sqe *sqe, void *to, size_t bytes)
{
	int ret;

	if (mutex_lock_killable(&c->log_lock))
		return -EINTR;
	if (c->log_request.busy && !completion_done(&c->log_request.done)) {
		ret = -EIO;
		goto unlock;
	}
	memset(c->log, 0, bytes);
	c->log_request.sqe = *sqe;
	c->log_request.sqe.data.address = cpu_to_le64(c->log_dma);
	c->log_request.sqe.data.bytes = cpu_to_le32(bytes);
	ret = tenon_admin(c, &c->log_request);
	if (!ret)
		memcpy(to, c->log, bytes);
unlock:
	mutex_unlock(&c->log_lock);
	return ret;
}
