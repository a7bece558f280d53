/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A frame as an XDP program sees it, before the kernel has done anything with it.
 * parse.h and what builds on it need one of frame_xdp.h and frame_skb.h before them.
 */
#ifndef FINWAIT_FRAME_H
#define FINWAIT_FRAME_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "segment.h"

/* The context of the programs: struct frame_context. */
#define frame_context xdp_md

/* What becomes of a frame that is not passed: this is a tap. */
#define FRAME_OVER XDP_DROP

/*
 * The frame: its linear part, and the length of all of it. The length is a call of the
 * kernel, which costs as much as reading plain headers, and is asked for last: until
 * then it is that of the linear part.
 */
struct frame {
	void *data;
	void *end;
	__u32 length;
};

static __always_inline void open_frame(struct xdp_md *ctx, struct frame *f)
{
	f->data = (void *)(long)ctx->data;
	f->end = (void *)(long)ctx->data_end;
	f->length = (__u32)(f->end - f->data);
}

static __always_inline __u32 length_of(struct xdp_md *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* The ether type of a frame without a link header; 0 where it has one. */
static __always_inline __be16 bare_type(struct xdp_md *ctx)
{
	return 0;
}

/* The VLAN tag that stands beside the frame, not in it. */
static __always_inline struct tags tags_beside(struct xdp_md *ctx)
{
	return (struct tags){};
}

/* Gets more headers into the linear part; returns whether there is now more of them. */
static __always_inline int pull_headers(struct xdp_md *ctx)
{
	return 0;
}

/* Adds to a counter of a direction, which one receive queue writes. */
static __always_inline void add(__u64 *counter, __u64 n)
{
	*counter += n;
}

/* Moves a sequence number forward to end, and returns by how much; 0 where it is behind. */
static __always_inline __u32 move_forward(__u32 *high, __u32 end)
{
	__u32 gain = end - *high;

	if ((__s32)gain <= 0)
		return 0;
	*high = end;
	return gain;
}

/* How many segments of the wire the frame stands for, by its octets of payload. */
static __always_inline __u32 segments_of(struct xdp_md *ctx, __u32 payload)
{
	return 1;
}

#endif
