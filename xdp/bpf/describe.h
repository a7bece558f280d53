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

/* What is known of the segment beside its headers. */
struct standing {
	const struct counters *flow; /* NULL where it has no entry */
	__u64 now;
	__u32 side; /* of the sender in the flow's key */
	__u32 wire_length;
	__u8 marks;
};

static __always_inline void fill(struct segment *s, const struct packet *p,
				 const struct standing *t)
{
	s->src = p->src;
	s->dst = p->dst;
	s->src_port = p->src_port;
	s->dst_port = p->dst_port;
	s->seq = p->seq;
	s->ack = p->ack;
	s->octets = p->octets;
	s->payload = p->payload;
	s->wire_length = t->wire_length;
	s->vlan = p->vlan;
	s->tcp_flags = p->tcp_flags;
	s->marks = t->marks;
	s->encapsulation = p->encapsulation;
	s->at = t->now;
	if (t->flow) {
		s->own = t->flow->direction[t->side & 1];
		s->other = t->flow->direction[(t->side & 1) ^ 1];
	} else {
		__builtin_memset(&s->own, 0, sizeof(s->own));
		__builtin_memset(&s->other, 0, sizeof(s->other));
	}
}

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
