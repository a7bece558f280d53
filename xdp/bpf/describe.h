/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Puts a struct segment in the place of the frame.
 */
#ifndef FINWAIT_DESCRIBE_H
#define FINWAIT_DESCRIBE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "parse.h"
#include "segment.h"
#include "standing.h"

/*
 * Only what the linear part lacks is taken from the headroom: at most 148
 * octets for the shortest Ethernet frame, so that with the kernel's own 40
 * (struct xdp_frame) 192 octets of headroom suffice.
 */
static __always_inline long describe(struct xdp_md *ctx, const struct packet *p,
				     const struct standing *t)
{
	long linear = (long)ctx->data_end - (long)ctx->data;
	struct segment *s;
	long excess;

	if (linear < SEGMENT_SIZE && bpf_xdp_adjust_head(ctx, linear - SEGMENT_SIZE))
		return -1;
	s = (void *)(long)ctx->data;
	if ((void *)(s + 1) > (void *)(long)ctx->data_end)
		return -1;
	fill(s, p, t);
	s->interface = ctx->ingress_ifindex;

	excess = bpf_xdp_get_buff_len(ctx) - SEGMENT_SIZE;
	return excess ? bpf_xdp_adjust_tail(ctx, -excess) : 0;
}

#endif
