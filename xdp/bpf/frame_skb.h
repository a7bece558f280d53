/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A frame as a tc program sees it, in a socket buffer: VLAN tags may stand beside
 * it, its octets may be paged, it may be a super-packet that segmentation offload
 * or GRO made of many segments, and it may have no link header.
 */
#ifndef FINWAIT_FRAME_H
#define FINWAIT_FRAME_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "headers.h"
#include "segment.h"

/* The context of the programs: struct frame_context. */
#define frame_context __sk_buff

/*
 * The next program has it, then the rest of the kernel: the same for tcx (enum
 * tcx_action_base) and for tc's direct action.
 */
#define VERDICT_NEXT (-1)

/* What becomes of every frame. */
#define FRAME_OVER VERDICT_NEXT

/* Octets of headers, all around a TCP header and itself, as far as they are looked for. */
#define HEADERS_LINEAR 256

/* The interface carries IP packets without a link header, as tun and WireGuard do. */
const volatile __u8 bare = 0;

/* The frame: its linear part, and the length of all of it. */
struct frame {
	void *data;
	void *end;
	__u32 length;
};

static __always_inline void open_frame(struct __sk_buff *ctx, struct frame *f)
{
	f->data = (void *)(long)ctx->data;
	f->end = (void *)(long)ctx->data_end;
	f->length = ctx->len;
}

/* As on the wire, with the tag that stands beside the frame. */
static __always_inline __u32 length_of(struct __sk_buff *ctx)
{
	return ctx->len + (ctx->vlan_present ? sizeof(struct vlan_tag) : 0);
}

/* The ether type of a frame without a link header; 0 where it has one. */
static __always_inline __be16 bare_type(struct __sk_buff *ctx)
{
	return bare ? ctx->protocol : 0;
}

/* The VLAN tag that stands beside the frame, not in it. */
static __always_inline struct tags tags_beside(struct __sk_buff *ctx)
{
	struct tags tags = {};

	if (ctx->vlan_present) {
		tags.outermost = ctx->vlan_tci & 0x0fff;
		tags.layer = LAYER_VLAN;
	}
	return tags;
}

/*
 * Gets more headers into the linear part; returns whether there is now more of them.
 * No octet changes, and whoever handles the packet next would do the same. A super-packet
 * is left alone: its headers are linear since GRO or TCP made it, and one that is a list
 * of buffers must not be taken apart (SKB_GSO_FRAGLIST).
 */
static __always_inline int pull_headers(struct __sk_buff *ctx)
{
	__u32 linear = ctx->data_end - ctx->data, wanted = ctx->len;

	if (wanted > HEADERS_LINEAR)
		wanted = HEADERS_LINEAR;
	return linear < wanted && !ctx->gso_size && !bpf_skb_pull_data(ctx, wanted);
}

/*
 * Adds to a counter of a direction. Of a local sender, as one in a container is, two
 * segments may pass an interface on two CPUs at once.
 */
static __always_inline void add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

#define MOVE_ATTEMPTS 8

/* Moves a sequence number forward to end, and returns by how much; 0 where it is behind. */
static __always_inline __u32 move_forward(__u32 *high, __u32 end)
{
	for (int i = 0; i < MOVE_ATTEMPTS; i++) {
		__u32 old = *(volatile __u32 *)high, gain = end - old;

		if ((__s32)gain <= 0)
			return 0;
		if (__sync_val_compare_and_swap(high, old, end) == old)
			return gain;
	}
	return 0;
}

/* How many segments of the wire the frame stands for, by its octets of payload. */
static __always_inline __u32 segments_of(struct __sk_buff *ctx, __u32 payload)
{
	__u32 size = ctx->gso_size;

	return size && payload > size ? (payload + size - 1) / size : 1;
}

#endif
